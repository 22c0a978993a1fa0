// SPDX-License-Identifier: Apache-2.0
/** Goal: one composite signature covers each statement of a batch, and none besides. */
import { utf8Encode } from "@ctxmesh/codec";
import { createSigner, createVerifier, generatePrivateKey, toPublicKey } from "@ctxmesh/crypto";
import { sealBatch, verifyBatchItem } from "@ctxmesh/ledger";
import type { BatchSeal, BatchStatement } from "@ctxmesh/ledger";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { signEnvelope } from "../src/dsse.ts";
import { MALFORMED, NOW, codeOf, logSigners, random, snapshotKey } from "./fixture.ts";

const signer = createSigner(snapshotKey);
const verifier = createVerifier(toPublicKey(snapshotKey), { crossCheck: false });
const statements = (count: number): BatchStatement[] =>
  Array.from({ length: count }, (_, i) => ({
    payloadType: "text/plain",
    payload: utf8Encode(`statement ${String(i)}`),
  }));
const at = <T>(items: readonly T[], i: number): T => {
  const item = items[i];
  if (item === undefined) throw new Error("no such item");
  return item;
};
const verify = (batch: BatchSeal, statement: BatchStatement, i: number): unknown =>
  verifyBatchItem(statement, at(batch.positions, i), batch.envelope, verifier);

describe("each statement of a batch verifies alone", () => {
  test.each([1, 2, 3, 64, 257])("of %d", (count) => {
    const items = statements(count);
    const batch = sealBatch(items, signer, { sealedAt: NOW, first: 7 });
    for (const i of new Set([0, Math.floor(count / 2), count - 1])) {
      expect(verify(batch, at(items, i), i)).toMatchObject({
        count,
        first: 7,
        last: count + 6,
        sealedAt: NOW,
      });
    }
  });
});

describe("nothing else does", () => {
  const items = statements(10);
  const batch = sealBatch(items, signer, { sealedAt: NOW });

  test("no statement at another's place, changed, or of another type", () => {
    fc.assert(
      fc.property(fc.nat(9), fc.nat(9), (i, j) => {
        fc.pre(i !== j);
        expect(codeOf(() => verify(batch, at(items, i), j))).toBe("PROOF_INVALID");
      }),
    );
    const changed = { ...at(items, 3), payload: utf8Encode("statement 3 ") };
    expect(codeOf(() => verify(batch, changed, 3))).toBe("PROOF_INVALID");
    const retyped = { ...at(items, 3), payloadType: "text/html" };
    expect(codeOf(() => verify(batch, retyped, 3))).toBe("PROOF_INVALID");
  });

  test("no seal by another key, and none that is no batch seal", () => {
    const stranger = createSigner(generatePrivateKey("ML-DSA-65-Ed25519", random));
    const forged = sealBatch(items, stranger, { sealedAt: NOW });
    expect(codeOf(() => verify(forged, at(items, 0), 0))).toBe("SIGNATURE_INVALID");
    const other = signEnvelope(signer, "application/vnd.in-toto+json", utf8Encode("{}"));
    expect(codeOf(() => verify({ ...batch, envelope: other }, at(items, 0), 0))).toMatch(MALFORMED);
  });

  test("a key of another suite seals no batch, and no statements are none", () => {
    const options = { sealedAt: NOW };
    expect(codeOf(() => sealBatch(items, logSigners.ed25519, options))).toBe("KEY_INVALID");
    expect(codeOf(() => sealBatch([], signer, options))).toBe("INPUT_INVALID");
  });
});
