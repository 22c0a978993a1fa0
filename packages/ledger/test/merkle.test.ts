// SPDX-License-Identifier: Apache-2.0
import { fromBase64, toBase64 } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import {
  consistencyProof,
  inclusionProof,
  leafHash,
  merkleRoot,
  nodeHash,
  parseCheckpoint,
  verifyConsistency,
  verifyInclusion,
} from "@ctxmesh/ledger";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EMPTY_EDGE, appendLeaf, edgeRoot, equalBytes } from "../src/merkle.ts";
import { haveVectors, readVector, skipNote } from "./vectors.ts";

interface InclusionVector {
  file: string;
  leafIdx: number;
  treeSize: number;
  root: string;
  leafHash: string;
  proof: string[] | null;
  wantErr: boolean;
}
interface ConsistencyVector {
  file: string;
  size1: number;
  size2: number;
  root1: string;
  root2: string;
  proof: string[] | null;
  wantErr: boolean;
}
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "base64"));

describe.skipIf(!haveVectors)(`proofs agree with the transparency-dev vectors${skipNote}`, () => {
  test("inclusion", () => {
    const vectors = readVector<InclusionVector[]>("transparency-dev-merkle-inclusion.json");
    const wrong = vectors.filter(
      (vector) =>
        verifyInclusion({
          leafHash: bytes(vector.leafHash),
          index: vector.leafIdx,
          size: vector.treeSize,
          proof: (vector.proof ?? []).map(bytes),
          root: bytes(vector.root),
        }) === vector.wantErr,
    );
    expect(wrong.map((vector) => vector.file)).toEqual([]);
    expect(vectors.length).toBe(98);
  });

  test("consistency, except that a proof from size 0 is always refused", () => {
    const vectors = readVector<ConsistencyVector[]>("transparency-dev-merkle-consistency.json");
    const wrong = vectors.filter((vector) => {
      const accepted = verifyConsistency({
        size1: vector.size1,
        size2: vector.size2,
        root1: bytes(vector.root1),
        root2: bytes(vector.root2),
        proof: (vector.proof ?? []).map(bytes),
      });
      return accepted !== (!vector.wantErr && vector.size1 > 0);
    });
    expect(wrong.map((vector) => vector.file)).toEqual([]);
    expect(vectors.length).toBe(98);
  });

  test("roots: every checkpoint of the tessera log is the root of its first entries", () => {
    const log = readVector<{ checkpoints: Record<string, string>; tiles: Record<string, string> }>(
      "tessera-testlog.json",
    );
    const tile = bytes(log.tiles["tile/0/000.p/15"] ?? "");
    const hashes = Array.from({ length: 15 }, (_, i) => tile.slice(32 * i, 32 * i + 32));
    for (const [size, text] of Object.entries(log.checkpoints)) {
      const checkpoint = parseCheckpoint(text);
      expect(checkpoint.size).toBe(Number(size));
      const first = hashes.slice(0, checkpoint.size);
      expect(toBase64(merkleRoot(first))).toBe(toBase64(checkpoint.root));
      const edge = first.reduce((built, hash) => appendLeaf(built, hash).edge, EMPTY_EDGE);
      expect(toBase64(edgeRoot(edge))).toBe(toBase64(checkpoint.root));
    }
  });
});

/** MTH of RFC 6962 section 2.1, as it is written there. */
function definition(data: readonly Uint8Array[]): Uint8Array {
  if (data.length === 0) return sha256();
  if (data.length === 1) return leafHash(data[0] ?? new Uint8Array(0));
  let k = 1;
  while (k * 2 < data.length) k *= 2;
  return nodeHash(definition(data.slice(0, k)), definition(data.slice(k)));
}

const dataArbitrary = fc.array(fc.uint8Array({ maxLength: 4 }), { maxLength: 70 });
const someData = fc.array(fc.uint8Array({ maxLength: 4 }), { minLength: 1, maxLength: 70 });

test("the root is the one that RFC 6962 defines, built at once or leaf by leaf", () => {
  fc.assert(
    fc.property(dataArbitrary, (data) => {
      const hashes = data.map((item) => leafHash(item));
      const expected = toBase64(definition(data));
      expect(toBase64(merkleRoot(hashes))).toBe(expected);
      const edge = hashes.reduce((built, hash) => appendLeaf(built, hash).edge, EMPTY_EDGE);
      expect(toBase64(edgeRoot(edge))).toBe(expected);
    }),
  );
});

test("every inclusion proof verifies, at its own index and for its own leaf only", () => {
  fc.assert(
    fc.property(someData, fc.nat(), fc.nat(), (data, pick, other) => {
      const hashes = data.map((item, i) => leafHash(item, Uint8Array.of(i)));
      const [index, elsewhere] = [pick % data.length, other % data.length];
      const claim = {
        leafHash: hashes[index] as Uint8Array,
        index,
        size: data.length,
        proof: inclusionProof(hashes, index),
        root: merkleRoot(hashes),
      };
      expect(verifyInclusion(claim)).toBe(true);
      expect(verifyInclusion({ ...claim, index: elsewhere })).toBe(elsewhere === index);
      expect(verifyInclusion({ ...claim, leafHash: hashes[elsewhere] as Uint8Array })).toBe(
        elsewhere === index,
      );
      expect(verifyInclusion({ ...claim, proof: [...claim.proof, claim.root] })).toBe(false);
      const cut = claim.proof.slice(1);
      expect(verifyInclusion({ ...claim, proof: cut })).toBe(claim.proof.length === 0);
    }),
  );
});

test("a proof longer than its tree is deep is refused, even when it leads to the root", () => {
  const [a, b] = [leafHash(Uint8Array.of(1)), leafHash(Uint8Array.of(2))];
  const claim = { leafHash: b, index: 0, size: 1, proof: [a], root: nodeHash(a, b) };
  expect(verifyInclusion(claim)).toBe(false);
  expect(verifyInclusion({ ...claim, index: 1, size: 2 })).toBe(true);
});

test("every consistency proof verifies, and not for another old root", () => {
  fc.assert(
    fc.property(someData, fc.nat(), (data, pick) => {
      const hashes = data.map((item) => leafHash(item));
      const size1 = (pick % data.length) + 1;
      const claim = {
        size1,
        size2: data.length,
        root1: merkleRoot(hashes.slice(0, size1)),
        root2: merkleRoot(hashes),
        proof: consistencyProof(hashes, size1),
      };
      expect(verifyConsistency(claim)).toBe(true);
      expect(verifyConsistency({ ...claim, root1: leafHash(claim.root1) })).toBe(false);
      expect(verifyConsistency({ ...claim, root2: leafHash(claim.root2) })).toBe(false);
      expect(verifyConsistency({ ...claim, proof: [...claim.proof, claim.root1] })).toBe(false);
      expect(verifyConsistency({ ...claim, size1: 0 })).toBe(false);
    }),
  );
});

test("sizes and indices outside a tree make no proof and verify nothing", () => {
  const hashes = [leafHash(Uint8Array.of(1)), leafHash(Uint8Array.of(2))];
  for (const index of [2, -1, 0.5, Number.NaN]) {
    expect(() => inclusionProof(hashes, index)).toThrow(/no leaf/u);
    const claim = { leafHash: hashes[0] as Uint8Array, size: 2, proof: [], root: new Uint8Array() };
    expect(verifyInclusion({ ...claim, index })).toBe(false);
  }
  for (const size1 of [0, 3, 1.5]) {
    expect(() => consistencyProof(hashes, size1)).toThrow(/no consistency proof/u);
  }
});

test("equal bytes are equal in every byte", () => {
  expect(equalBytes(fromBase64("AAEC"), Uint8Array.of(0, 1, 2))).toBe(true);
  expect(equalBytes(fromBase64("AAEC"), Uint8Array.of(0, 1))).toBe(false);
  expect(equalBytes(fromBase64("AAEC"), Uint8Array.of(0, 1, 3))).toBe(false);
});
