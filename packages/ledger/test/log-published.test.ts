// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: whatever a log has shown to anybody stays true: one root for each size, each tree the beginning of the next.
 * Method: random lives on a store that crashes before, in and after each write; everything that was returned or served is held
 * against the log that is left.
 */
import { utf8Decode, utf8Encode } from "@ctxmesh/codec";
import {
  acceptCosignatures,
  encodeBundle,
  leafHash,
  openLog,
  openTileLog,
  parseCheckpoint,
  replaceProof,
  snapshotEntry,
  verifyCheckpoint,
  verifyConsistency,
  verifyInclusion,
} from "@ctxmesh/ledger";
import type { Log, TreeHead } from "@ctxmesh/ledger";
import { toHex } from "@ctxmesh/model";
import type { Store } from "@ctxmesh/model";
import { createMemoryStore, createSeededRandom, createVirtualClock } from "@ctxmesh/testing";
// oxlint-disable-next-line import/extensions -- a file of a package without exports
import { verifyMerkleInclusion } from "@sigstore/verify/dist/tlog/merkle.js";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { parseLogProof } from "../src/proof.ts";
import { cosignatureLine } from "../src/witness-cosignature.ts";
import { NOW, ORIGIN, codeOf, logSigners, makeBundle } from "./fixture.ts";
import { cosigner, log as logPublic } from "./witness-kit.ts";

const PREFIX = utf8Encode("log/");
const clock = createVirtualClock(NOW);
const open = async (store: Store): Promise<Log> =>
  openLog({ store, prefix: PREFIX, origin: ORIGIN, signers: logSigners, clock });
const [first, second] = [cosigner("w1.test", "ML-DSA-44"), cosigner("w2.test", "Ed25519")];
const witnesses = [...first.keys, ...second.keys];
const entry = (i: number): Uint8Array => snapshotEntry(Uint8Array.of(i, i >> 8));

/** The lines of a witness on a checkpoint. */
const linesBy = ({ name, signers }: typeof first, text: string, seconds = NOW / 1_000): string =>
  signers.map((s) => cosignatureLine(parseCheckpoint(text), name, s, seconds)).join("");

/** Has a witness cosign the newest checkpoint. */
async function cosign(log: Log, by: typeof first): Promise<void> {
  const text = log.checkpoint ?? "";
  await log.keepCosignatures(text, acceptCosignatures(text, linesBy(by, text), by.keys));
}

const cosignedBy = (text: string | undefined): readonly string[] =>
  verifyCheckpoint(text ?? "", logPublic, witnesses).cosignedBy;

const served = async (log: Log): Promise<string | undefined> => {
  const page = await log.pages.page("checkpoint");
  return page && utf8Decode(page.bytes);
};

test("what was ever shown is the beginning of what is left, whatever crashed", async () => {
  let shownInAll = 0;
  await fc.assert(
    fc.asyncProperty(fc.nat(1_000_000), async (seed) => {
      const pick = createSeededRandom(seed);
      const upTo = (n: number): number => (pick.bytes(1)[0] ?? 0) % n;
      let store = createMemoryStore();
      let log = await open(store);
      const shown: string[] = [];
      for (let step = 0; step < 30; step++) {
        const fault = upTo(6);
        if (fault === 1) store.failNextWrite("lost");
        if (fault === 2) store.failNextWrite("kept");
        const cosigns = log.size > 0 && upTo(3) === 0;
        const done = cosigns
          ? cosign(log, upTo(2) === 0 ? first : second)
          : // Another entry in each try: a second tree of the same size would have another root.
            log.append(entry(seed + step)).then(({ checkpoint }) => shown.push(checkpoint));
        const settled = done.then(
          () => true,
          () => false,
        );
        if (fault === 3) store = store.crash(upTo(2));
        const isDone = await settled;
        if (fault === 3) log = await open(store);
        else if (!isDone) log = await open((store = await store.reopen()));
        const page = await served(log);
        if (page !== undefined) shown.push(page);
        if (log.cosigned !== undefined) shown.push(log.cosigned);
      }
      shownInAll += shown.length;
      const newest = verifyCheckpoint((await served(log)) ?? "", logPublic, witnesses).head;
      const tiles = await openTileLog(async (path) => (await log.pages.page(path))?.bytes, newest);
      for (const text of new Set(shown)) {
        const { head } = verifyCheckpoint(text, logPublic, witnesses);
        const proof = await tiles.consistency(head.size);
        const [size1, size2] = [head.size, newest.size];
        const claim = { size1, size2, root1: head.root, root2: newest.root, proof };
        expect(verifyConsistency(claim)).toBe(true);
        expect(await log.consistency(size1)).toEqual(proof);
      }
    }),
    { numRuns: 20 },
  );
  expect(shownInAll).toBeGreaterThan(200);
});

test("lines of witnesses are kept with their checkpoint, served with it, and are in every later proof", async () => {
  let store = createMemoryStore();
  let log = await open(store);
  for (let i = 0; i < 3; i++) await log.append(entry(i));
  await cosign(log, first);
  await cosign(log, second);
  const both = ["w1.test", "w2.test"];
  expect(cosignedBy(log.checkpoint)).toEqual([]);
  expect(cosignedBy(await served(log))).toEqual(both);
  store = await store.reopen();
  log = await open(store);
  expect(cosignedBy(log.cosigned)).toEqual(both);
  await log.append(entry(3));
  // The newest is served at once, and what the older one has is proven under that.
  expect(cosignedBy(await served(log))).toEqual([]);
  for (let i = 0; i < 4; i++) {
    const { checkpoint, index, hashes } = parseLogProof(await log.proof(i));
    const { head } = verifyCheckpoint(checkpoint, logPublic, witnesses);
    expect([index, head.size, cosignedBy(checkpoint)]).toEqual([
      i,
      i < 3 ? 3 : 4,
      i < 3 ? both : [],
    ]);
    const claim = { index, size: head.size, proof: hashes, root: head.root };
    expect(verifyInclusion({ ...claim, leafHash: leafHash(entry(i)) })).toBe(true);
  }
});

test("newer lines of a witness take the place of older ones, on the newest tree alone", async () => {
  const log = await open(createMemoryStore());
  await log.append(entry(0));
  const old = log.checkpoint ?? "";
  await log.append(entry(1));
  const text = log.checkpoint ?? "";
  for (const seconds of [5, 9]) await log.keepCosignatures(text, linesBy(first, text, seconds));
  await log.keepCosignatures(old, linesBy(first, old, 11));
  const kept = verifyCheckpoint(log.cosigned ?? "", logPublic, witnesses);
  expect([kept.head.size, kept.cosignedMs]).toEqual([2, [9_000]]);
  const foreign = await open(createMemoryStore());
  for (let i = 5; i < 8; i++) await foreign.append(entry(i));
  const other = foreign.checkpoint ?? "";
  await expect(log.keepCosignatures(other, linesBy(first, other))).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
});

test("a bundle with another proof is the bundle that has it, whatever else it holds", async () => {
  const tricky = [',"proof":"x"', "\\", "}]", "é"].join("");
  const real = await makeBundle();
  const edited = { ...real, envelope: utf8Encode(`${utf8Decode(real.envelope)}${tricky}`) };
  for (const bundle of [
    real,
    edited,
    { ...real, proof: 'a"b\\' },
    { ...edited, batches: [new Uint8Array(200)] },
  ]) {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (proof) => {
        const replaced = replaceProof(encodeBundle(bundle), proof);
        expect(replaced).toEqual(encodeBundle({ ...bundle, proof }));
      }),
      { numRuns: 50 },
    );
  }
  for (const text of ["", "{}", '{"a":{"proof":"x"}}', '["proof"]', '{"proof":"x']) {
    expect(
      codeOf(() => replaceProof(utf8Encode(text), "y")),
      text,
    ).toBe("FORMAT_INVALID");
  }
});

test("a kept checkpoint that is of another tree is damage", async () => {
  const store = createMemoryStore();
  const log = await open(store);
  for (let i = 0; i < 4; i++) await log.append(entry(i));
  const foreign = await open(createMemoryStore());
  for (let i = 5; i < 8; i++) await foreign.append(entry(i));
  const key = utf8Encode("log/w");
  for (const value of [foreign.checkpoint ?? "", "x"]) {
    await store.write([{ key, value: utf8Encode(value) }]);
    await expect(open(store)).rejects.toMatchObject({ code: "STORE_CORRUPT" });
  }
});

test("sigstore's implementation of RFC 6962 verifies every proof, and refuses it for another entry", async () => {
  const log = await open(createMemoryStore());
  for (let size = 1; size <= 13; size++) {
    await log.append(entry(size));
    for (let i = 0; i < size; i++) {
      const { checkpoint, hashes } = parseLogProof(await log.proof(i));
      const head: TreeHead = parseCheckpoint(checkpoint);
      const inclusionProof = { logIndex: String(i), hashes: hashes.map((h) => Buffer.from(h)) };
      const verifyAs = (data: Uint8Array): void => {
        verifyMerkleInclusion(
          { canonicalizedBody: Buffer.from(data), inclusionProof } as never,
          { logSize: BigInt(head.size), logHash: Buffer.from(head.root) } as never,
        );
      };
      verifyAs(entry(i + 1));
      expect(() => {
        verifyAs(entry(i + 2));
      }, toHex(head.root)).toThrow(/root hash/u);
    }
  }
});
