// SPDX-License-Identifier: Apache-2.0
import { utf8Encode } from "@ctxmesh/codec";
import { createSigner, createVerifier, generatePrivateKey } from "@ctxmesh/crypto";
import {
  leafHash,
  merkleRoot,
  openLog,
  parseCheckpoint,
  snapshotEntry,
  verifyConsistency,
  verifyInclusion,
} from "@ctxmesh/ledger";
import type { Log, LogOptions } from "@ctxmesh/ledger";
import { MeshError, toHex } from "@ctxmesh/model";
import type { Store } from "@ctxmesh/model";
import { createMemoryStore, createVirtualClock } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import { verifyEd25519Line, verifyMlDsaLine } from "../src/note.ts";
import { parseLogProof } from "../src/proof.ts";
import { NOW, ORIGIN, logKeys, logSigners, random } from "./fixture.ts";

const prefix = utf8Encode("log/");
const open = (store: Store, changes: Partial<LogOptions> = {}): Promise<Log> =>
  openLog({
    store,
    prefix,
    origin: ORIGIN,
    signers: logSigners,
    clock: createVirtualClock(NOW),
    ...changes,
  });
const entry = (i: number): Uint8Array => snapshotEntry(Uint8Array.of(i));
const keyOf = (tag: string, ...bytes: number[]): Uint8Array =>
  Uint8Array.from([...prefix, ...utf8Encode(tag), ...bytes]);
const entryKey = (i: number): Uint8Array => keyOf("e", 0, 0, 0, 0, 0, 0, 0, i);
const rejection = async (action: Promise<unknown>): Promise<string> => {
  try {
    await action;
  } catch (error) {
    return error instanceof MeshError ? error.code : String(error);
  }
  return "no error";
};

/** Checks a proof text completely: inclusion of `data` and both lines. */
function assertProves(text: string, data: Uint8Array, index: number, size: number): void {
  const proof = parseLogProof(text);
  const checkpoint = parseCheckpoint(proof.checkpoint);
  expect([proof.index, checkpoint.size]).toEqual([index, size]);
  const claim = { index, size, proof: proof.hashes, root: checkpoint.root };
  expect(verifyInclusion({ ...claim, leafHash: leafHash(data) })).toBe(true);
  verifyEd25519Line(checkpoint.note, ORIGIN, createVerifier(logKeys.ed25519));
  expect(verifyMlDsaLine(checkpoint, createVerifier(logKeys.mldsa44))).toBe(NOW / 1000);
}

test("an entry is the tag and the base64 hash of the envelope", () => {
  expect(new TextDecoder().decode(snapshotEntry(new Uint8Array(0)))).toBe(
    "ctxmesh.dev/snapshot/v1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
  );
});

test("every append is proven at once, and every entry by every later checkpoint", async () => {
  const log = await open(createMemoryStore());
  expect([log.size, log.checkpoint]).toEqual([0, undefined]);
  for (let i = 0; i < 21; i++) {
    const appended = await log.append(entry(i));
    expect(appended.index).toBe(i);
    expect(appended.checkpoint).toBe(log.checkpoint);
    assertProves(appended.proof, entry(i), i, i + 1);
  }
  const hashes = Array.from({ length: 21 }, (_, i) => leafHash(entry(i)));
  expect(toHex(parseCheckpoint(log.checkpoint ?? "").root)).toBe(toHex(merkleRoot(hashes)));
  for (let i = 0; i < 21; i++) assertProves(await log.proof(i), entry(i), i, 21);
  for (let size1 = 1; size1 <= 21; size1++) {
    const proof = await log.consistency(size1);
    const [root1, root2] = [merkleRoot(hashes.slice(0, size1)), merkleRoot(hashes)];
    expect(verifyConsistency({ size1, size2: 21, root1, root2, proof })).toBe(true);
  }
  expect(await rejection(log.proof(21))).toBe("INPUT_INVALID");
  expect(await rejection(log.consistency(0))).toBe("INPUT_INVALID");
});

test("appends called at the same time get one place each, in call order", async () => {
  const log = await open(createMemoryStore());
  const appended = await Promise.all([0, 1, 2, 3, 4].map((i) => log.append(entry(i))));
  appended.forEach(({ index, proof }, i) => {
    expect(index).toBe(i);
    assertProves(proof, entry(i), i, i + 1);
  });
});

test("a reopened log goes on where it was, with the same checkpoint", async () => {
  let store = createMemoryStore();
  let log = await open(store);
  for (let i = 0; i < 6; i++) {
    await log.append(entry(i));
    const before = log.checkpoint;
    store = await store.reopen();
    log = await open(store);
    expect([log.size, log.checkpoint]).toEqual([i + 1, before]);
  }
  assertProves(await log.proof(2), entry(2), 2, 6);
});

test("a crash during an append leaves the whole append or nothing of it", async () => {
  for (const kept of [0, 1]) {
    const reached = Promise.withResolvers<void>();
    let held = false;
    const beforeSync = (): Promise<void> => {
      if (!held) return Promise.resolve();
      reached.resolve();
      return new Promise(() => undefined);
    };
    const store = createMemoryStore({ faults: { beforeSync } });
    const log = await open(store);
    await log.append(entry(0));
    held = true;
    const cut = log.append(entry(1));
    cut.catch(() => undefined);
    await reached.promise;
    held = false;
    const after = store.crash(kept);
    const again = await open(after);
    expect(again.size).toBe(1 + kept);
    expect(parseCheckpoint(again.checkpoint ?? "").size).toBe(1 + kept);
    expect(log.size).toBe(1);
  }
});

test("what belongs to an append is written with it or not at all", async () => {
  const key = utf8Encode("seal");
  const store = createMemoryStore();
  const log = await open(store);
  const { proof } = await log.append(entry(0), (appended) => [
    { key, value: utf8Encode(appended.proof) },
  ]);
  expect(await store.get(key)).toEqual(utf8Encode(proof));
  store.failNextWrite("lost");
  const lost = log.append(entry(1), () => [{ key, value: entry(1) }]);
  expect(await rejection(lost)).toBe("STORE_FAILED");
  const again = await store.reopen();
  expect(await again.get(key)).toEqual(utf8Encode(proof));
  expect((await open(again)).size).toBe(1);
});

test("a failed write publishes nothing and the log does not go on without a reopen", async () => {
  const store = createMemoryStore();
  const log = await open(store);
  await log.append(entry(0));
  const before = log.checkpoint;
  store.failNextWrite("kept");
  expect(await rejection(log.append(entry(1)))).toBe("STORE_FAILED");
  expect([log.size, log.checkpoint]).toEqual([1, before]);
  expect(await rejection(log.append(entry(2)))).toBe("STORE_FAILED");
  const again = await open(await store.reopen());
  expect(again.size).toBe(2);
  assertProves(await again.proof(1), entry(1), 1, 2);
});

test("entries that are not the tree of the checkpoint are STORE_CORRUPT", async () => {
  const damage: [string, (store: Store) => Promise<void>][] = [
    ["changed", (store) => store.write([{ key: entryKey(1), value: entry(9) }])],
    ["missing last", (store) => store.write([{ key: entryKey(3) }])],
    ["missing first", (store) => store.write([{ key: entryKey(0) }])],
    ["one too many", (store) => store.write([{ key: entryKey(4), value: entry(4) }])],
    ["no checkpoint", (store) => store.write([{ key: keyOf("c") }])],
    ["no note", (store) => store.write([{ key: keyOf("c"), value: utf8Encode("x") }])],
    ["no text", (store) => store.write([{ key: keyOf("c"), value: Uint8Array.of(0xff) }])],
  ];
  for (const [name, apply] of damage) {
    const store = createMemoryStore();
    const log = await open(store);
    for (let i = 0; i < 4; i++) await log.append(entry(i));
    await apply(store);
    expect(await rejection(open(store)), name).toBe("STORE_CORRUPT");
  }
});

test("damaged tree nodes give an error, never a wrong proof or checkpoint", async () => {
  const store = createMemoryStore();
  const log = await open(store);
  for (let i = 0; i < 4; i++) await log.append(entry(i));
  const node = keyOf("n", 1, 0, 0, 0, 0, 0, 0, 0, 0);
  await store.write([{ key: node, value: new Uint8Array(32) }]);
  expect(await rejection(log.proof(3))).toBe("STORE_CORRUPT");
  expect(await rejection(log.consistency(2))).toBe("STORE_CORRUPT");
  await store.write([{ key: node }]);
  expect(await rejection(log.proof(3))).toBe("STORE_CORRUPT");
});

test("a log is not continued under another name or with other keys", async () => {
  const store = createMemoryStore();
  await (await open(store)).append(entry(0));
  expect(await rejection(open(store, { origin: "log.example/other" }))).toBe("INPUT_INVALID");
  const ed25519 = createSigner(generatePrivateKey("Ed25519", random));
  const mldsa44 = createSigner(generatePrivateKey("ML-DSA-44", random));
  expect(await rejection(open(store, { signers: { ...logSigners, ed25519 } }))).toBe("KEY_INVALID");
  expect(await rejection(open(store, { signers: { ...logSigners, mldsa44 } }))).toBe("KEY_INVALID");
});

test("an unusable origin and an oversized entry are refused", async () => {
  for (const origin of ["", "a b", "a+b", "é", "x".repeat(256)]) {
    expect(await rejection(open(createMemoryStore(), { origin }))).toBe("INPUT_INVALID");
  }
  const log = await open(createMemoryStore());
  expect(await rejection(log.append(new Uint8Array(65_536)))).toBe("LIMIT_EXCEEDED");
});
