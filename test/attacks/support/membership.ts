// SPDX-License-Identifier: Apache-2.0
/** All that the attacks need of membership, in one place. */
import { encodeSignedRecord } from "@ctxmesh/codec";
import {
  createSpace,
  issueGrant,
  revokeDevice as addRevocation,
  setPolicy as addPolicy,
} from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import type { DeviceKey, DeviceSigner, HeaderHash, IncarnationId } from "@ctxmesh/model";
import { createSeededRandom } from "@ctxmesh/testing";

export type { Space } from "@ctxmesh/membership";

/** What a device may do, and when, in Unix milliseconds. */
export interface Right {
  readonly device: DeviceKey;
  readonly role: "read" | "append" | "write" | "manage";
  readonly notBefore: number;
  readonly notAfter?: number;
}

/** A space of one creator with these grants, the same for the same arguments. */
export function foundSpace(
  creator: DeviceSigner,
  now: number,
  seed: number,
  rights: readonly Right[],
): Space {
  const random = createSeededRandom(seed);
  const founded = createSpace({ name: "plant", creator, now, random });
  return rights.reduce(
    (space, right) => issueGrant(space, creator, { ...right, service: "agent" }),
    founded,
  );
}

/** The acts, as bytes, that `later` has and `earlier` lacks, parents first. */
export function actsBetween(earlier: Space, later: Space): readonly Uint8Array[] {
  const known = new Set(earlier.acts.map(({ id }) => id));
  return later.acts
    .filter(({ id }) => !known.has(id))
    .map(({ record }) => encodeSignedRecord(record));
}

/** The act that revokes a device; `stands` is the last batch of each chain that is let stand. */
export const revocationOf = (
  space: Space,
  by: DeviceSigner,
  device: DeviceKey,
  stands: readonly { incarnation: IncarnationId; seq: number; hash: HeaderHash }[],
  now: number,
): readonly Uint8Array[] =>
  actsBetween(space, addRevocation(space, by, { device, heads: stands, reason: "stolen", now }));

/** The act that grants a right. */
export const grantOf = (space: Space, by: DeviceSigner, right: Right): readonly Uint8Array[] =>
  actsBetween(space, issueGrant(space, by, { ...right, service: "agent" }));

/** The act that sets a policy. */
export const policyOf = (space: Space, by: DeviceSigner, epoch: number): readonly Uint8Array[] =>
  actsBetween(space, addPolicy(space, by, { epoch, rules: [{ prefix: "", resolver: "max" }] }));
