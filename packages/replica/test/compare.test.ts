// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a write with a condition is made exactly when the key's version is the expected one, and what is refused leaves nothing behind.
 * Method: random histories against a map that knows what each key's version was; a journal that refuses; proposals that nobody would make.
 */
import { encodeFrame } from "@ctxmesh/facts";
import { setPolicy } from "@ctxmesh/membership";
import { LIMITS } from "@ctxmesh/model";
import type { EngineEntry, FactInput, Hlc } from "@ctxmesh/model";
import { encodeProposed } from "@ctxmesh/replica";
import type { Journal, Replica } from "@ctxmesh/replica";
import { createVirtualClock } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { mayTouch } from "../src/compare.ts";
import {
  DOC,
  START_MS,
  applied,
  creator,
  open,
  reader,
  space,
  stateOf,
  stranger,
  us,
  writer,
} from "./mesh.ts";

const REQUEST = "5".repeat(32);
const HOUR_MS = 3_600_000;
const soon = (expected: string | null) => ({ expected, dueMs: START_MS + HOUR_MS });
const versionOf = (replica: Replica, key: string): string | null =>
  replica.get(DOC, key)?.version ?? null;
const set = async (
  replica: Replica,
  fact: FactInput,
  expected: string | null,
): ReturnType<Replica["proposals"]["make"]> =>
  replica.proposals.make(replica.proposals.prepare(DOC, fact, expected));
const proposed = (replica: Replica, fact: FactInput): Uint8Array =>
  encodeProposed(replica.proposals.prepare(DOC, fact, null));

describe("a write with a condition", () => {
  const key = fc.constantFrom("a", "b");
  const step = fc.oneof(
    fc.record({ kind: fc.constant("put" as const), key, value: fc.nat() }),
    fc.record({ kind: fc.constant("delete" as const), key }),
    // What is expected is a version that the key had so many versions ago; 0: the one it has.
    fc.record({ kind: fc.constant("set" as const), key, value: fc.nat(), ago: fc.nat({ max: 2 }) }),
  );

  type Step = typeof step extends fc.Arbitrary<infer Each> ? Each : never;

  /** Takes a step; what came of it, and what should have. */
  async function take(
    replica: Replica,
    each: Step,
    past: readonly (string | null)[],
  ): Promise<{ readonly is: unknown; readonly should: unknown }> {
    if (each.kind === "put") await replica.put(DOC, [{ key: each.key, value: each.value }]);
    if (each.kind === "delete") await replica.delete(DOC, [each.key]);
    if (each.kind !== "set") return { is: undefined, should: undefined };
    const { key: name, value, ago } = each;
    const expected = past[ago] ?? null;
    const isMade = expected === versionOf(replica, name);
    const before = stateOf(replica);
    const outcome = await set(replica, { key: name, value }, expected).then(
      ({ version }) => version,
      ({ code }: { readonly code: string }) => code,
    );
    return isMade
      ? { is: [outcome, replica.get(DOC, name)?.value], should: [versionOf(replica, name), value] }
      : { is: [outcome, stateOf(replica)], should: ["VERSION_CONFLICT", before] };
  }

  test("is made exactly if the version is the one that is expected, and its receipt has the next one", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const replica = await open();
        const versions = new Map<string, (string | null)[]>([
          ["a", [null]],
          ["b", [null]],
        ]);
        for (const each of steps) {
          const past = versions.get(each.key) ?? [];
          const now = versionOf(replica, each.key);
          expect(past[0] ?? null).toBe(now);
          const { is, should } = await take(replica, each, past);
          expect(is).toEqual(should);
          past.unshift(versionOf(replica, each.key));
        }
      }),
      { numRuns: 60 },
    );
  });

  test("is made once among many at the same time, whoever asks, and others go on beside them", async () => {
    const replica = await open();
    await replica.put(DOC, [{ key: "owner", value: "nobody" }]);
    const expected = versionOf(replica, "owner");
    const calls = Array.from({ length: 20 }, async (_, i) =>
      i % 2 === 0
        ? set(replica, { key: "owner", value: i }, expected)
        : replica.proposals.makeFor(
            { device: writer.key, request: REQUEST },
            DOC,
            proposed(replica, { key: "owner", value: i }),
            soon(expected),
          ),
    );
    const beside = replica.put(DOC, [{ key: "other", value: 1 }]);
    const outcomes = await Promise.allSettled(calls);
    await beside;
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    const made = outcomes.findIndex(({ status }) => status === "fulfilled");
    expect(replica.get(DOC, "owner")?.value).toBe(made);
    expect(replica.get(DOC, "other")?.value).toBe(1);
  });

  test("reaches others as any write", async () => {
    const [ours, theirs] = [await open(), await open({ device: writer })];
    const local = applied(ours);
    const { version } = await set(ours, { key: "owner", value: 1, tags: ["t"] }, null);
    await set(ours, { key: "owner", value: 2 }, version);
    for (const batch of local) expect(await theirs.receive(batch)).toEqual({ kind: "accepted" });
    expect(theirs.snapshot()).toEqual(ours.snapshot());
  });

  test("is not made where it would not show: the next one that expects nothing would be made as well", async () => {
    const policy = { epoch: 1, rules: [{ prefix: "", resolver: "confidence" as const }] };
    const ruled = setPolicy(space, creator.signer, policy, START_MS);
    const replica = await open({ space: ruled });
    await replica.put(DOC, [{ key: "k", value: 1 }]);
    const other = await open({ space: ruled, device: writer });
    const theirs = applied(other);
    // Surer than what is to come.
    await other.delete(DOC, ["k"]);
    for (const batch of theirs) await replica.receive(batch);
    await replica.delete(DOC, ["k"]);
    const before = stateOf(replica);
    const making = set(replica, { key: "k", value: 2, confidence: 0.5 }, null);
    await expect(making).rejects.toMatchObject({ code: "POLICY_REFUSED", field: "key" });
    expect(stateOf(replica)).toEqual(before);
    await expect(set(replica, { key: "k", value: 2 }, null)).resolves.toBeDefined();
  });

  test.each([
    ["a version that is none", { key: "k", value: 1 }, "5", "INPUT_INVALID", "expect"],
    ["an increment", { key: "k", value: 1, increment: true }, null, "INPUT_INVALID", "increment"],
    ["an empty key", { key: "", value: 1 }, null, "INPUT_INVALID", "key"],
  ])("with %s is refused by name", async (_, fact, expected, code, field) => {
    const replica = await open();
    const making = async (): Promise<unknown> => set(replica, fact, expected);
    await expect(making()).rejects.toMatchObject({ code, field });
  });
});

describe("on behalf of another device", () => {
  const proposer = { device: writer.key, request: REQUEST };

  test("it is a statement of the device that decides, and its basis says who asked", async () => {
    const replica = await open();
    const said = { value: 1, confidence: 0.5, source: { model: "m" }, basis: ["d-1"] };
    const bytes = proposed(replica, { key: "k", ...said });
    await replica.proposals.makeFor(proposer, DOC, bytes, soon(null));
    expect(replica.candidates(DOC, "k")).toMatchObject([
      { ...said, writer: us.key, basis: ["d-1", `cas:${writer.key}:${REQUEST}`] },
    ]);
  });

  test.each([
    ["may only read", reader],
    ["is no member", stranger],
  ])("a device that %s is refused", async (_, device) => {
    const replica = await open();
    const bytes = proposed(replica, { key: "k", value: 1 });
    const who = { device: device.key, request: REQUEST };
    const making = replica.proposals.makeFor(who, DOC, bytes, soon(null));
    await expect(making).rejects.toMatchObject({ code: "POLICY_REFUSED" });
  });

  test("one whose time is over is not begun", async () => {
    const clock = createVirtualClock(START_MS);
    const replica = await open({ clock });
    const bytes = proposed(replica, { key: "k", value: 1 });
    const condition = { expected: null, dueMs: START_MS - 1 };
    const making = replica.proposals.makeFor(proposer, DOC, bytes, condition);
    await expect(making).rejects.toMatchObject({ code: "ABORTED" });
    expect(replica.get(DOC, "k")).toBeUndefined();
  });

  test("a basis that has no room for who asked is refused", async () => {
    const replica = await open();
    const basis = Array.from({ length: LIMITS.tagsPerFact }, (_, i) => `id-${String(i)}`);
    const bytes = proposed(replica, { key: "k", value: 1, basis });
    const making = replica.proposals.makeFor(proposer, DOC, bytes, soon(null));
    await expect(making).rejects.toMatchObject({ code: "LIMIT_EXCEEDED", field: "basis" });
  });

  test.each([
    ["another number", { seq: 6 }],
    ["another clock", { hlc: 7 as Hlc }],
    ["a deletion", { valueJson: undefined }],
    ["a value that is not canonical", { valueJson: "1.0" }],
  ])("a frame with %s is no proposal", async (_, other) => {
    const replica = await open();
    const { valueJson, ...said } = { key: "k", seq: 1, hlc: 1 as Hlc, valueJson: "1", ...other };
    const record = { ...said, ...(valueJson === undefined ? {} : { valueJson }) };
    const bytes = encodeFrame({ from: 0, to: record.seq, records: [record] });
    const making = replica.proposals.makeFor(proposer, DOC, bytes, soon(null));
    await expect(making).rejects.toMatchObject({ name: "MeshError" });
    expect(replica.get(DOC, "k")).toBeUndefined();
  });

  test("bytes that are no proposal are refused, and leave nothing behind", async () => {
    const replica = await open();
    const good = proposed(replica, { key: "k", value: [1], confidence: 0.5, tags: ["t"] });
    const before = stateOf(replica);
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.uint8Array({ maxLength: 60 }),
          fc.nat({ max: good.length - 1 }).map((end) => good.slice(0, end)),
          fc.tuple(fc.nat({ max: 12 }), fc.integer({ min: 1, max: 255 })).map(([at, flip]) => {
            const bytes = good.slice();
            bytes[at] = (bytes[at] ?? 0) ^ flip;
            return bytes;
          }),
        ),
        async (bytes) => {
          // A key of other letters is a good one; with a version that no key has nothing is made.
          const making = replica.proposals.makeFor(proposer, DOC, bytes, soon("0".repeat(32)));
          const error = await making.catch((thrown: unknown) => thrown);
          expect(["FORMAT_INVALID", "INPUT_INVALID", "VERSION_CONFLICT"]).toContain(
            (error as { code?: unknown }).code,
          );
        },
      ),
      { numRuns: 300 },
    );
    expect(stateOf(replica)).toEqual(before);
  });
});

/** Takes what has no condition, and the rest as `takes` says. */
const journalOf = (takes: () => boolean): Journal & { entries: EngineEntry[] } => ({
  entries: [],
  async record(entries) {
    this.entries.push(...entries);
    return Promise.resolve();
  },
  async recordUnless(entries) {
    const isTaken = takes();
    if (isTaken) this.entries.push(...entries);
    return Promise.resolve(isTaken);
  },
});

const entry = (kind: EngineEntry["kind"], bytes: Uint8Array): EngineEntry => ({
  kind,
  id: new Uint8Array(32),
  bytes,
});

describe("with a journal", () => {
  test("what it refuses is not written, and the chain goes on without a gap", async () => {
    let takes = false;
    const journal = journalOf(() => takes);
    const [ours, theirs] = [await open({ journal }), await open({ device: writer })];
    const local = applied(ours);
    await ours.put(DOC, [{ key: "before", value: 0 }]);
    const before = stateOf(ours);
    const first = { key: "k", value: 1 };
    await expect(set(ours, first, null)).rejects.toMatchObject({ code: "ENGINE_FENCED" });
    await expect(set(ours, first, null)).rejects.toMatchObject({ code: "ENGINE_FENCED" });
    expect(stateOf(ours)).toEqual(before);
    takes = true;
    await set(ours, { key: "k", value: 2 }, null);
    await ours.put(DOC, [{ key: "after", value: 3 }]);
    for (const batch of local) expect(await theirs.receive(batch)).toEqual({ kind: "accepted" });
    expect(theirs.snapshot()).toEqual(ours.snapshot());
    // What was refused reached nobody, and nothing of it is in the log: the journal has what others have.
    expect(journal.entries.map(({ bytes }) => bytes)).toEqual(local);
    expect(theirs.candidates(DOC, "k")).toMatchObject([{ value: 2, seq: 2 }]);
  });

  test("a record is against a key only if it is about it, or may change what counts, or can't be read", async () => {
    const ours = await open();
    const local = applied(ours);
    await ours.put(DOC, [{ key: "k", value: 1 }]);
    const batch = entry("batch", local[0] ?? new Uint8Array());
    const other = "line-2/press-8" as typeof DOC;
    expect(mayTouch(batch, DOC, "k")).toBe(true);
    expect(mayTouch(batch, DOC, "other")).toBe(false);
    expect(mayTouch(batch, other, "k")).toBe(false);
    expect(mayTouch(entry("batch", Uint8Array.of(1, 2)), DOC, "k")).toBe(true);
    const empty = new Uint8Array();
    expect(
      ["act", "proof", "header"].map((kind) => mayTouch(entry(kind as "act", empty), DOC, "k")),
    ).toEqual([true, true, false]);
  });
});
