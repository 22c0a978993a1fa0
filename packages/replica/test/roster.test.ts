// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a device that has a roster and nothing else tells what counts as one does that evaluates all records.
 * Method: the rule of such a device, written down below, against `Records` for random acts and forks, and against replicas after random histories.
 */
import { decodeBatch, encodeSignedRecord, decodeSignedRecord } from "@ctxmesh/codec";
import type { Header } from "@ctxmesh/codec";
import { addActs, issueGrant, revokeDevice } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { LIMITS, hlcToMs, parseHeaderHash } from "@ctxmesh/model";
import type { Roster } from "@ctxmesh/replica";
import { createMemoryStore } from "@ctxmesh/testing";
import type { MemoryStore } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { Fork } from "../src/evidence.ts";
import { chainKey } from "../src/layout.ts";
import { Records } from "../src/records.ts";
import { rosterOf } from "../src/roster.ts";
import {
  DAY_MS,
  START_MS,
  creator,
  deviceOf,
  hlcAt,
  incarnationOf,
  spaceWith,
  verifier,
} from "./mesh.ts";
import type { Device } from "./mesh.ts";
import { DEVICES, Upheaval, action, firstRandom } from "./upheaval.ts";

/** What a leaf makes of a header, as `roster-answer.ts` of `@ctxmesh/sync` says. */
function standingBy(
  { devices, limits }: Roster,
  { replica, incarnation, seq, hlc }: Pick<Header, "replica" | "incarnation" | "seq" | "hlc">,
): "counts" | "void" | "later" | "stranger" {
  const limit = limits.find((one) => one.replica === replica && one.incarnation === incarnation);
  if (limit !== undefined && seq >= limit.seq) return "void";
  const known = devices.find(({ device }) => device === replica);
  if (limit === undefined && known?.revoked === true) return "void";
  const able = known?.grants.filter(({ role }) => role !== "read") ?? [];
  const ms = hlcToMs(hlc);
  if (able.some(({ notBefore, notAfter }) => notBefore <= ms && ms <= notAfter)) return "counts";
  return able.length > 0 ? "later" : "stranger";
}

const manager = deviceOf(6);
const people: readonly Device[] = [1, 2, 3].map(deviceOf);
const start = spaceWith([
  [manager, "manage"],
  ...people.map((device) => [device, "read"] as const),
]);

interface Act {
  readonly whom: number;
  readonly role: "read" | "append" | "write";
  readonly day: number;
  readonly days: number;
  /** Chains that a revocation leaves something of; undefined: a grant. */
  readonly cut: readonly number[] | undefined;
}

const act: fc.Arbitrary<Act> = fc.record({
  whom: fc.nat(people.length - 1),
  role: fc.constantFrom("read", "append", "write"),
  day: fc.integer({ min: -2, max: 4 }),
  days: fc.integer({ min: 1, max: 4 }),
  cut: fc.option(fc.uniqueArray(fc.nat(2), { maxLength: 3 }), { nil: undefined, freq: 3 }),
});

const HASH = parseHeaderHash("cd".repeat(32));

/** The space after one act more. */
function after(space: Space, author: Device, { whom, role, day, days, cut }: Act): Space {
  const device = (people[whom] ?? creator).key;
  const notBefore = START_MS + day * DAY_MS;
  const now = START_MS;
  if (cut === undefined) {
    if (space.revocations.has(device)) return space;
    const notAfter = notBefore + days * DAY_MS;
    return issueGrant(space, author.signer, {
      device,
      service: "agent",
      role,
      notBefore,
      notAfter,
      now,
    });
  }
  const heads = cut.map((n) => ({ incarnation: incarnationOf(n), seq: days, hash: HASH }));
  return revokeDevice(space, author.signer, { device, heads, reason: "x", now });
}

const actsOf = (space: Space): ReturnType<typeof decodeSignedRecord>[] =>
  space.acts.map(({ record }) => decodeSignedRecord(encodeSignedRecord(record)));

/** What the creator and a manager do who do not know of each other; the creator may remove the manager at the end. */
const records: fc.Arbitrary<Records> = fc
  .record({
    ours: fc.array(act, { maxLength: 5 }),
    theirs: fc.array(act, { maxLength: 3 }),
    strikes: fc.boolean(),
    // So many forks that nothing of the first device counts.
    isOut: fc.boolean(),
    forks: fc.array(
      fc.record({ whom: fc.nat(2), chain: fc.nat(2), seq: fc.integer({ min: 1, max: 5 }) }),
      {
        maxLength: 3,
      },
    ),
  })
  .map(({ ours, theirs, strikes, isOut, forks }) => {
    const one = ours.reduce((space, next) => after(space, creator, next), start);
    const other = theirs.reduce((space, next) => after(space, manager, next), start);
    const last = strikes
      ? revokeDevice(one, creator.signer, {
          device: manager.key,
          heads: [],
          reason: "x",
          now: START_MS,
        })
      : one;
    const { space } = addActs(last, actsOf(other), verifier, START_MS + DAY_MS);
    const many = Array.from({ length: isOut ? LIMITS.proofsPerDevice : 0 }, (_, n) => ({
      whom: 0,
      chain: 100 + n,
      seq: 1,
    }));
    const proven = [...many, ...forks].map(({ whom, chain, seq }): [string, Fork] => {
      const replica = (people[whom] ?? creator).key;
      const incarnation = incarnationOf(chain);
      return [
        chainKey(replica, incarnation),
        { replica, incarnation, seq, proof: new Uint8Array() },
      ];
    });
    return new Records(space, new Map(proven));
  });

const headers = fc.array(
  fc.record({
    whom: fc.nat(people.length),
    chain: fc.nat(3),
    seq: fc.integer({ min: 1, max: 6 }),
    day: fc.integer({ min: -3, max: 9 }),
  }),
  { minLength: 20, maxLength: 20, size: "max" },
);

test("by a roster the same counts as by the records that it was made of, and the same is void", () => {
  fc.assert(
    fc.property(records, headers, (known, all) => {
      const roster = rosterOf(known);
      for (const { whom, chain, seq, day } of all) {
        const replica = (people[whom] ?? manager).key;
        const hlc = hlcAt(day * DAY_MS);
        const header = { replica, incarnation: incarnationOf(chain), seq, hlc };
        // The batch that a cut names, not another one in its place.
        const standing = known.standing(header, HASH);
        const isVoid = standing.kind === "void" && standing.reason !== "grant";
        const mine = standingBy(roster, header);
        expect(mine === "counts").toBe(standing.kind === "counts");
        expect(mine === "void").toBe(isVoid);
        // What a struck grant covers is void for good, which only who has the batch can say.
        const isPlain = standing.kind === "later" || standing.kind === "stranger";
        expect(isPlain ? mine : standing.kind).toBe(standing.kind);
      }
    }),
    { numRuns: 150 },
  );
});

test("after any history the roster of a replica lets count what counts there, chain by chain", async () => {
  const steps = fc.array(action, { minLength: 20, maxLength: 60, size: "max" });
  await fc.assert(
    fc.asyncProperty(steps, fc.nat(1000), async (some, seed) => {
      const history = new Upheaval<MemoryStore>(seed * 100_000 + 100);
      for (const [i, device] of DEVICES.entries()) {
        history.nodes.push(await history.open(device, createMemoryStore(), firstRandom(i)));
      }
      for (const step of some) await history.run(step);
      for (const { replica } of history.nodes) {
        const roster = replica.roster();
        const waiting = replica
          .chains()
          .filter(({ reason }) => reason === "waiting")
          .map(({ replica: of, incarnation }) => chainKey(of, incarnation));
        for (const { replica: of, incarnation, seq: counted, void: rest } of replica.chains()) {
          if (waiting.includes(chainKey(of, incarnation))) continue;
          let seq = 0;
          let behind = false;
          const span = { replica: of, incarnation, from: 1, to: counted + rest };
          for await (const { bytes } of replica.read([span])) {
            const { header } = decodeBatch(bytes);
            behind ||= standingBy(roster, header) !== "counts";
            if (!behind) seq = header.seq;
          }
          expect(seq).toBe(counted);
        }
        await replica.close();
      }
    }),
    { numRuns: 8, interruptAfterTimeLimit: 20_000 },
  );
}, 60_000);
