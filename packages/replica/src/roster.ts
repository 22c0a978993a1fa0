// SPDX-License-Identifier: Apache-2.0
/**
 * Who is a member, and from where on chains do not count, in a form that a small device can keep and look up: what all acts and proofs
 * come to, and what was found out besides about batches that are here.
 */
import type { Role } from "@ctxmesh/codec";
import type { Grant } from "@ctxmesh/membership";
import type { DeviceKey } from "@ctxmesh/model";
import type { Core } from "./core.ts";
import { chainKey } from "./layout.ts";
import type { ForkRef, Records } from "./records.ts";
import { stateView } from "./state.ts";
import type { Chain } from "./void-content.ts";

/** A device and what it may do, or might. */
export interface RosterDevice {
  readonly device: DeviceKey;
  /** Of its chains nothing counts but what is below the limits that are named. */
  readonly revoked: boolean;
  /** Those that count; of a revoked device those under which it wrote what stands. Times are Unix milliseconds, both ends included. */
  readonly grants: readonly {
    readonly role: Role;
    readonly notBefore: number;
    readonly notAfter: number;
  }[];
}

/** See the top of the file. */
export interface Roster {
  /** The digest over the records that it was made of. */
  readonly records: Uint8Array;
  /** By key. */
  readonly devices: readonly RosterDevice[];
  /**
   * The first position of each chain that does not count, by replica and incarnation. A chain that waits for what is not here is not
   * among them. Of two batches at the last position that counts they don't say which one it is.
   */
  readonly limits: readonly ForkRef[];
}

const grantOf = ({ role, notBefore, notAfter }: Grant): RosterDevice["grants"][number] => ({
  role,
  notBefore,
  notAfter,
});

function devicesOf(records: Records): readonly RosterDevice[] {
  const { grants, revocations } = records.space;
  return [...new Set([...grants.keys(), ...revocations.keys()])].toSorted().map((device) => ({
    device,
    revoked: revocations.has(device) || records.isForkedOut(device),
    grants: (grants.get(device) ?? revocations.get(device)?.grants ?? []).map(grantOf),
  }));
}

/** The chains that the records speak of. */
const chainsIn = ({ forks, space }: Records): readonly Chain[] => [
  ...forks.values(),
  ...[...space.revocations.values()].flatMap(({ device: replica, cut }) =>
    [...cut.keys()].map((incarnation) => ({ replica, incarnation })),
  ),
];

/** The roster by some records; `voidFrom` is the first position that does not count of some chains, for whatever other reason. */
export function rosterOf(
  records: Records,
  chains: readonly Chain[] = [],
  voidFrom: (chain: Chain) => number = () => Number.POSITIVE_INFINITY,
): Roster {
  const devices = devicesOf(records);
  const revoked = new Set(devices.flatMap((known) => (known.revoked ? [known.device] : [])));
  const all = new Map(
    [...chains, ...chainsIn(records)].map((chain) => [
      chainKey(chain.replica, chain.incarnation),
      chain,
    ]),
  );
  const limits = [...all]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { replica, incarnation }]) => {
      const seq = Math.min(
        records.limitOf(replica, incarnation) + 1,
        voidFrom({ replica, incarnation }),
      );
      return { replica, incarnation, seq };
    })
    // Nothing is what a chain of a revoked device that is not named counts for.
    .filter(({ replica, seq }) => Number.isFinite(seq) && (seq > 1 || !revoked.has(replica)));
  return { records: records.digest(), devices, limits };
}

/** The roster of a replica as it is now. */
export function currentRoster({ records, state, voidHeaders }: Core): Roster {
  const view = stateView(records, voidHeaders, state);
  const chains = [...state.voids.values(), ...voidHeaders.values()];
  return rosterOf(records, chains, (chain) => view.voidFrom(chain));
}
