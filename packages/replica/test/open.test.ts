// SPDX-License-Identifier: Apache-2.0
import { parseHeaderHash, toHex } from "@ctxmesh/model";
import type { HeaderHash } from "@ctxmesh/model";
import { createMemoryStore } from "@ctxmesh/testing";
import type { MemoryStore } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import { headChange, logKey } from "../src/layout.ts";
import { DOC, forge, forgeChain, incarnationOf, open, stateOf, stranger, us } from "./mesh.ts";

const [first, second, third] = forgeChain(3);
const none = new Uint8Array();

/** A store with three batches of the writer at positions 1 to 3 and one of ours at 4. */
async function filled(): Promise<MemoryStore> {
  const store = createMemoryStore();
  const replica = await open({ store });
  for (const batch of [first, second, third]) await replica.receive(batch?.bytes ?? none);
  await replica.put(DOC, [{ key: "own", value: 1 }]);
  await replica.close();
  return store;
}

const headOf = (
  members: { seq?: number; hash?: HeaderHash; hlc?: number } = {},
): ReturnType<typeof headChange> => {
  const { header, hash } = third ?? forge();
  const { replica, incarnation, seq, hlc } = header;
  return headChange({ replica, incarnation, seq, hlc, hash, ...members } as Parameters<
    typeof headChange
  >[0]);
};
const flipped = parseHeaderHash(
  `${third?.hash.startsWith("0") === true ? "1" : "0"}${third?.hash.slice(1) ?? ""}`,
);

describe("opening a store whose log was changed is refused with STORE_CORRUPT", () => {
  test.each<[string, (store: MemoryStore) => Promise<void> | void]>([
    ["the first record is missing", (store) => store.write([{ key: logKey(1) }])],
    ["a record in the middle is missing", (store) => store.write([{ key: logKey(2) }])],
    ["the last record is missing", (store) => store.write([{ key: logKey(4) }])],
    [
      "every record is missing",
      (store) => store.write([1, 2, 3, 4].map((n) => ({ key: logKey(n) }))),
    ],
    [
      "a record stands past the end",
      (store) => store.write([{ key: logKey(6), value: first?.bytes ?? none }]),
    ],
    [
      "two records are swapped",
      (store) =>
        store.write([
          { key: logKey(2), value: third?.bytes ?? none },
          { key: logKey(3), value: second?.bytes ?? none },
        ]),
    ],
    [
      "a record is another batch of the same place",
      (store) =>
        store.write([
          {
            key: logKey(3),
            value: forge({
              seq: 3,
              prev: second?.hash ?? null,
              incarnation: incarnationOf(9),
              records: [{ key: "x", seq: 3, hlc: third?.header.hlc ?? (0 as never) }],
            }).bytes,
          },
        ]),
    ],
    [
      "a record is no batch",
      (store) => store.write([{ key: logKey(3), value: Uint8Array.of(1, 2, 3) }]),
    ],
    ["a record is empty", (store) => store.write([{ key: logKey(3), value: none }])],
    [
      "a record has a body that is no frame",
      (store) =>
        store.write([
          {
            key: logKey(3),
            value: forge({ seq: 3, prev: second?.hash ?? null, payload: none }).bytes,
          },
        ]),
    ],
    [
      "a record's own hash is wrong",
      (store) => {
        store.corrupt(logKey(2));
      },
    ],
    ["a head is missing", (store) => store.write([{ key: headOf().key }])],
    [
      "a head is too many",
      (store) =>
        store.write([
          {
            ...headOf(),
            key: headChange({
              ...(third?.header ?? forge().header),
              replica: stranger.key,
              hash: flipped,
            }).key,
          },
        ]),
    ],
    ["a head's hash is flipped", (store) => store.write([headOf({ hash: flipped })])],
    ["a head's seq is flipped", (store) => store.write([headOf({ seq: 2 })])],
    ["a head's clock is flipped", (store) => store.write([headOf({ hlc: 1 })])],
    ["a head is truncated", (store) => store.write([{ key: headOf().key, value: none }])],
  ])("because %s", async (_, damage) => {
    const store = await filled();
    await damage(store);
    await expect(open({ store })).rejects.toMatchObject({ code: "STORE_CORRUPT" });
  });

  test("and an unchanged one opens with the same state and a fresh incarnation", async () => {
    const store = await filled();
    const [one, two] = [await open({ store }), await open({ store: await store.reopen() })];
    expect(stateOf(one)).toEqual(stateOf(two));
    expect(one.list({}).map(({ key, value }) => [key, value])).toEqual([
      ["forged", 3],
      ["own", 1],
    ]);
    expect(one.incarnation).not.toBe(two.incarnation);
  });
});

test("opening fails with the store's error when it can't record the incarnation", async () => {
  const store = createMemoryStore();
  store.failNextWrite("lost");
  await expect(open({ store })).rejects.toMatchObject({ code: "STORE_FAILED" });
});

test("every start makes a chain of its own, and its writes replace those of the starts before", async () => {
  let store = createMemoryStore();
  for (let start = 1; start <= 4; start++) {
    const replica = await open({ store });
    await replica.put(DOC, [
      { key: "k", value: start },
      { key: `only-${String(start)}`, value: start },
    ]);
    expect(replica.seqOf(us.key, replica.incarnation)).toBe(1);
    expect(replica.heads()).toHaveLength(start);
    expect(replica.candidates(DOC, "k")).toMatchObject([{ value: start, writer: us.key }]);
    await replica.close();
    store = await store.reopen();
  }
  const last = await open({ store });
  expect(last.list({}).map(({ key }) => key)).toEqual([
    "k",
    "only-1",
    "only-2",
    "only-3",
    "only-4",
  ]);
});

test("the frontier digest is that of the heads: equal on equal heads, else different", async () => {
  const [a, b] = [await open(), await open()];
  const digest = (replica: typeof a): string => toHex(replica.frontierDigest());
  const other = forge({ incarnation: incarnationOf(5) });
  const empty = digest(a);
  expect(digest(b)).toBe(empty);
  for (const batch of [first, other]) await a.receive(batch?.bytes ?? none);
  for (const batch of [other, first]) await b.receive(batch?.bytes ?? none);
  expect(digest(a)).toBe(digest(b));
  expect(digest(a)).not.toBe(empty);
  await a.receive(second?.bytes ?? none);
  expect(digest(a)).not.toBe(digest(b));
});

test("read gives the batches of the wanted spans alone, in log order", async () => {
  const replica = await open({ store: await filled() });
  const { replica: device, incarnation } = third?.header ?? forge().header;
  const read = async (from: number, to: number): Promise<Uint8Array[]> => {
    const found: Uint8Array[] = [];
    for await (const { bytes } of replica.read([{ replica: device, incarnation, from, to }]))
      found.push(bytes);
    return found;
  };
  const chain = [first, second, third].map((batch) => batch?.bytes ?? none);
  expect(await read(1, 3)).toEqual(chain);
  expect(await read(2, 2)).toEqual(chain.slice(1, 2));
  expect(await read(3, Number.MAX_SAFE_INTEGER)).toEqual(chain.slice(2));
  expect(await read(4, 9)).toEqual([]);
});
