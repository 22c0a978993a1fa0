// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: two ends know exactly where their heads differ, at a cost that grows with the difference and not with the number of chains.
 * Method: two machines over random heads and random deliveries against the difference of two sets; bytes counted; hostile words.
 */
import { LIMITS } from "@ctxmesh/model";
import {
  MAX_ROUNDS,
  RangeIndex,
  decodeMessage,
  encodeMessage,
  isInSync,
  rangeKey,
} from "@ctxmesh/sync";
import type { ChainHead, Range, SyncMessage } from "@ctxmesh/sync";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareRanges, openingRanges, pageRanges } from "../src/ranges.ts";
import { End, converse, spread } from "./pair.ts";

const CHAINS = 16_000;
const BASE = Array.from({ length: CHAINS }, (_, n) => spread(n, 5));
/** The same, of which `count` have moved. */
const moved = (count: number): ChainHead[] =>
  BASE.map((head, n) => ((n * 7_919) % CHAINS < count ? spread(n, 6) : head));

const opened = { type: "opened" } as const;
const compare = { type: "compare", nowMs: 1 } as const;

/** Both ends greet. */
function meet(a: End, b: End): void {
  a.take(opened);
  b.take(opened);
}

/** What an end takes the other for: its heads by chain, as far as it knows of any. */
const heardBy = ({ state }: End): Record<string, string> =>
  Object.fromEntries(
    [...state.said.entries()]
      .filter(([, { seq }]) => seq > 0)
      .map(([chain, { seq, hash }]) => [chain, `${String(seq)} ${hash}`]),
  );
const headsOf = ({ heads }: End): Record<string, string> =>
  Object.fromEntries([...heads].map(([chain, { seq, hash }]) => [chain, `${String(seq)} ${hash}`]));

/** What of an end's chains the other is asked for: where the other is ahead, from where to where. */
const pulledBy = ({ state }: End): string[] =>
  (state.pulling?.spans ?? [])
    .map(
      ({ replica, incarnation, from, to }) =>
        `${replica}${incarnation} ${String(from)}-${String(to)}`,
    )
    .toSorted();
const lackedBy = (a: End, b: End): string[] =>
  [...b.heads]
    .flatMap(([chain, { seq }]) => {
      const ours = a.heads.get(chain)?.seq ?? 0;
      return seq > ours ? `${chain} ${String(ours + 1)}-${String(seq)}` : [];
    })
    .toSorted();

/** Some chains with their positions; on both ends often the same. */
const someHeads = fc
  .array(fc.tuple(fc.nat(400), fc.integer({ min: 1, max: 3 })), { maxLength: 120 })
  .map((all) => new Map(all));
const toHeads = (all: ReadonlyMap<number, number>): ChainHead[] =>
  [...all].map(([n, seq]) => spread(n, seq));

describe("a comparison of two ends", () => {
  test("ends with each knowing exactly what the other has, and asking for exactly what it lacks, in whatever order messages arrive", () => {
    fc.assert(
      fc.property(
        someHeads,
        someHeads,
        someHeads,
        fc.constantFrom("hello", "digest", "both digests"),
        fc.infiniteStream(fc.boolean()),
        (common, onlyA, onlyB, how, turns) => {
          const a = new End(toHeads(new Map([...common, ...onlyA])));
          const b = new End(toHeads(new Map([...common, ...onlyB])));
          meet(a, b);
          converse(a, b, () => turns.next().value);
          if (how !== "hello") {
            // A greeting told them all; now they know nothing and find it out by digests.
            for (const end of [a, b]) {
              end.state = { ...new End([]).state, phase: "open" };
              end.out.length = 0;
            }
            a.take(compare);
            if (how === "both digests") b.take(compare);
            converse(a, b, () => turns.next().value);
          }
          expect(heardBy(a)).toEqual(headsOf(b));
          expect(heardBy(b)).toEqual(headsOf(a));
          expect(pulledBy(a)).toEqual(lackedBy(a, b));
          expect(pulledBy(b)).toEqual(lackedBy(b, a));
          expect([a, b].map(({ state }) => state.phase)).toEqual(["open", "open"]);
        },
      ),
      { numRuns: 300 },
    );
  });

  test("while heads move says nothing that was not so when it was said, and the next one is right", () => {
    const move = fc.tuple(fc.boolean(), fc.nat(400), fc.integer({ min: 0, max: 4 }));
    fc.assert(
      fc.property(
        someHeads,
        someHeads,
        fc.array(fc.tuple(move, fc.boolean()), { maxLength: 30 }),
        (common, onlyB, moves) => {
          const a = new End(toHeads(common));
          const b = new End(toHeads(new Map([...common, ...onlyB])));
          const ever = [a, b].map(({ heads }) => new Set([...heads.values()].map(wordOf)));
          meet(a, b);
          for (const [[atA, n, seq], aReads] of moves) {
            const [end, index] = atA ? [a, 0] : [b, 1];
            end.move(spread(n, seq));
            ever[index]?.add(wordOf(spread(n, seq)));
            if (aReads) a.read(b);
            else b.read(a);
          }
          converse(a, b);
          for (const [end, other] of [
            [a, ever[1]],
            [b, ever[0]],
          ] as const) {
            const said = [...end.state.said.entries()].filter(([, { seq }]) => seq > 0);
            expect(
              said.map(([, head]) => wordOf(head)).filter((word) => other?.has(word) !== true),
            ).toEqual([]);
          }
          a.take(compare);
          converse(a, b);
          expect(heardBy(a)).toEqual(headsOf(b));
          expect(heardBy(b)).toEqual(headsOf(a));
        },
      ),
      { numRuns: 200 },
    );
  });

  test("tells that a chain is gone: who is listed nothing of it knows that the other lacks it", () => {
    const heads = Array.from({ length: 40 }, (_, n) => spread(n, 5));
    const [a, b] = [new End(heads), new End(heads)];
    meet(a, b);
    converse(a, b);
    expect(isInSync(a.state, a.view)).toBe(true);
    b.move({ ...spread(7, 0), hash: "0".repeat(32) });
    a.take(compare);
    converse(a, b);
    expect(heardBy(a)).toEqual(headsOf(b));
    expect(isInSync(a.state, a.view)).toBe(false);
    expect(pulledBy(a)).toEqual([]);
  });

  test("forgets what was heard of a chain that neither has any more, though all else of its range is equal", () => {
    const heads = Array.from({ length: 40 }, (_, n) => spread(n, 5));
    const [a, b] = [new End(heads), new End([...heads, spread(50, 1)])];
    meet(a, b);
    converse(a, b);
    expect(heardBy(a)).toEqual(headsOf(b));
    b.move({ ...spread(50, 0), hash: "0".repeat(32) });
    b.move(spread(3, 6));
    a.take(compare);
    converse(a, b);
    expect(heardBy(a)).toEqual(headsOf(b));
  });

  test("of a hub confirms what both have, and nothing else", () => {
    const a = new End(
      toHeads(
        new Map([
          [1, 3],
          [2, 2],
          [3, 1],
        ]),
      ),
      true,
    );
    const hub = new End(
      toHeads(
        new Map([
          [1, 3],
          [2, 1],
          [4, 9],
        ]),
      ),
    );
    meet(a, hub);
    converse(a, hub);
    const confirmed = a.effects.flatMap((effect) =>
      effect.type === "confirm" ? effect.heads.map(wordOf) : [],
    );
    expect(new Set(confirmed)).toEqual(new Set([...hub.heads.values()].map(wordOf)));
  });
});

const wordOf = (head: ChainHead): string => `${rangeKey(head)} ${String(head.seq)} ${head.hash}`;

/** Bytes of all messages but pulls, and how many of them there were. */
const costOf = (other: readonly ChainHead[], first: typeof opened | typeof compare): number => {
  const [a, b] = [new End(BASE), new End(other)];
  if (first.type === "opened") meet(a, b);
  else {
    for (const end of [a, b]) end.state = { ...end.state, phase: "open" };
    a.take(first);
  }
  converse(a, b);
  const sent = [...a.effects, ...b.effects].flatMap((effect) =>
    effect.type === "send" && effect.message.type !== "pull" ? [effect.message] : [],
  );
  return sent.reduce((sum, message) => sum + encodeMessage(message).length, 0);
};

describe(`with ${String(CHAINS)} chains`, () => {
  test.each([
    ["nothing", 0, 200, 200],
    ["one chain", 1, 1_700, 1_700],
    ["ten chains", 10, 12_000, 1_200],
    ["a thousand chains", 1_000, 400_000, 400],
  ] as const)("a difference in %s costs %s * few bytes", (_, count, most, each) => {
    const other = moved(count);
    for (const first of [opened, compare] as const) {
      const bytes = costOf(other, first);
      expect(bytes).toBeLessThan(most);
      expect(bytes / Math.max(1, count)).toBeLessThanOrEqual(each);
    }
  });

  test("somebody who has nothing is told everything once, in messages of bounded size", () => {
    const [a, b] = [new End([]), new End(BASE)];
    meet(a, b);
    converse(a, b);
    expect(heardBy(a)).toEqual(headsOf(b));
    const sizes = b.effects.flatMap((effect) =>
      effect.type === "send" ? [encodeMessage(effect.message).length] : [],
    );
    expect(Math.max(...sizes)).toBeLessThanOrEqual(LIMITS.syncChunkBytes);
    expect(b.bytes).toBeLessThan(CHAINS * 74);
  });
});

describe("an answer", () => {
  const index = new RangeIndex(Array.from({ length: 100 }, (_, n) => spread(n, 5)));
  const NO_FINGERPRINT = "0".repeat(32);
  const range = (
    mode: Range["mode"],
    { upper = "", fingerprint = NO_FINGERPRINT, heads = [] as readonly ChainHead[] } = {},
  ): Range => {
    if (mode === "skip") return { upper, mode };
    return mode === "fingerprint" || mode === "equal"
      ? { upper, mode, fingerprint }
      : { upper, mode, heads };
  };

  test.each([
    ["a fingerprint that is ours", "fingerprint", true, ["equal"]],
    ["an equal one", "equal", true, []],
    ["an equal one that is not so any more", "equal", false, []],
    ["a list of something", "list", false, ["listed"]],
    ["what is listed", "listed", false, []],
    ["what is skipped", "skip", false, []],
  ] as const)("to %s", (_, mode, isOurs, modes) => {
    const fingerprint = isOurs ? index.fingerprint({ from: 0, to: 100 }) : NO_FINGERPRINT;
    const { answer, known } = compareRanges([range(mode, { fingerprint })], index);
    expect(answer.map((one) => one.mode)).toEqual(modes);
    expect(known.flatMap(({ heads }) => heads)).toHaveLength(isOurs ? 100 : 0);
  });

  test("lists, of a list that is ours, nothing", () => {
    const heads = index.heads({ from: 0, to: 100 });
    const { answer } = compareRanges([range("list", { heads })], index);
    expect(answer.map((one) => one.mode)).toEqual(["equal"]);
  });

  test("to a list of as many other chains is a list", () => {
    const heads = index
      .heads({ from: 0, to: 100 })
      .map((one) => ({ ...one, replica: spread(1, 1).replica }));
    const { answer } = compareRanges([range("list", { heads })], index);
    expect(answer.map((one) => one.mode)).toEqual(["listed"]);
  });

  test("covers just what was asked, in an order that parses, whatever was asked", () => {
    const bound = fc
      .uint8Array({ minLength: 1, maxLength: 3 })
      .map((b) => Buffer.from(b).toString("hex"));
    const question = fc
      .tuple(
        fc.uniqueArray(bound, { minLength: 1, maxLength: 12 }),
        fc.array(fc.constantFrom("skip", "fingerprint", "equal", "list", "listed"), {
          minLength: 12,
        }),
        fc.boolean(),
      )
      .map(([bounds, modes, toTheEnd]) => {
        const uppers = bounds.toSorted();
        if (toTheEnd) uppers.splice(-1, 1, "");
        return uppers.map((upper, i) => range(modes[i] as Range["mode"], { upper }));
      });
    fc.assert(
      fc.property(question, (ranges) => {
        const { answer } = compareRanges(ranges, index);
        for (const page of pageRanges(answer)) {
          const message: SyncMessage = { type: "ranges", round: 2, ranges: page };
          expect(decodeMessage(encodeMessage(message))).toEqual(message);
        }
        const asked = ranges.filter(({ mode }) => mode === "fingerprint" || mode === "list");
        expect(answer.length === 0).toBe(asked.length === 0);
        // No answer goes past what was asked.
        expect(answer.at(-1)?.upper).toBe(asked.at(-1)?.upper);
      }),
    );
  });

  test("is as long as our own heads make it, and not as the question", () => {
    const ranges = Array.from({ length: 4_096 }, (_, n) =>
      range("list", { upper: (n + 1).toString(16).padStart(4, "0") }),
    );
    const listed = compareRanges(ranges, index).answer.flatMap((one) =>
      "heads" in one ? one.heads : [],
    );
    expect(listed.length).toBeLessThanOrEqual(100);
  });

  test("of a remote that never agrees ends the session after a bounded number of rounds", () => {
    const end = new End(BASE.slice(0, 100));
    end.state = { ...end.state, phase: "open" };
    let round = 1;
    while (end.state.phase === "open") {
      const ranges: readonly Range[] = [range("fingerprint")];
      end.take({ type: "message", message: { type: "ranges", round, ranges } });
      round++;
    }
    expect(round - 1).toBe(MAX_ROUNDS);
    expect(end.effects.at(-1)).toMatchObject({ type: "close" });
  });
});

test("the bounds between chains are the shortest there are", () => {
  const ends = openingRanges(new RangeIndex(BASE)).map(({ upper }) => upper.length / 2);
  expect(Math.max(...ends)).toBeLessThanOrEqual(3);
});

test("two ends that cut by turns come to an end long before the last round, however their chains lie", () => {
  const [a, b] = [new End(range16(nested, 0)), new End(range16(nested, 1))];
  meet(a, b);
  let rounds = 0;
  while (a.out.length + b.out.length > 0) {
    for (const { type, ...of } of [...a.out, ...b.out]) {
      if (type === "ranges" && "round" in of) rounds = Math.max(rounds, of.round);
    }
    if (b.out.length > 0) a.read(b);
    else b.read(a);
  }
  expect(rounds).toBeLessThanOrEqual(10);
  expect(heardBy(a)).toEqual(headsOf(b));
});

/** Ids that get closer and closer. */
const lying = (n: number): ChainHead["incarnation"] => {
  const depth = Math.floor(n / 512);
  const within = (n % 512).toString(16).padStart(4, "0");
  return `${"8".repeat(depth)}${within}`.padEnd(32, "0") as ChainHead["incarnation"];
};
/** All chains of one end in gaps of the other's, and again, so that each cut helps one of them alone. */
const nested = (n: number): ChainHead => ({ ...spread(n, 1), incarnation: lying(n) });
const range16 = (make: (n: number) => ChainHead, parity: number): ChainHead[] =>
  Array.from({ length: 4_096 }, (_, n) => make(2 * n + parity));
