// SPDX-License-Identifier: Apache-2.0
/** Tests of an engine's log. */
import { expect, test } from "vitest";
import { LIMITS } from "@ctxmesh/model";
import type { EngineEntry, EngineRecord } from "@ctxmesh/model";
import {
  WAIT_MS,
  all,
  bytesOf,
  entries,
  entry,
  freshSpace,
  idOf,
  positionsOf,
  refusal,
  textsOf,
  upTo,
} from "./engine-suite-tools.ts";
import type { Subject } from "./engine-suite-tools.ts";
import { waitFor } from "./wait.ts";

/** Tests of `append`. */
export function appendTests(its: () => Subject): void {
  test("an empty log has no records, and 0 for its head", async () => {
    const { engine, space } = its();
    expect(await engine.head(space)).toBe(0);
    expect(await engine.read(space, 0, 10)).toEqual([]);
  });

  test("positions begin with 1 and have no gap", async () => {
    const { engine, space } = its();
    expect(await engine.append(space, entries(1, 3))).toEqual([1, 2, 3]);
    expect(await engine.append(space, entries(4, 5))).toEqual([4, 5]);
    expect(await engine.head(space)).toBe(5);
  });

  test("nothing to append takes no position", async () => {
    const { engine, space } = its();
    expect(await engine.append(space, [])).toEqual([]);
    expect(await engine.head(space)).toBe(0);
  });

  test("a record that is there keeps its position, and takes no other", async () => {
    const { engine, space } = its();
    await engine.append(space, entries(1, 3));
    expect(await engine.append(space, [entry("entry 2"), entry("new"), entry("entry 1")])).toEqual([
      2, 4, 1,
    ]);
    expect(textsOf(await all(engine, space))).toEqual(["entry 1", "entry 2", "entry 3", "new"]);
  });

  test("a record twice in one call is one", async () => {
    const { engine, space } = its();
    expect(await engine.append(space, [entry("a"), entry("b"), entry("a")])).toEqual([1, 2, 1]);
    expect(await engine.head(space)).toBe(2);
  });

  appendAtOnceTests(its);
  appendUnlessTests(its);
  contentTests(its);
  findTests(its);
}

function appendAtOnceTests(its: () => Subject): void {
  test("appends at once lose nothing, and leave no gap", async () => {
    const { engine, space } = its();
    const given = await Promise.all(
      upTo(60).map(async (i) => engine.append(space, [entry(`at once ${String(i)}`)])),
    );
    expect(given.flat().toSorted((a, b) => a - b)).toEqual(upTo(60));
    const found = await all(engine, space);
    expect(positionsOf(found)).toEqual(upTo(60));
    for (const [i, [position = 0]] of given.entries()) {
      expect(textsOf(found)[position - 1]).toBe(`at once ${String(i + 1)}`);
    }
  });

  test("the same records appended by several at once are there once", async () => {
    const { engine, space } = its();
    const calls = await Promise.all(upTo(8).map(async () => engine.append(space, entries(1, 10))));
    for (const positions of calls) expect(positions).toEqual(calls[0]);
    expect(await engine.head(space)).toBe(10);
  });

  test("records of a call stand together in their order", async () => {
    const { engine, space } = its();
    const calls = await Promise.all(
      upTo(10).map(async (i) => engine.append(space, entries(100 * i, 100 * i + 6))),
    );
    for (const positions of calls) expect(positions).toEqual(upTo(7, positions[0]));
  });
}

const isNamed =
  (text: string) =>
  ({ bytes }: EngineRecord): boolean =>
    new TextDecoder().decode(bytes) === text;

/** Tests of `appendUnless`. */
function appendUnlessTests(its: () => Subject): void {
  test("with a condition nothing is appended when a record behind the position is against it", async () => {
    const { engine, space } = its();
    await engine.append(space, entries(1, 5));
    const isAgainst = isNamed("entry 4");
    expect(await engine.appendUnless(space, [entry("mine")], 3, isAgainst)).toBeUndefined();
    expect(await engine.head(space)).toBe(5);
    expect(await engine.appendUnless(space, [entry("mine")], 4, isAgainst)).toEqual([6]);
    expect(await engine.appendUnless(space, [entry("more")], 6, isAgainst)).toEqual([7]);
  });

  test("with a condition nothing is appended to a log that does not reach to the position", async () => {
    const { engine, space } = its();
    await engine.append(space, entries(1, 2));
    expect(await engine.appendUnless(space, [entry("mine")], 3, () => false)).toBeUndefined();
    expect(await engine.head(space)).toBe(2);
  });

  test("a record that is there keeps its position, whatever the condition says", async () => {
    const { engine, space } = its();
    await engine.append(space, entries(1, 3));
    expect(await engine.appendUnless(space, [entry("entry 2")], 0, () => true)).toEqual([2]);
  });

  test("with a condition nothing is appended when more is behind the position than is looked at", async () => {
    const { engine, space } = its();
    const size = Math.floor(LIMITS.engineBytes / 2) + 1;
    for (const name of ["a", "b"]) {
      await engine.append(space, [{ kind: "batch", id: idOf(name), bytes: new Uint8Array(size) }]);
    }
    expect(await engine.appendUnless(space, [entry("mine")], 0, () => false)).toBeUndefined();
    expect(await engine.appendUnless(space, [entry("mine")], 1, () => false)).toEqual([3]);
  });

  test("of appends at once that are against each other one is made", async () => {
    const { engine, space } = its();
    await engine.append(space, entries(1, 2));
    const made = await Promise.all(
      upTo(20).map(async (i) =>
        engine.appendUnless(space, [entry(`at once ${String(i)}`)], 2, () => true),
      ),
    );
    expect(made.filter((positions) => positions !== undefined)).toEqual([[3]]);
    expect(await engine.head(space)).toBe(3);
  });
}

/** Tests of `find`. */
function findTests(its: () => Subject): void {
  test("records are found by their ids, in the order of their positions, and what is not there is left out", async () => {
    const { engine, space } = its();
    await engine.append(space, entries(1, 9));
    const ids = ["entry 7", "nothing", "entry 2", "entry 7"].map(idOf);
    const found = await engine.find(space, ids);
    expect(positionsOf(found)).toEqual([2, 7]);
    expect(textsOf(found)).toEqual(["entry 2", "entry 7"]);
    expect(await engine.find(space, [])).toEqual([]);
    expect(await engine.find(freshSpace(), ids)).toEqual([]);
  });

  test("an answer has the bytes of one call at most, or one record", async () => {
    const { engine, space } = its();
    const bytes = new Uint8Array(LIMITS.engineBytes / 2 + 1);
    const ids = ["one", "two", "three"].map(idOf);
    for (const id of ids) await engine.append(space, [{ kind: "batch", id, bytes }]);
    expect(positionsOf(await engine.find(space, ids))).toEqual([1]);
  });

  test("more ids than the limit are refused", async () => {
    const { engine, space } = its();
    const ids = upTo(LIMITS.engineFinds + 1).map((i) => idOf(String(i)));
    await expect(engine.find(space, ids)).rejects.toEqual(refusal("LIMIT_EXCEEDED"));
  });
}

function contentTests(its: () => Subject): void {
  test("spaces have nothing to do with each other", async () => {
    const { engine, space } = its();
    const other = freshSpace();
    await engine.append(space, entries(1, 3));
    expect(await engine.append(other, [entry("entry 1")])).toEqual([1]);
    expect(await engine.head(space)).toBe(3);
    expect(textsOf(await all(engine, other))).toEqual(["entry 1"]);
  });

  test.each(["batch", "act", "proof", "header"] as const)(
    "a record of kind %s comes back as it was",
    async (kind) => {
      const { engine, space } = its();
      const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
      await engine.append(space, [{ kind, id: idOf(kind), bytes }]);
      expect(await engine.read(space, 0, 1)).toEqual([
        { position: 1, kind, id: idOf(kind), bytes },
      ]);
    },
  );

  test.each([0, 1, 262_144])("a record of %i bytes comes back as it was", async (size) => {
    const { engine, space } = its();
    const bytes = new Uint8Array(size).fill(7);
    await engine.append(space, [{ kind: "batch", id: idOf("sized"), bytes }]);
    const [found] = await engine.read(space, 0, 1);
    expect(found?.bytes.length).toBe(size);
    expect(found?.bytes.every((byte) => byte === 7)).toBe(true);
  });

  test("what is appended is there after opening again", async () => {
    const subject = its();
    const { engine, space } = subject;
    await engine.append(space, entries(1, 5));
    const other = await subject.again();
    expect(await other.head(space)).toBe(5);
    expect(textsOf(await all(other, space))).toEqual(textsOf(await recordsOf(entries(1, 5))));
    expect(await other.append(space, entries(4, 6))).toEqual([4, 5, 6]);
  });

  test("the caller may change its bytes afterwards", async () => {
    const { engine, space } = its();
    const bytes = bytesOf("before");
    await engine.append(space, [{ kind: "batch", id: idOf("mine"), bytes }]);
    bytes.fill(0);
    expect(textsOf(await all(engine, space))).toEqual(["before"]);
  });

  test("a full call is taken", async () => {
    const { engine, space } = its();
    const many = entries(1, LIMITS.engineEntries);
    expect(await engine.append(space, many)).toEqual(upTo(many.length));
  });
}

/** Entries as they would stand in an empty log. */
async function recordsOf(those: readonly EngineEntry[]): Promise<EngineRecord[]> {
  return those.map((one, i) => ({ ...one, position: i + 1 }));
}

/** Tests of `read`. */
export function readTests(its: () => Subject): void {
  test.each([
    [0, 100, upTo(20)],
    [0, 1, [1]],
    [5, 3, [6, 7, 8]],
    [19, 10, [20]],
    [20, 10, []],
    [21, 10, []],
    [1_000_000, 10, []],
  ])("after %i, %i at most", async (after, limit, positions) => {
    const { engine, space } = its();
    await engine.append(space, entries(1, 20));
    expect(positionsOf(await engine.read(space, after, limit))).toEqual(positions);
  });

  test("what is large comes in several answers, one record at least in each", async () => {
    const { engine, space } = its();
    const size = Math.floor(LIMITS.engineBytes / 3);
    for (const name of ["a", "b", "c", "d"]) {
      await engine.append(space, [{ kind: "batch", id: idOf(name), bytes: new Uint8Array(size) }]);
    }
    expect(positionsOf(await engine.read(space, 0, 100))).toEqual([1, 2, 3]);
    expect(positionsOf(await engine.read(space, 3, 100))).toEqual([4]);
  });

  test("a reader beside writers sees a growing log without gaps", async () => {
    const { engine, space } = its();
    const seen: number[] = [];
    let isDone = false;
    const write = async (): Promise<void> => {
      await Promise.all(
        upTo(30).map(async (i) => engine.append(space, entries(10 * i, 10 * i + 9))),
      );
      isDone = true;
    };
    const writing = write();
    await waitFor(
      async () => {
        const wasDone = isDone;
        const page = await engine.read(space, seen.length, 1_000);
        seen.push(...positionsOf(page));
        return wasDone && page.length === 0;
      },
      { timeoutMs: WAIT_MS, what: "the writers" },
    );
    await writing;
    expect(seen).toEqual(upTo(300));
  });

  test("what is read is the reader's own", async () => {
    const { engine, space } = its();
    await engine.append(space, [entry("kept")]);
    const [first] = await engine.read(space, 0, 1);
    first?.bytes.fill(0);
    first?.id.fill(0);
    expect(await engine.read(space, 0, 1)).toEqual([{ ...entry("kept"), position: 1 }]);
  });
}
