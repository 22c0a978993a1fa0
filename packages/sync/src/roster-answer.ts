// SPDX-License-Identifier: Apache-2.0
/**
 * A roster on its way; what it means is in `@ctxmesh/replica`.
 *
 * ```
 * roster = [4, records(16), [ device ... ], [ limit ... ]]     devices and limits each once, by key
 * device = [ device(32), revoked: bool, [ [role, notBefore, notAfter] ... ]]     role: 0 read, 1 append, 2 write, 3 manage; times in Unix milliseconds, both included
 * limit  = [ replica(32), inc(16), seq: the first that does not count ]
 * ```
 *
 * Of a header at (replica, inc, seq) with a clock of `ms` milliseconds: it is void at or past the limit of its chain; void in a chain
 * without a limit if its device is revoked; it counts if a grant of at least `append` covers `ms`; later it may if its device has any such
 * grant; else nobody knows its device.
 */
import { ROLES } from "@ctxmesh/codec";
import type { CborValue, Role } from "@ctxmesh/codec";
import { LIMITS, fromHex, parseDeviceKey, toHex } from "@ctxmesh/model";
import type { Roster, RosterDevice } from "@ctxmesh/replica";
import {
  arrayOf,
  booleanOf,
  bytesOf,
  chainOf,
  refuse,
  seqItem,
  tupleOf,
  uintOf,
} from "./message-parts.ts";
import type { ChainSeq } from "./message-parts.ts";
import { DIGEST_BYTES } from "./messages.ts";

/** A limit has no fewer bytes. */
const MAX_LIMITS = Math.floor(LIMITS.askBytes / 53);

/** The items of a roster behind the kind of the answer. */
export const rosterItems = ({ records, devices, limits }: Roster): CborValue[] => [
  records.subarray(0, DIGEST_BYTES),
  devices.map(({ device, revoked, grants }) => [
    fromHex(device),
    revoked,
    grants.map(({ role, notBefore, notAfter }) => [ROLES.indexOf(role), notBefore, notAfter]),
  ]),
  limits.map(seqItem),
];

const roleOf = (value: CborValue | undefined): Role =>
  ROLES[uintOf(value, 0)] ?? refuse("has a role that is not known");

function deviceOf(item: CborValue): RosterDevice {
  const [device, revoked, grants] = tupleOf(item, 3);
  return {
    device: parseDeviceKey(toHex(bytesOf(device, 32))),
    revoked: booleanOf(revoked),
    grants: arrayOf(grants, LIMITS.acts).map((grant) => {
      const [role, notBefore, notAfter] = tupleOf(grant, 3);
      return {
        role: roleOf(role),
        notBefore: uintOf(notBefore, 0),
        notAfter: uintOf(notAfter, 0),
      };
    }),
  };
}

function limitOf(item: CborValue): ChainSeq {
  const parts = tupleOf(item, 3);
  return { ...chainOf(parts), seq: uintOf(parts[2], 1) };
}

function assertAscending(keys: readonly string[]): void {
  if (!keys.every((key, i) => i === 0 || (keys[i - 1] ?? "") < key)) {
    refuse("has a roster that does not ascend");
  }
}

/** Parses the items of an untrusted roster. Throws `PROTOCOL_VIOLATION`, `INPUT_INVALID`. */
export function rosterOf(items: readonly CborValue[]): Roster {
  const [, records, devices, limits] = tupleOf(items, 4);
  const roster = {
    records: bytesOf(records, DIGEST_BYTES),
    devices: arrayOf(devices, LIMITS.acts).map(deviceOf),
    limits: arrayOf(limits, MAX_LIMITS).map(limitOf),
  };
  assertAscending(roster.devices.map(({ device }) => device));
  assertAscending(roster.limits.map(({ replica, incarnation }) => replica + incarnation));
  return roster;
}
