// SPDX-License-Identifier: Apache-2.0
import { createDecipheriv, createHmac, hash } from "node:crypto";
import type { Store } from "@ctxmesh/model";
import { LIMITS, MeshError, toHex, toMeshError } from "@ctxmesh/model";
import { createMemoryStore, createVirtualClock } from "@ctxmesh/testing";
import type { StoreVault } from "@ctxmesh/vault";
import { createPlainVault, openVault } from "@ctxmesh/vault";
import * as fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import {
  START_MS,
  bytes,
  documents,
  entries,
  entryAt,
  keyBytes,
  openOn,
  place,
  provider,
  recordingRandom,
  scope,
  unreadable,
  writeSealed,
} from "./fixture.ts";

const PLACE = place(1);
const KEY_ID = { from: 1, to: 17 };
const NONCE = { from: 17, to: 29 };
const TAG_BYTES = 16;
/** In the record of a data key, after its epoch: its store key, when it was made, what was used of it. */
const STORE_KEY_AT = 41;
const MADE_AT = 45;
const WRAPPED_AT = 54;

const part = (sealed: Uint8Array, { from, to }: { from: number; to: number }): string =>
  toHex(sealed.subarray(from, to));

const codeOf = (work: () => unknown): string => {
  try {
    work();
    return "no error";
  } catch (error) {
    return error instanceof MeshError ? error.code : String(error);
  }
};

/** Unwraps as RFC 3394 says, through node:crypto alone. */
function unwrap(key: Uint8Array, wrapped: Uint8Array): Buffer {
  const kw = createDecipheriv("id-aes256-wrap", key, Buffer.alloc(8, 0xa6));
  return Buffer.concat([kw.update(wrapped), kw.final()]);
}

describe("the format", () => {
  test("is the documented one, read here with nothing but node:crypto", async () => {
    const store = createMemoryStore();
    const vault = await openOn(store);
    const plain = bytes("temperature 71.3");
    const sealed = Buffer.from(vault.seal(scope("line-2/press-7", 9), PLACE, plain));
    await store.write(vault.takeChanges());
    const record = Buffer.from((await store.get(Uint8Array.of(0x31))) ?? []);
    const id = Buffer.from("test:7");
    const made = Buffer.from(START_MS.toString(16).padStart(16, "0"), "hex");
    const number = Buffer.from("020000000001", "hex");
    const head = Buffer.concat([number, made, Buffer.of(0, id.length), id]);
    const wrapped = record.subarray(head.length + 2, head.length + 42);
    const storeKey = unwrap(keyBytes(), wrapped);
    const body = Buffer.concat([head, Buffer.of(0, 40), wrapped, Buffer.of(0)]);
    const check = createHmac("sha256", storeKey).update("ctxmesh/store-key/v1\n").update(body);
    expect(record.toString("hex")).toBe(Buffer.concat([body, check.digest()]).toString("hex"));

    const [key, dataRecord] = await entryAt(store, 0x30, 0);
    const docHash = hash("sha256", "line-2/press-7", "buffer");
    const fields = Buffer.from(dataRecord);
    const numbers = Buffer.concat([
      Buffer.of(0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1),
      Buffer.from(START_MS.toString(16).padStart(16, "0"), "hex"),
      Buffer.of(1),
    ]);
    expect(fields.subarray(0, -40).toString("hex")).toBe(
      Buffer.concat([Buffer.of(1), docHash, numbers]).toString("hex"),
    );
    const dataKey = unwrap(storeKey, fields.subarray(-40));
    const keyId = createHmac("sha256", dataKey)
      .update(
        Buffer.concat([bytes("ctxmesh/key-id/v1"), docHash, Buffer.of(0, 0, 0, 9, 0, 0, 0, 0)]),
      )
      .digest()
      .subarray(0, 16);
    expect(toHex(key)).toBe(`30${keyId.toString("hex")}`);

    expect(sealed).toHaveLength(1 + 16 + 12 + plain.length + 16);
    expect(sealed.subarray(0, 17)).toEqual(Buffer.concat([Buffer.of(1), keyId]));
    const gcm = createDecipheriv("aes-256-gcm", dataKey, sealed.subarray(17, 29));
    gcm.setAAD(
      Buffer.concat([bytes("ctxmesh/at-rest/v1\n"), docHash, Buffer.of(0, 0, 0, 9), keyId, PLACE]),
    );
    gcm.setAuthTag(sealed.subarray(-16));
    const opened = Buffer.concat([gcm.update(sealed.subarray(29, -16)), gcm.final()]);
    expect(opened.toString()).toBe("temperature 71.3");
  });
});

describe("what was sealed", () => {
  let store: Store;
  let vault: StoreVault;
  beforeEach(async () => {
    store = createMemoryStore();
    vault = await openOn(store);
  });

  test("comes back, for any document, generation, place and bytes, also after a restart", async () => {
    const input = fc.record({
      doc: fc.constantFrom("a", "a/b", "line-2/press-7"),
      gen: fc.constantFrom(0, 1, 0xffff_ffff),
      where: fc.uint8Array({ maxLength: 200 }),
      plain: fc.uint8Array({ maxLength: 300 }),
    });
    const kept: {
      sealed: Uint8Array;
      input: typeof input extends fc.Arbitrary<infer T> ? T : never;
    }[] = [];
    fc.assert(
      fc.property(input, (given) => {
        const copy = structuredClone(given);
        const sealed = vault.seal(scope(given.doc, given.gen), given.where, given.plain);
        const opened = vault.open(scope(given.doc, given.gen), given.where, sealed);
        expect(toHex(opened)).toBe(toHex(given.plain));
        expect(given).toEqual(copy);
        kept.push({ sealed, input: given });
      }),
    );
    await store.write(vault.takeChanges());
    const again = await openOn(store);
    for (const { sealed, input: given } of kept) {
      const opened = again.open(scope(given.doc, given.gen), given.where, sealed);
      expect(toHex(opened)).toBe(toHex(given.plain));
      expect(Buffer.isBuffer(opened)).toBe(false);
    }
    expect(again.stats().dataKeys).toBeLessThanOrEqual(9);
  });

  test("does not open with any bit changed, cut, or longer", () => {
    const sealed = vault.seal(scope(), PLACE, bytes("42"));
    const refused = (changed: Uint8Array, what: string): void => {
      const code = codeOf(() => vault.open(scope(), PLACE, changed));
      // Another key id names a data key that is not here.
      expect(["STORE_CORRUPT", "KEY_INVALID"], what).toContain(code);
    };
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const changed = Uint8Array.from(sealed);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      refused(changed, `bit ${String(bit)}`);
    }
    for (let length = 0; length < sealed.length; length++) {
      refused(sealed.subarray(0, length), `length ${String(length)}`);
    }
    refused(Uint8Array.of(...sealed, 0), "longer");
    expect(codeOf(() => vault.open(scope(), PLACE, sealed))).toBe("no error");
  });

  test("does not open at another place, for another document, or generation", () => {
    const sealed = vault.seal(scope("a", 1), PLACE, bytes("42"));
    const corrupt = (doc: string, gen: number, where: Uint8Array): void => {
      expect(codeOf(() => vault.open(scope(doc, gen), where, sealed))).toBe("STORE_CORRUPT");
    };
    for (const doc of ["a", "b"]) vault.seal(scope(doc, 2), PLACE, bytes("other key"));
    corrupt("b", 1, PLACE);
    corrupt("a", 2, PLACE);
    corrupt("a", 1, place(2));
    corrupt("a", 1, PLACE.subarray(1));
    corrupt("a", 1, Uint8Array.of(...PLACE, 0));
    corrupt("a", 1, new Uint8Array(0));
    corrupt("a", 1, new Uint8Array(500));
    expect(codeOf(() => vault.open(scope("a", 1), PLACE, sealed))).toBe("no error");
  });

  test("does not open in another store, also one with the same provider", async () => {
    const sealed = vault.seal(scope(), PLACE, bytes("42"));
    const other = await openOn(createMemoryStore());
    other.seal(scope(), PLACE, bytes("42"));
    expect(codeOf(() => other.open(scope(), PLACE, sealed))).toBe("KEY_INVALID");
  });

  test("does not open when the record of its key was put in the place of another, or changed in any byte", async () => {
    await writeSealed(store, vault, ["a", "b"]);
    const [keyA, a] = await entryAt(store, 0x30, 0);
    const [keyB, b] = await entryAt(store, 0x30, 1);
    await store.write([
      { key: keyA, value: b },
      { key: keyB, value: a },
    ]);
    expect(await unreadable(store, await openOn(store), ["a", "b"])).toEqual(["a", "b"]);
    await store.write([{ key: keyB, value: b }]);
    let accepted: number[] = [];
    for (let at = 0; at < a.length; at++) {
      const changed = Uint8Array.from(a);
      changed[at] = (changed[at] ?? 0) ^ 1;
      await store.write([{ key: keyA, value: changed }]);
      const opened = await openOn(store).catch((error: unknown) => toMeshError(error).code);
      if (opened === "STORE_CORRUPT") continue;
      if (typeof opened === "string") throw new Error(opened);
      if ((await unreadable(store, opened, ["a", "b"])).length === 0) accepted.push(at);
    }
    // When it was made and what was used of it are not bound to the key: they can only end its epoch early or late.
    accepted = accepted.filter((at) => at < MADE_AT || at >= WRAPPED_AT);
    expect(accepted).toEqual([]);
  });
});

test("nothing is sealed with a key whose record was changed, because its id would lead nowhere", async () => {
  const store = createMemoryStore();
  await writeSealed(store, await openOn(store), ["a"]);
  const [key, record] = await entryAt(store, 0x30, 0);
  const otherEpoch = record.map((byte, at) => (at === STORE_KEY_AT - 1 ? byte ^ 1 : byte));
  await store.write([{ key, value: otherEpoch }]);
  const vault = await openOn(store);
  expect(codeOf(() => vault.seal(scope("a"), PLACE, bytes("42")))).toBe("STORE_CORRUPT");
});

describe("data keys", () => {
  test("their records are handed over once, and seal nothing that a restart without them opens", async () => {
    const store = createMemoryStore();
    const vault = await openOn(store);
    const sealed = vault.seal(scope(), PLACE, bytes("42"));
    const changes = vault.takeChanges();
    expect(changes.map(({ key }) => key[0])).toEqual([0x30]);
    vault.seal(scope(), PLACE, bytes("43"));
    expect(vault.takeChanges()).toEqual([]);
    const without = await openOn(await store.reopen());
    expect(codeOf(() => without.open(scope(), PLACE, sealed))).toBe("KEY_INVALID");
  });

  test("there is one for each document and generation, however many are in use", async () => {
    const store = createMemoryStore();
    const vault = await openOn(store);
    const names = documents(LIMITS.openDataKeys + 500);
    for (let round = 0; round < 2; round++) {
      await writeSealed(store, vault, names);
      expect(await unreadable(store, vault, names)).toEqual([]);
    }
    expect(vault.stats().dataKeys).toBe(names.length);
    expect(await entries(store, 0x30)).toHaveLength(names.length);
    vault.seal(scope("doc-0", 1), PLACE, bytes("42"));
    expect(vault.stats().dataKeys).toBe(names.length + 1);
  });

  test("an epoch ends after 30 days of the clock, either way, and not before; old epochs still open", async () => {
    const clock = createVirtualClock(START_MS);
    const store = createMemoryStore();
    let vault = await openOn(store, { clock });
    const seal = (): string => part(vault.seal(scope(), PLACE, bytes("42")), KEY_ID);
    const old = vault.seal(scope(), PLACE, bytes("old"));
    const first = part(old, KEY_ID);
    clock.advance(LIMITS.dataKeyMs - 1);
    expect(seal()).toBe(first);
    await store.write(vault.takeChanges());
    vault = await openOn(store, { clock });
    expect(seal()).toBe(first);
    clock.advance(1);
    const second = seal();
    expect(second).not.toBe(first);
    expect(seal()).toBe(second);
    clock.advance(-LIMITS.dataKeyMs + 1);
    expect(seal()).toBe(second);
    clock.advance(-1);
    const third = seal();
    expect(new Set([first, second, third]).size).toBe(3);
    await store.write(vault.takeChanges());
    vault = await openOn(store, { clock });
    expect(seal()).toBe(third);
    expect(vault.open(scope(), PLACE, old)).toEqual(bytes("old"));
    expect(vault.stats().dataKeys).toBe(3);
  });

  test("an epoch ends when its key has sealed as much as it may, over any number of restarts", async () => {
    const store = createMemoryStore();
    const ids: string[] = [];
    for (let restart = 0; restart < 130; restart++) {
      const vault = await openOn(store);
      ids.push(part(vault.seal(scope(), PLACE, bytes("42")), KEY_ID));
      await store.write(vault.takeChanges());
    }
    const counts = [...new Set(ids)].map((id) => ids.filter((other) => other === id).length);
    expect(counts).toEqual([64, 64, 2]);
  });

  test("a nonce is never used twice with a key, over restarts as well", async () => {
    const store = createMemoryStore();
    const nonces = new Set<string>();
    for (let restart = 0; restart < 3; restart++) {
      const vault = await openOn(store);
      for (let n = 0; n < 5_000; n++) {
        const sealed = vault.seal(scope(), PLACE, bytes("42"));
        nonces.add(`${part(sealed, KEY_ID)} ${part(sealed, NONCE)}`);
      }
      await store.write(vault.takeChanges());
    }
    expect(nonces.size).toBe(15_000);
    expect(new Set(Array.from(nonces, (nonce) => nonce.slice(0, 32))).size).toBe(1);
  });

  test("more bytes than one key may seal, and no generation, are refused and make no key", async () => {
    const vault = await openOn(createMemoryStore());
    const many = { length: LIMITS.dataKeyBytes + 1 } as unknown as Uint8Array;
    expect(codeOf(() => vault.seal(scope(), PLACE, many))).toBe("LIMIT_EXCEEDED");
    for (const gen of [-1, 0.5, 2 ** 32, Number.NaN]) {
      expect(
        codeOf(() => vault.seal(scope("a", gen), PLACE, PLACE)),
        String(gen),
      ).toBe("INPUT_INVALID");
    }
    expect(vault.stats().dataKeys).toBe(0);
  });
});

test("neither what was sealed, nor a document's name, nor any key is in the store", async () => {
  const canary = "canary-9f3c71d2-value";
  const store = createMemoryStore();
  const { random, given } = recordingRandom();
  const clock = createVirtualClock(START_MS);
  const vault = await openVault({ store, provider: provider(), clock, random });
  for (let n = 0; n < 50; n++) {
    const sealed = vault.seal(scope(`canary-name-${String(n)}`), place(n), bytes(canary));
    await store.write([...vault.takeChanges(), { key: place(n), value: sealed }]);
  }
  await vault.rotateStoreKey();
  const all: Buffer[] = [];
  for await (const entry of store.scan({ gte: Uint8Array.of(1), lt: Uint8Array.of(0xff) })) {
    all.push(...entry.map((each) => Buffer.from(each)));
  }
  const everything = Buffer.concat(all);
  const keys = [...given.filter(({ length }) => length === 32), keyBytes()];
  // 50 data keys, two store keys, and the provider's.
  expect(keys).toHaveLength(53);
  for (const secret of [bytes("canary"), ...keys]) {
    expect(everything.includes(Buffer.from(secret)), toHex(secret)).toBe(false);
  }
  expect(everything.length).toBeGreaterThan(50 * (canary.length + 2 * TAG_BYTES));
});

describe("bytes that are not encrypted", () => {
  const plainVault = createPlainVault();

  test("come back from the plain vault, whose stores have no keys", () => {
    fc.assert(
      fc.property(fc.uint8Array(), (plain) => {
        const stored = plainVault.seal(scope(), PLACE, plain);
        expect(toHex(stored)).toBe(`00${toHex(plain)}`);
        expect(plainVault.open(scope(), PLACE, stored)).toEqual(plain);
        expect(plainVault.takeChanges()).toEqual([]);
      }),
    );
    expect(codeOf(() => plainVault.open(scope(), PLACE, new Uint8Array(0)))).toBe("STORE_CORRUPT");
    expect(codeOf(() => plainVault.open(scope(), PLACE, Uint8Array.of(2)))).toBe("STORE_CORRUPT");
  });

  test("the plain vault does not open encrypted ones", async () => {
    const vault = await openOn(createMemoryStore());
    const sealed = vault.seal(scope(), PLACE, bytes("42"));
    expect(codeOf(() => plainVault.open(scope(), PLACE, sealed))).toBe("KEY_INVALID");
  });

  test("are refused by a store that was encrypted from the start, whatever is asked for", async () => {
    const stored = plainVault.seal(scope(), PLACE, bytes("forged"));
    const store = createMemoryStore();
    for (let start = 0; start < 2; start++) {
      const vault = await openOn(store, { acceptPlain: true });
      expect(codeOf(() => vault.open(scope(), PLACE, stored))).toBe("STORE_CORRUPT");
      expect(vault.stats().acceptsPlain).toBe(false);
    }
  });

  test("open after encryption was switched on for a store that had them, and new ones are encrypted", async () => {
    const store = createMemoryStore();
    const stored = plainVault.seal(scope(), PLACE, bytes("before"));
    await store.write([{ key: PLACE, value: stored }]);
    await expect(openOn(store)).rejects.toMatchObject({ code: "KEY_INVALID" });
    await openOn(store, { acceptPlain: true });
    const vault = await openOn(store);
    expect(vault.stats().acceptsPlain).toBe(true);
    expect(vault.open(scope(), PLACE, stored)).toEqual(bytes("before"));
    expect(vault.seal(scope(), PLACE, bytes("after"))[0]).toBe(1);
    await vault.rotateStoreKey();
    await vault.rotate(provider(8));
    const rotated = await openOn(store, { key: provider(8) });
    expect(rotated.stats()).toMatchObject({ acceptsPlain: true, storeKey: 2, provider: "test:8" });
  });
});
