// SPDX-License-Identifier: Apache-2.0
import { MeshError } from "@ctxmesh/model";
import { createMemoryStore } from "@ctxmesh/testing";
import type { MemoryStore } from "@ctxmesh/testing";
import type { KeyProvider } from "@ctxmesh/vault";
import { describe, expect, test } from "vitest";
import {
  bytes,
  documents,
  failAt,
  openOn,
  place,
  provider,
  unreadable,
  writeSealed,
} from "./fixture.ts";

const STORE_KEY = Uint8Array.of(0x31);
const NAMES = documents(5);

async function written(): Promise<MemoryStore> {
  const store = createMemoryStore();
  await writeSealed(store, await openOn(store), NAMES);
  return store;
}

describe("opening the vault of a store", () => {
  test("with another key is refused, naming the provider that wrote it and what to do", async () => {
    const store = await written();
    for (const fill of [0, 6, 8, 255]) {
      const opening = openOn(store, { key: provider(fill, "file:/wrong") });
      await expect(opening).rejects.toMatchObject({
        code: "KEY_INVALID",
        message: expect.stringMatching(/wrapped by test:7.*file:\/wrong is not the key/u),
        remedy: expect.stringMatching(/give the key/u),
      });
    }
    expect(await unreadable(store, await openOn(store), NAMES)).toEqual([]);
  });

  test("with the same key from another place works", async () => {
    const store = await written();
    const vault = await openOn(store, { key: provider(7, "file:/moved") });
    expect(await unreadable(store, vault, NAMES)).toEqual([]);
  });

  test("is refused when any byte of the record of its key was changed, cut off or added", async () => {
    const store = await written();
    const record = (await store.get(STORE_KEY)) ?? new Uint8Array(0);
    const changed = [
      ...Array.from(record, (_, at) => record.map((byte, i) => (i === at ? byte ^ 1 : byte))),
      ...Array.from(record, (_, length) => record.subarray(0, length)),
      Uint8Array.of(...record, 0),
    ];
    for (const value of changed) {
      await store.write([{ key: STORE_KEY, value }]);
      const error: unknown = await openOn(store).then(
        () => "opened",
        (reason: unknown) => reason,
      );
      expect(error).toBeInstanceOf(MeshError);
      expect(["KEY_INVALID", "STORE_CORRUPT"]).toContain((error as MeshError).code);
    }
    await store.write([{ key: STORE_KEY, value: record }]);
    expect(await unreadable(store, await openOn(store), NAMES)).toEqual([]);
  });

  test("is refused when the key's record was removed, so that nothing is read as not encrypted", async () => {
    const store = await written();
    await store.write([{ key: STORE_KEY }]);
    await expect(openOn(store)).rejects.toMatchObject({
      code: "KEY_INVALID",
      message: expect.stringMatching(/records but no key/u),
    });
  });

  test("passes on that a token does not answer, and what the store says", async () => {
    const store = await written();
    const away: KeyProvider = {
      id: "away",
      wrap: () => Promise.reject(new MeshError("UNREACHABLE", "no token")),
      unwrap: () => Promise.reject(new MeshError("UNREACHABLE", "no token")),
    };
    await expect(openOn(store, { key: away })).rejects.toMatchObject({
      code: "UNREACHABLE",
      remedy: undefined,
    });
    await expect(openOn(createMemoryStore(), { key: away })).rejects.toMatchObject({
      code: "UNREACHABLE",
    });
    store.corrupt(STORE_KEY);
    await expect(openOn(store)).rejects.toMatchObject({ code: "STORE_CORRUPT" });
  });

  test.for(["lost", "kept"] as const)(
    "for the first time works again after its write failed and was %s",
    async (outcome) => {
      const store = createMemoryStore();
      const failing = failAt(store, 0, outcome);
      await expect(openOn(failing)).rejects.toMatchObject({ code: "STORE_FAILED" });
      const again = await store.reopen();
      await writeSealed(again, await openOn(again), NAMES);
      expect(await unreadable(again, await openOn(again), NAMES)).toEqual([]);
    },
  );

  test("a provider that can't read what it wraps is refused before anything hangs on it", async () => {
    const deaf: KeyProvider = {
      id: "deaf",
      wrap: (key) => Promise.resolve(key.slice()),
      unwrap: (wrapped) => Promise.resolve(wrapped.map((byte) => byte ^ 1)),
    };
    const store = createMemoryStore();
    await expect(openOn(store, { key: deaf })).rejects.toMatchObject({ code: "KEY_INVALID" });
    expect(await store.get(STORE_KEY)).toBeUndefined();
    const used = await written();
    await expect((await openOn(used)).rotate(deaf)).rejects.toMatchObject({ code: "KEY_INVALID" });
    expect(await unreadable(used, await openOn(used), NAMES)).toEqual([]);
  });

  test("needs an empty store, where no tag is overlooked", async () => {
    for (const first of [0x01, 0x2f, 0x30, 0x32, 0xfe, 0xff]) {
      const store = createMemoryStore();
      const key = Uint8Array.of(first, ...place(1));
      await store.write([{ key, value: bytes("x") }]);
      await expect(openOn(store), String(first)).rejects.toMatchObject({ code: "KEY_INVALID" });
    }
  });
});
