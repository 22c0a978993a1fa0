// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a backup has exactly what the store had, and one that is not whole and unchanged is refused by name.
 * Method: random stores and chunkings; every cut and every changed byte of a file; files crafted with right hashes.
 */
import { MeshError } from "@ctxmesh/model";
import type { Store } from "@ctxmesh/model";
import { openLevelStore } from "@ctxmesh/store-level";
import { createMemoryStore, createSeededRandom, tempDir } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PART_BYTES, encodeHead } from "../src/backup-format.ts";
import type { BackupRecord } from "../src/backup-format.ts";
import { backUp } from "../src/index.ts";
import { HEAD, bytesOf, craft, fileOf, frame, partOf, read, storeOf } from "./backup-kit.ts";

const random = createSeededRandom(1);
const record = (key: number, bytes: number): BackupRecord => [
  Uint8Array.of(1, key),
  random.bytes(bytes),
];
/** Four parts: two records, one, one longer than a part, and two. */
const LARGE = [400_000, 400_000, 700_000, PART_BYTES + 1, 1, 0].map((bytes, key) =>
  record(key, bytes),
);
const SMALL = [record(1, 5), record(2, 0), record(3, 40)];

const refusal = async (file: Uint8Array): Promise<MeshError> => {
  const error = await read(file).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof MeshError) return error;
  throw new Error("it was not refused", { cause: error });
};

describe("a backup", () => {
  test("gives back exactly the records of the store, however its bytes are cut into chunks", async () => {
    const bytes = fc.uint8Array({ maxLength: 80 });
    const key = fc.uint8Array({ minLength: 1, maxLength: 20 }).map((rest) => {
      const copy = rest.slice();
      copy[0] = 1 + ((copy[0] ?? 0) % 254);
      return copy;
    });
    const records = fc.uniqueArray(fc.tuple(key, bytes), {
      selector: ([one]) => Buffer.from(one).toString("hex"),
      maxLength: 30,
    });
    await fc.assert(
      fc.asyncProperty(records, fc.integer({ min: 1, max: 300 }), async (entries, size) => {
        const file = await fileOf(entries);
        const { found, ...summary } = await read(file, size);
        expect(found).toEqual(entries.toSorted(([a], [b]) => Buffer.compare(a, b)));
        expect(summary).toMatchObject({
          ...HEAD,
          bytes: file.length,
          parts: entries.length === 0 ? 0 : 1,
          records: entries.length,
        });
      }),
      { numRuns: 200 },
    );
  });

  test("is cut into parts of 1 MiB at most, unless one record alone is longer", async () => {
    const { found, parts, records } = await read(await fileOf(LARGE));
    expect({ parts, records }).toEqual({ parts: 4, records: LARGE.length });
    expect(found).toEqual(LARGE);
  });

  test("of format 1 is these bytes", async () => {
    const file = await fileOf([
      [Uint8Array.of(1, 255), Uint8Array.of(7)],
      [Uint8Array.of(2), Uint8Array.of()],
    ]);
    const text = file.toString("latin1");
    expect(text.slice(0, 21)).toBe("ctxmesh-backup\n\u0001H\u0000\u0000\u0000\u00d2");
    expect(text.slice(21, 21 + 0xd2)).toBe(
      `{"space":"${HEAD.space}","device":"${HEAD.device}","service":"agent","takenAt":1767225600000,"storeFormat":2}`,
    );
    expect(file.subarray(21 + 0xd2 + 32, 21 + 0xd2 + 32 + 25).toString("hex")).toBe(
      "500000001400000002000201ff000000010700010200000000",
    );
    expect((await read(file)).sha256).toBe(
      "3c07173c2788cf7dbb1a904ea7e07bf8e989636cea42f6aa1c7f359da4162a17",
    );
  });

  test("has what was there when it began, and nothing of what was written since", async () => {
    await using dir = await tempDir();
    const store = await openLevelStore({ path: `${dir.path}/store` });
    await store.write(LARGE.map(([key, value]) => ({ key, value })));
    const chunks = backUp(store, HEAD);
    const first = (await chunks.next()).value ?? new Uint8Array();
    await store.write([
      { key: Uint8Array.of(1, 0), value: Uint8Array.of(9) },
      { key: Uint8Array.of(1, 2) },
      { key: Uint8Array.of(9), value: Uint8Array.of(9) },
    ]);
    const rest = await bytesOf(chunks);
    await store.close();
    expect((await read(Buffer.concat([first, rest]))).found).toEqual(LARGE);
  });

  test.each([0, 1, 2, 3])(
    "that is left after %i chunks lets the store's scan go",
    async (count) => {
      const inner = await storeOf(LARGE);
      let open = 0;
      const store: Store = {
        ...inner,
        scan: (range) => {
          const entries = inner.scan(range);
          return (async function* counting() {
            open++;
            try {
              yield* entries;
            } finally {
              open--;
            }
          })();
        },
      };
      const chunks = backUp(Object.assign(Object.create(inner) as Store, store), HEAD);
      for (let i = 0; i < count; i++) await chunks.next();
      expect(open).toBe(Math.min(1, count));
      await chunks.return();
      expect(open).toBe(0);
    },
  );

  test("of a store with a damaged record fails with that", async () => {
    const store = createMemoryStore();
    await store.write(LARGE.map(([key, value]) => ({ key, value })));
    store.corrupt(Uint8Array.of(1, 4));
    await expect(bytesOf(backUp(store, HEAD))).rejects.toMatchObject({ code: "STORE_CORRUPT" });
  });
});

describe("what is not a whole, unchanged backup is refused", () => {
  test("cut off anywhere", async () => {
    const file = await fileOf(SMALL);
    for (let length = 0; length < file.length; length++) {
      const { code, message } = await refusal(file.subarray(0, length));
      expect(code).toBe(length < 15 ? "FORMAT_INVALID" : "STORE_CORRUPT");
      expect(message).toMatch(length < 15 ? /not a backup/u : / is cut off$/u);
    }
  });

  test("with one bit changed anywhere", async () => {
    const file = await fileOf(SMALL);
    for (let at = 0; at < file.length; at++) {
      const changed = Buffer.from(file);
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
      const { code } = await refusal(changed);
      expect(code).toBe(at < 16 ? "FORMAT_INVALID" : "STORE_CORRUPT");
    }
  });

  test("and the part is named", async () => {
    const file = await fileOf(LARGE);
    const at = (offset: number): Promise<string> => {
      const changed = Buffer.from(file);
      changed[offset] = (changed[offset] ?? 0) ^ 1;
      return refusal(changed).then(({ message }) => message);
    };
    expect(await at(30)).toBe("the head does not match its hash");
    expect(await at(500_000)).toBe("part 1 does not match its hash");
    expect(await at(1_000_000)).toBe("part 2 does not match its hash");
    expect(await at(2_000_000)).toBe("part 3 does not match its hash");
    expect(await at(file.length - 1)).toBe("the trailer does not match its hash");
    const { message } = await refusal(file.subarray(0, 1_000_000));
    expect(message).toBe("part 2 is cut off");
  });

  const head = frame("head", encodeHead(HEAD));
  const one = frame("part", partOf([record(1, 9)]));
  const two = frame("part", partOf([record(2, 9)]));
  const sound = craft(head, [one, two], 2);
  const headOf = (text: string): Buffer => craft(frame("head", Buffer.from(text)), [one], 1);
  const text = Buffer.from(encodeHead(HEAD)).toString("utf8");

  test("the crafted files below are refused for what they are made for", async () => {
    expect(await fileOf(SMALL)).toEqual(craft(head, [frame("part", partOf(SMALL))], 3));
    expect(await read(sound)).toMatchObject({ parts: 2, records: 2 });
    expect(await read(headOf(text))).toMatchObject({ parts: 1, records: 1 });
  });

  const withHashes = (...parts: readonly Buffer[]): Buffer =>
    Buffer.concat([
      sound.subarray(0, 16),
      head,
      ...parts,
      sound.subarray(16 + head.length + one.length + two.length),
    ]);
  const CRAFTED: readonly (readonly [string, Buffer, string, RegExp])[] = [
    ["bytes after the trailer", Buffer.concat([sound, Buffer.of(0)]), "STORE_CORRUPT", /goes on/u],
    ["two of them in one", Buffer.concat([sound, sound]), "STORE_CORRUPT", /goes on/u],
    ["a part left out", withHashes(one), "STORE_CORRUPT", /impossible kind or length/u],
    ["a part too many", withHashes(one, two, two), "STORE_CORRUPT", /key out of order/u],
    ["parts exchanged", withHashes(two, one), "STORE_CORRUPT", /key out of order/u],
    [
      "a part of another backup",
      withHashes(one, frame("part", partOf([record(3, 9)]))),
      "STORE_CORRUPT",
      /part 2 is not the one in the trailer/u,
    ],
    [
      "a head of another backup",
      Buffer.concat([
        sound.subarray(0, 16),
        frame("head", encodeHead({ ...HEAD, takenAt: HEAD.takenAt + 1 })),
        sound.subarray(16 + head.length),
      ]),
      "STORE_CORRUPT",
      /the head is not the one in the trailer/u,
    ],
    [
      "another hash of the whole",
      Buffer.concat([
        sound.subarray(0, 16 + head.length + one.length + two.length),
        frame("trailer", Buffer.concat([sound.subarray(-32 - 140, -64), Buffer.alloc(32)])),
      ]),
      "STORE_CORRUPT",
      /the file does not match its hash/u,
    ],
    ["a wrong count of records", craft(head, [one, two], 3), "STORE_CORRUPT", /the count/u],
    [
      "a key twice",
      craft(head, [frame("part", partOf([record(1, 1), record(1, 1)]))], 2),
      "STORE_CORRUPT",
      /part 1 has a key out of order/u,
    ],
    [
      "a key of the store itself",
      craft(head, [frame("part", partOf([[Uint8Array.of(0, 2), Uint8Array.of(1)]]))], 1),
      "STORE_CORRUPT",
      /key out of order/u,
    ],
    [
      "an empty key",
      craft(head, [frame("part", partOf([[Uint8Array.of(), Uint8Array.of(1)]]))], 1),
      "STORE_CORRUPT",
      /key out of order/u,
    ],
    [
      "a wrong count in a part",
      craft(head, [frame("part", partOf([record(1, 1)], 2))], 2),
      "STORE_CORRUPT",
      /part 1 has a wrong count/u,
    ],
    ["an empty part", craft(head, [frame("part", partOf([]))], 0), "STORE_CORRUPT", /wrong count/u],
    ["a part of no bytes", craft(head, [frame("part", Buffer.of())], 0), "STORE_CORRUPT", /count/u],
    [
      "a record that does not end",
      craft(head, [frame("part", partOf([record(1, 9)]).subarray(0, -1))], 1),
      "STORE_CORRUPT",
      /does not end/u,
    ],
    [
      "several records in too long a part",
      craft(head, [frame("part", partOf([record(1, PART_BYTES), record(2, 1)]))], 2),
      "STORE_CORRUPT",
      /is too long/u,
    ],
    [
      "a part for a head",
      craft(one, [two], 1),
      "STORE_CORRUPT",
      /the head has an impossible kind/u,
    ],
    ["a second head", craft(head, [head], 0), "STORE_CORRUPT", /part 1 has an impossible kind/u],
    ["a head that is no JSON", headOf("{"), "FORMAT_INVALID", /not JSON/u],
    ["a head that is null", headOf("null"), "FORMAT_INVALID", /unknown form/u],
    ["a head with spaces", headOf(text.replace(":", ": ")), "FORMAT_INVALID", /unknown form/u],
    ["a head with more", headOf(text.replace("}", ',"x":1}')), "FORMAT_INVALID", /unknown form/u],
    ["a head with a bad space", headOf(text.replace("5a", "5")), "FORMAT_INVALID", /space id/u],
    ["another service", headOf(text.replace("agent", "cloud")), "FORMAT_INVALID", /unknown form/u],
    [
      "records of a later format",
      headOf(text.replace('"storeFormat":2', '"storeFormat":3')),
      "STORE_FORMAT",
      /records of store format 3/u,
    ],
    [
      "a later version",
      Buffer.concat([sound.subarray(0, 15), Buffer.of(2), sound.subarray(16)]),
      "FORMAT_INVALID",
      /backup of format 2; this version of ctxmesh reads format 1/u,
    ],
    ["something else", Buffer.from("PK\u0003\u0004 and so on"), "FORMAT_INVALID", /not a backup/u],
    ["nothing", Buffer.of(), "FORMAT_INVALID", /not a backup/u],
  ];

  test.each(CRAFTED)("%s", async (_, file, code, message) => {
    const error = await refusal(file);
    expect({ code: error.code, message: error.message }).toEqual({
      code,
      message: expect.stringMatching(message) as string,
    });
    expect(error.remedy).toBeDefined();
  });
});
