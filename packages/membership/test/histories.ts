// SPDX-License-Identifier: Apache-2.0
/** Random histories: several managers who grant, invite and remove each other, knowing this and that. */
import { ROLES } from "@ctxmesh/codec";
import type { Role } from "@ctxmesh/codec";
import type { Space } from "@ctxmesh/membership";
import type { ActId, DeviceSigner, SignatureVerifier } from "@ctxmesh/model";
import * as fc from "fast-check";
import {
  DAY_MS,
  START_MS,
  alice,
  bob,
  carol,
  creator,
  deviceOf,
  emptySpace,
  grantOf,
  headOf,
  inviteOf,
  make,
  policyOf,
  revokeOf,
  second,
  writer,
} from "./mesh.ts";
import type { Device, Made } from "./mesh.ts";
import { isPermitted } from "./slow-model.ts";

/** For acts without real signatures; what is judged here is not the signature. */
export const trusting: SignatureVerifier = { verify: () => true };
/** Signs nothing. */
export const unsigned: DeviceSigner = {
  publicKey: new Uint8Array(32),
  sign: () => new Uint8Array(64),
};

const people: readonly Device[] = [creator, second, alice, bob, carol, deviceOf(4), writer];
const invites: readonly Device[] = [deviceOf(101), deviceOf(102)];
const everyone = [...people, ...invites];

/** One act to be, in numbers that are taken modulo what there is. */
interface Step {
  readonly author: number;
  readonly kind: "grant" | "invite" | "revoke" | "policy";
  readonly target: number;
  readonly role: Role;
  readonly service: "agent" | "hub";
  /** Which of the authorities that the author may have. */
  readonly authority: number;
  /** In a few cases any act is the authority, and any is a parent. */
  readonly wrong: boolean;
  /** What it knows: some acts, or everything so far. */
  readonly parents: readonly number[] | "all";
  readonly day: number;
  readonly days: number;
  readonly heads: readonly (readonly [incarnation: number, seq: number, hash: number])[];
}

const oneIn = (n: number): fc.Arbitrary<boolean> =>
  fc.integer({ min: 1, max: n }).map((value) => value === n);

const MIXED: readonly Step["kind"][] = [
  "grant",
  "grant",
  "revoke",
  "revoke",
  "revoke",
  "invite",
  "policy",
];
/** Among these, most acts remove somebody. */
export const HOSTILE: readonly Step["kind"][] = ["grant", "revoke", "revoke", "revoke", "revoke"];

const stepOf = (kinds: readonly Step["kind"][]): fc.Arbitrary<Step> =>
  fc.record({
    author: fc.nat(everyone.length - 1),
    kind: fc.constantFrom(...kinds),
    target: fc.nat(everyone.length - 1),
    role: fc.constantFrom("manage", "manage", "manage", ...ROLES),
    service: fc.constantFrom("agent", "agent", "agent", "hub"),
    authority: fc.nat(100),
    wrong: oneIn(20),
    parents: fc.oneof(
      fc.array(fc.nat(1000), { maxLength: 3 }),
      fc.array(fc.nat(1000), { maxLength: 1 }),
      fc.constant<"all">("all"),
    ),
    day: fc.integer({ min: 0, max: 9 }),
    days: fc.integer({ min: 5, max: 31 }),
    heads: fc.uniqueArray(
      fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 }), fc.nat(1)),
      { maxLength: 3, selector: ([incarnation]) => incarnation },
    ),
  });

function membersOf(next: Step): Parameters<typeof make>[2] {
  const { kind, target, role, service } = next;
  const device = everyone[target] ?? creator;
  const notBefore = START_MS + (next.day % 3) * DAY_MS;
  const notAfter = notBefore + next.days * DAY_MS;
  switch (kind) {
    case "grant":
      return grantOf(device, { role, service, notBefore, notAfter });
    case "invite":
      return inviteOf(invites[target % invites.length] ?? creator, { role, service, notAfter });
    case "revoke": {
      const heads = next.heads.map(([chain, seq, hash]) => headOf(chain, seq, 10 * seq + hash));
      return revokeOf(device, {
        heads: heads.toSorted((a, b) => (a.incarnation < b.incarnation ? -1 : 1)),
        reason: String(target),
      });
    }
    case "policy":
      return policyOf(1 + (target % 4));
  }
}

/** An authority for an act of the author, rightly or wrongly. */
function authorityFor(made: readonly Made[], author: Device, next: Step): ActId | null {
  if (!next.wrong && (author === creator || author === second)) return null;
  const own = made.filter(
    ({ act }) =>
      next.wrong ||
      (act.kind === "grant" && act.device === author.key && act.role === "manage") ||
      (act.kind === "invite" && act.key === author.key),
  );
  return own[next.authority % Math.max(own.length, 1)]?.id ?? null;
}

function parentsFor(made: readonly Made[], parents: Step["parents"]): readonly ActId[] {
  const picked =
    parents === "all" ? made : parents.flatMap((n) => made[n % Math.max(made.length, 1)] ?? []);
  return [...new Set(picked.map(({ id }) => id))].toSorted();
}

/** A space without acts, and acts that belong to it, in the order in which they were made. */
export interface History {
  readonly space: Space;
  readonly made: readonly Made[];
}

function historyOf(steps: readonly Step[]): History {
  const space = emptySpace();
  const made: Made[] = [alice, bob, carol, deviceOf(4)].map((device) =>
    make(space, creator, grantOf(device, { role: "manage" }), { signer: unsigned, time: START_MS }),
  );
  const permitted = new Map(made.map(({ id, act }) => [id, act]));
  for (const next of steps) {
    const author = everyone[next.author] ?? creator;
    const among = next.wrong ? made : made.filter(({ id }) => permitted.has(id));
    const act = make(space, author, membersOf(next), {
      authority: authorityFor(among, author, next),
      parents: parentsFor(among, next.parents),
      time: START_MS + next.day * DAY_MS,
      signer: unsigned,
    });
    made.push(act);
    if (isPermitted(permitted, act.act, space.genesis.creators)) permitted.set(act.id, act.act);
  }
  return { space, made };
}

/** Histories of `min` to `max` acts of these kinds after the grants of four managers. */
export const histories = (
  min: number,
  max: number,
  kinds: readonly Step["kind"][] = MIXED,
): fc.Arbitrary<History> =>
  fc.array(stepOf(kinds), { minLength: min, maxLength: max, size: "max" }).map(historyOf);
