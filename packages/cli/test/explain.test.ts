// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what is said about a pick is so.
 * Method: candidates as the real resolvers judge random statements; each claim in the words is checked
 * against the statements themselves.
 */
import { Resolvers, counting, expiryMs, isNewer, undominatedOf } from "@ctxmesh/facts";
import type { PolicyRule, Slot } from "@ctxmesh/facts";
import { hlcFromMs, hlcToMs, parseDeviceKey, parseIncarnationId } from "@ctxmesh/model";
import type { Candidate, VisibleFact } from "@ctxmesh/model";
import type { KeyCandidates } from "@ctxmesh/sdk";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { describeStanding, explain } from "../src/explain.ts";

const NOW_MS = Date.UTC(2026, 0, 1);
const PICKING: readonly PolicyRule[] = [
  { prefix: "", resolver: "latest" },
  { prefix: "", resolver: "confidence" },
  { prefix: "", resolver: "confidence", halfLifeMs: 2_000 },
  { prefix: "", resolver: "priority", sources: ["a", "b"] },
  { prefix: "", resolver: "max" },
  { prefix: "", resolver: "min" },
  { prefix: "", resolver: "expression", name: "odd", expression: "size(tags)" },
];
const MERGING: readonly PolicyRule[] = (["sum", "union", "all"] as const).map((resolver) => ({
  prefix: "",
  resolver,
}));

const writerOf = (n: number): Slot["writer"] =>
  parseDeviceKey(`${String(n)}fa9c21b`.padEnd(64, "0"));
const shortOf = (n: number): string => writerOf(n).slice(0, 8);

/** A statement of writer `n`, `agoMs` old. */
const slot = (n: number, agoMs: number, rest: Partial<Slot>): Slot => ({
  writer: writerOf(n),
  incarnation: parseIncarnationId("0".repeat(32)),
  seq: 1,
  hlc: hlcFromMs(NOW_MS - agoMs),
  key: "k",
  ...rest,
});

const present = <T extends object>(members: T): T =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as T;

/** What a replica tells about a key with these statements, of which those of `retracted` writers don't count. */
function judged(
  rule: PolicyRule,
  slots: readonly Slot[],
  retracted: ReadonlySet<string> = new Set(),
): KeyCandidates {
  const resolver = new Resolvers({ epoch: 1, rules: [rule] }).for("k");
  const live = counting(slots, [], NOW_MS).filter(({ writer }) => !retracted.has(writer));
  const undominated = undominatedOf(resolver, live);
  const shown = resolver.show(undominated);
  const standing = (one: Slot): Candidate["standing"] => {
    if (retracted.has(one.writer)) return "retracted";
    if (!live.includes(one)) return "expired";
    if (!undominated.includes(one)) return "dominated";
    return one === shown?.winner || shown?.merged === true ? "shown" : "undominated";
  };
  const candidates = slots
    .toSorted((a, b) => b.hlc - a.hlc)
    .map((one) =>
      present({
        ...one,
        value: one.valueJson === undefined ? undefined : (JSON.parse(one.valueJson) as unknown),
        deleted: one.valueJson === undefined,
        standing: standing(one),
      }),
    ) as unknown as Candidate[];
  if (shown?.valueJson === undefined) return { candidates };
  const fact = {
    value: JSON.parse(shown.valueJson) as unknown,
    writer: shown.winner.writer,
    hlc: shown.winner.hlc,
    contested: shown.contested,
    resolver: resolver.name,
  } as unknown as VisibleFact;
  return { fact, candidates };
}

const statement = fc.record({
  agoMs: fc.integer({ min: 0, max: 4 }).map((n) => n * 1_000),
  rest: fc
    .record({
      valueJson: fc.option(fc.constantFrom("1", "2", "3", '"x"'), { nil: undefined }),
      confidence: fc.option(fc.constantFrom(0, 0.2, 0.6, 0.9), { nil: undefined }),
      ttlMs: fc.option(fc.constantFrom(1_500, 5_000, 60_000), { nil: undefined }),
      source: fc.option(
        fc.constantFrom("a", "b", "c").map((model) => ({ model })),
        { nil: undefined },
      ),
      tags: fc.option(fc.constantFrom(["x"], ["x", "y"]), { nil: undefined }),
    })
    .map(present),
});
const statements = fc
  .array(statement, { minLength: 1, maxLength: 5 })
  .map((all) => all.map(({ agoMs, rest }, n) => slot(n, agoMs, rest as Partial<Slot>)));

const rank = ({ source }: Slot): number => ["a", "b", source?.model].indexOf(source?.model);

/** Whether what is said about a rival beside the winner is so. */
function holds(why: string, rival: Slot, winner: Slot): boolean {
  const [its, mine] = [rival.confidence ?? 1, winner.confidence ?? 1];
  switch (why) {
    case `is surer (${String(its)} > ${String(mine)})`:
      return its > mine;
    case `is less sure (${String(its)} < ${String(mine)})`:
      return its < mine;
    case "lives longer":
      return expiryMs(rival) > expiryMs(winner);
    case "is smaller":
      return Number(rival.valueJson) < Number(winner.valueJson);
    case "is larger":
      return Number(rival.valueJson) > Number(winner.valueJson);
    case "is no number":
      return rival.valueJson === '"x"';
    case "is from a lesser source":
      return rank(rival) > rank(winner);
    case "has a lower score":
      return (rival.tags?.length ?? 0) < (winner.tags?.length ?? 0);
    default:
      return false;
  }
}

describe("for any statements under any resolver", () => {
  test("it says contested exactly when the key is, and never throws", () => {
    fc.assert(
      fc.property(statements, fc.constantFrom(...PICKING, ...MERGING), (slots, rule) => {
        const found = judged(rule, slots);
        const words = explain(found);
        expect(words.includes("so the key is contested")).toBe(found.fact?.contested === true);
        expect(words.startsWith(`${found.fact?.resolver ?? "nothing is shown"}:`)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  test("why a rival holds is true of it and of the winner", () => {
    let claims = 0;
    fc.assert(
      fc.property(statements, fc.constantFrom(...PICKING), (slots, rule) => {
        const found = judged(rule, slots);
        const claim =
          /; ([0-9a-f]{8})'s (older|newer) (one|delete) (.*?)(?: \(and \d+ more statements? differ\))?, so/u.exec(
            explain(found),
          );
        if (claim === null) return;
        claims++;
        const [, short = "", age, noun, why = ""] = claim;
        const rival = slots.find(({ writer }) => writer.startsWith(short));
        const winner = slots.find(({ writer }) => writer === found.fact?.writer);
        if (rival === undefined || winner === undefined) throw new Error("nobody");
        expect(rival.valueJson).not.toBe(winner.valueJson);
        expect({
          noun: rival.valueJson === undefined ? "delete" : "one",
          age: isNewer(rival, winner) ? "newer" : "older",
          why: holds(why, rival, winner),
        }).toEqual({ noun, age, why: true });
      }),
      { numRuns: 4_000, seed: 7 },
    );
    expect(claims).toBeGreaterThan(200);
  });
});

describe("in words", () => {
  const sure = slot(1, 3_000, { valueJson: "71.5", confidence: 0.9 });
  const fresh = slot(2, 1_000, { valueJson: "70", confidence: 0.6 });
  const [latest, confidence] = PICKING as [PolicyRule, PolicyRule];

  test("the newest wins under latest, the surest under confidence, both contested", () => {
    expect(explain(judged(latest, [sure, fresh]))).toBe(
      `latest: the newest statement is shown; ${shortOf(1)}'s older one is surer (0.9 > 0.6), so the key is contested`,
    );
    expect(explain(judged(confidence, [sure, fresh]))).toBe(
      `confidence: the surest statement is shown; ${shortOf(2)}'s newer one is less sure (0.6 < 0.9), so the key is contested`,
    );
  });

  test("one statement that counts, agreement, and equal sureness", () => {
    expect(explain(judged(latest, [sure]))).toBe("latest: the only statement that counts is shown");
    expect(explain(judged(latest, [sure, fresh], new Set([sure.writer])))).toBe(
      "latest: the only statement that counts is shown",
    );
    const same = slot(2, 1_000, { valueJson: "71.5", confidence: 0.6 });
    expect(explain(judged(latest, [sure, same]))).toBe(
      "latest: the newest statement is shown; no other one that still stands disagrees",
    );
    const plain = [slot(1, 2_000, { valueJson: "1" }), slot(2, 1_000, { valueJson: "2" })];
    expect(explain(judged(confidence, plain))).toMatch(
      /^confidence: all are equally sure, so the newest statement is shown; no other/u,
    );
  });

  test("merged values", () => {
    const [sum, union, all] = MERGING as [PolicyRule, PolicyRule, PolicyRule];
    const slots = [
      slot(1, 3_000, { valueJson: "40" }),
      slot(2, 2_000, { valueJson: "2" }),
      slot(3, 1_000, {}),
    ];
    expect(explain(judged(sum, slots))).toBe(
      "sum: the numbers of 2 writers are added: 2 + 40 = 42",
    );
    expect(explain(judged(union, slots))).toBe(
      "union: the values of 2 writers are merged into one set",
    );
    expect(explain(judged(all, slots))).toBe(
      "all: no winner: the values of 2 writers are listed, newest first; they differ, so the key is contested",
    );
    const { fact, candidates } = judged(sum, slots);
    expect(candidates.map((candidate) => describeStanding(candidate, fact))).toEqual([
      "adds nothing",
      "shown",
      "shown",
    ]);
  });

  test("nothing to show", () => {
    expect(explain(judged(latest, [sure, slot(2, 1_000, {})]))).toBe(
      `nothing is shown: ${shortOf(2)}'s delete wins`,
    );
    const gone = [slot(3, 3_500, { valueJson: "1", ttlMs: 10 }), sure];
    expect(explain(judged(latest, gone, new Set([sure.writer])))).toBe(
      "nothing is shown: every statement is retracted or expired",
    );
  });

  test("a retraction names who and why, and can't drive the terminal", () => {
    const retracted = {
      ...judged(latest, [sure]).candidates[0],
      standing: "retracted",
      retraction: { by: writerOf(2), reason: "broken\u001b[31m" },
    } as Candidate;
    expect(describeStanding(retracted, undefined)).toBe(
      `retracted by ${shortOf(2)}: broken\\u001b[31m`,
    );
    expect(hlcToMs(retracted.hlc)).toBe(NOW_MS - 3_000);
  });
});

test("what a module picked, made or left out is said as that", () => {
  const slots = [slot(0, 1_000, { valueJson: "1" }), slot(1, 2_000, { valueJson: "2" })];
  const told = (shown: unknown, standings: readonly Candidate["standing"][]): string => {
    const { fact, candidates } = judged({ prefix: "", resolver: "latest" }, slots);
    const stood = candidates.map((one, i) => ({ ...one, standing: standings[i] ?? one.standing }));
    const by = { ...fact, value: shown, resolver: "wasm:5b0c12345678", contested: true };
    return explain({
      ...(shown === undefined ? {} : { fact: by as unknown as VisibleFact }),
      candidates: stood,
    });
  };
  expect(told(1, ["shown", "undominated"])).toMatch(
    /^wasm:5b0c12345678: the module picks \w+'s statement; others say something else, so the key is contested$/u,
  );
  expect(told([1, 2], ["shown", "shown"])).toBe(
    "wasm:5b0c12345678: the module makes it of the statements of 2 writers",
  );
  expect(told(undefined, ["undominated", "undominated"])).toBe(
    "nothing is shown: the module picks none",
  );
});
