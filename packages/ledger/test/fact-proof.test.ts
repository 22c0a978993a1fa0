// SPDX-License-Identifier: Apache-2.0
/** Goal: a proof of one fact is valid by itself, small, its only file, and says nothing of other facts. */
import { canonicalJson, encodeCbor, utf8Encode } from "@ctxmesh/codec";
import { createDeviceSigner, generateSeed, sha256 } from "@ctxmesh/crypto";
import {
  buildSnapshot,
  createFactProver,
  encodeFactProof,
  inclusionProof,
  merkleRoot,
  parseFactProof,
  verifyBundle,
} from "@ctxmesh/ledger";
import type { Verdict } from "@ctxmesh/ledger";
import { hlcFromMs, parseDeviceKey, parseIncarnationId, toHex } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { treeLevels, treePath, treeRoot } from "../src/leaf-tree.ts";
import { saltedLeafHash, snapshotRoot } from "../src/snapshot.ts";
import { MALFORMED, NOW, codeOf, firstHeader, makeBundle, random, trustRoot } from "./fixture.ts";

const root = trustRoot();
const verify = (bytes: Uint8Array): Verdict => verifyBundle(bytes, root, { now: NOW });
const outcome = (verdict: Verdict): string =>
  `${String(verdict.exitCode)} ${verdict.failed?.step ?? "valid"}`;

const SECRET = "salary of the neighbour";
const leafOf = (key: string, i: number, value: unknown): string =>
  canonicalJson({
    doc: "line-2/press-7",
    key,
    writer: parseDeviceKey("0b".repeat(32)),
    incarnation: parseIncarnationId("01".repeat(16)),
    seq: i + 1,
    hlc: hlcFromMs(NOW) + i,
    value: value as never,
  });
const facts = Array.from({ length: 40 }, (_, i) => leafOf(`sensor/${String(i)}`, i, SECRET));
const device = createDeviceSigner(generateSeed(random));
const bundle = await makeBundle({
  leaves: [...facts, leafOf("temperature", 90, 71.5), leafOf("temperature", 91, 72)],
  headers: Array.from({ length: 10 }, () => firstHeader(device)),
});
const prover = createFactProver(bundle);
const proof = prover.prove("line-2/press-7", "temperature");
const bytes = encodeFactProof(proof);

describe("a fact proof", () => {
  test("is valid, step by step, and gives every candidate of its key", () => {
    const verdict = verify(bytes);
    expect(outcome(verdict)).toBe("0 valid");
    expect(verdict.steps.map(({ name }) => name)).toContain("fact-inclusion");
    expect(verdict.facts?.map(({ members }) => members["value"])).toEqual([71.5, 72]);
    expect(verdict.kind).toBe("fact");
  });

  test("of a seal over ten chains is below 8 KB for one candidate among 50,000", () => {
    const one = encodeFactProof(prover.prove("line-2/press-7", "sensor/7"));
    // Ten levels more than a tree of 42 leaves has.
    expect(one.length + 10 * 32).toBeLessThan(8_192);
  });

  test("survives its file, byte for byte", () => {
    expect(parseFactProof(bytes)).toEqual(proof);
    expect(encodeFactProof(parseFactProof(bytes))).toEqual(bytes);
  });

  test("has nothing of its neighbours but hashes", () => {
    const text = new TextDecoder("latin1").decode(bytes);
    expect(text).not.toContain(SECRET);
    expect(text).not.toContain("sensor/");
    // Nor a salt of theirs, without which a hash can't be compared with a guess.
    for (const { salt, leaf } of bundle.leaves) {
      const isOwn = leaf.includes('"temperature"');
      expect(text.includes(new TextDecoder("latin1").decode(salt))).toBe(isOwn);
    }
  });

  test("of a key that was not sealed is not to be had", () => {
    expect(codeOf(() => prover.prove("line-2/press-7", "pressure"))).toBe("NOT_FOUND");
    expect(codeOf(() => prover.prove("line-2/press-8", "temperature"))).toBe("NOT_FOUND");
  });

  test("can't be cut out of facts that were not sealed", () => {
    const [first, ...rest] = bundle.leaves;
    if (first === undefined) throw new Error("a leaf expected");
    const forged = { ...bundle, leaves: [{ ...first, leaf: `${first.leaf} ` }, ...rest] };
    expect(codeOf(() => createFactProver(forged))).toBe("PROOF_INVALID");
  });
});

describe("a changed fact proof is never valid", () => {
  test("whatever bit is flipped", () => {
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(7), (index, bit) => {
        const copy = bytes.slice();
        copy[index] = (copy[index] ?? 0) ^ (1 << bit);
        const verdict = verify(copy);
        expect([verdict.valid, verdict.exitCode > 0]).toEqual([false, true]);
      }),
      { numRuns: 300 },
    );
  });

  test("with another value, salt, index, or a path that is longer, shorter or another's", () => {
    const [first, second] = proof.facts;
    if (first === undefined || second === undefined) throw new Error("two candidates expected");
    const step = (changed: Partial<typeof first>): string =>
      outcome(verify(encodeFactProof({ ...proof, facts: [{ ...first, ...changed }] })));
    expect(step({})).toBe("0 valid");
    expect(step({ leaf: first.leaf.replace("71.5", "71.6") })).toBe("1 fact-inclusion");
    expect(step({ salt: second.salt })).toBe("1 fact-inclusion");
    expect(step({ index: second.index })).toBe("1 fact-inclusion");
    expect(step({ hashes: second.hashes })).toBe("1 fact-inclusion");
    expect(step({ hashes: first.hashes.slice(1) })).toBe("1 fact-inclusion");
    expect(step({ hashes: [...first.hashes, sha256()] })).toBe("1 fact-inclusion");
  });

  test("with a fact of another key beside it", () => {
    const other = prover.prove("line-2/press-7", "sensor/3").facts;
    const mixed = [...proof.facts, ...other].toSorted((a, b) => a.index - b.index);
    expect(outcome(verify(encodeFactProof({ ...proof, facts: mixed })))).toBe("3 fact-inclusion");
  });
});

describe("a malformed fact proof is exit 3", () => {
  test.each([
    ["cut", bytes.subarray(0, bytes.length - 1)],
    ["longer", Uint8Array.from([...bytes, 0])],
    ["an empty map", encodeCbor({})],
    [
      "nested a thousand deep",
      Uint8Array.from([0xa1, 0x61, 0x76, ...Array<number>(1000).fill(0x81)]),
    ],
    ["of another version", encodeCbor({ v: 2, facts: [], seal: {}, log: {} })],
    ["without a fact", encodeCbor({ v: 1, facts: [], seal: {}, log: {} })],
  ])("%s", (_, file) => {
    expect(outcome(verify(file))).toBe("3 fact-proof");
  });

  test("facts in another order, or twice", () => {
    const [first, second] = proof.facts;
    if (first === undefined || second === undefined) throw new Error("two candidates expected");
    for (const wrong of [[second, first], [first, first], []]) {
      expect(codeOf(() => encodeFactProof({ ...proof, facts: wrong }))).toMatch(MALFORMED);
    }
  });
});

describe("salts", () => {
  test("are 16 bytes of the random source for each leaf, and never the same", () => {
    const asked: Uint8Array[] = [];
    const source = {
      bytes: (length: number): Uint8Array => {
        const made = random.bytes(length);
        asked.push(made);
        return made;
      },
    };
    const { leaves } = buildSnapshot(facts, source);
    expect(leaves.map(({ salt }) => salt)).toEqual(asked);
    expect(new Set(leaves.map(({ salt }) => toHex(salt))).size).toBe(facts.length);
    for (const { salt } of leaves) expect(salt).toHaveLength(16);
    // The same facts sealed again have other salts, so their hashes can't be compared either.
    const again = buildSnapshot(facts, source).leaves;
    expect(again.filter(({ salt }, i) => toHex(salt) === toHex(leaves[i]?.salt ?? salt))).toEqual(
      [],
    );
  });
});

test("the tree with its levels has the root and the paths of RFC 6962, whatever the number of leaves", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 70 }), fc.nat(69), (size, at) => {
      const index = at % size;
      const leaves = Array.from({ length: size }, (_, i) => sha256(Uint8Array.of(i)));
      const levels = treeLevels(leaves);
      expect(treeRoot(levels)).toEqual(merkleRoot(leaves));
      expect(treePath(levels, index)).toEqual(inclusionProof(leaves, index));
    }),
    { numRuns: 200 },
  );
  expect(treeRoot(treeLevels([]))).toEqual(merkleRoot([]));
});

test("the root over leaves that is kept by its edge is that of RFC 6962", () => {
  for (let size = 0; size <= 33; size++) {
    const leaves = facts
      .slice(0, size)
      .map((leaf) => ({ leaf, salt: utf8Encode("0123456789abcdef") }));
    expect(snapshotRoot(leaves)).toEqual(merkleRoot(leaves.map(saltedLeafHash)));
  }
});
