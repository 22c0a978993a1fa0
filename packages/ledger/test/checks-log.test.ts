// SPDX-License-Identifier: Apache-2.0
/** What log and witnesses say about a seal: when it was there, and who has to accept their lines. */
import { createVerifier, toPublicKey } from "@ctxmesh/crypto";
import { encodeBundle, verifyBundle } from "@ctxmesh/ledger";
import type { TrustRoot, Verdict } from "@ctxmesh/ledger";
import * as fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { parseCheckpoint } from "../src/note.ts";
import { parseLogProof } from "../src/proof.ts";
import { cosignatureLine } from "../src/witness-cosignature.ts";
import { NOW, makeBundle, rootKey, snapshotKey, trustRoot } from "./fixture.ts";
import { cosigner } from "./witness-kit.ts";

const bundle = await makeBundle();
const bytes = encodeBundle(bundle);
/** `exit code, failed step` of a verdict. */
const outcome = (verdict: Verdict): string =>
  `${String(verdict.exitCode)} ${verdict.failed?.step ?? "valid"}`;

describe("a seal of a key that was revoked", () => {
  const cosigners = [cosigner("w1.test"), cosigner("w2.test", "Ed25519"), cosigner("w3.test")];
  const checkpoint = parseCheckpoint(parseLogProof(bundle.proof).checkpoint);
  /** The bundle with lines of the first witnesses, one at each time. */
  const cosignedAt = (...times: readonly number[]): Uint8Array => {
    const lines = times.flatMap((time, i) => {
      const { name = "", signers = [] } = cosigners[i] ?? {};
      return signers.map((signer) => cosignatureLine(checkpoint, name, signer, time / 1_000));
    });
    return encodeBundle({ ...bundle, proof: `${bundle.proof}${lines.join("")}` });
  };
  const revoked = (revokedAt: number, witnessThreshold: number, known = cosigners): TrustRoot =>
    trustRoot({
      keys: [
        { role: "root", key: toPublicKey(rootKey) },
        { role: "snapshot", key: toPublicKey(snapshotKey), revokedAt, reason: "stolen" },
      ],
      witnesses: known.map(({ name, keys }) => {
        const [{ key: first } = { key: undefined }, second] = keys;
        if (first === undefined) throw new Error("a key expected");
        return { name, ed25519: first, ...(second && { mldsa44: second.key }) };
      }),
      witnessThreshold,
    });
  const later = NOW + 1_000_000;
  const judged = (file: Uint8Array, under: TrustRoot): string =>
    outcome(
      verifyBundle(file, { ...under, expires: later + 1 }, { now: later, crossCheck: false }),
    );

  test("is refused when its log dates it before and no witness does: the thief may have the log's keys", () => {
    expect(judged(bytes, revoked(NOW + 5_000, 0, []))).toBe("2 key");
    expect(judged(bytes, revoked(NOW + 5_000, 0))).toBe("2 key");
    expect(judged(cosignedAt(NOW + 9_000), revoked(NOW + 5_000, 0))).toBe("2 key");
    expect(judged(cosignedAt(NOW + 5_000), revoked(NOW + 5_000, 1))).toBe("2 key");
    const { failed } = verifyBundle(bytes, revoked(NOW + 5_000, 0), { now: NOW });
    expect(failed?.message).toMatch(/is revoked from .*too few witnesses/u);
  });

  test("is valid when as many witnesses as the root asks for, and one at least, had it before", () => {
    const times = fc.array(fc.integer({ min: -3, max: 9 }), { maxLength: 3 });
    fc.assert(
      fc.property(times, fc.nat(3), fc.integer({ min: -4, max: 9 }), (waits, threshold, at) => {
        const [cosigned, revokedAt] = [waits.map((wait) => NOW + wait * 1_000), NOW + at * 1_000];
        const enough = Math.max(1, threshold);
        const before = cosigned.filter((time) => time < revokedAt).length;
        const isGood = NOW < revokedAt && before >= enough;
        const isWitnessed = cosigned.length >= threshold;
        const expected = isGood && isWitnessed ? "0 valid" : "2 key";
        expect(judged(cosignedAt(...cosigned), revoked(revokedAt, threshold))).toBe(expected);
      }),
      { numRuns: 60 },
    );
  });

  test("says when it was witnessed, and a key that is not revoked goes by the log's time", () => {
    const file = cosignedAt(NOW + 7_000, NOW + 4_000);
    const { logged } = verifyBundle(file, revoked(NOW + 9_000, 2), { now: NOW });
    expect(logged).toMatchObject({ loggedMs: NOW, witnessedMs: NOW + 7_000 });
    const { validUntil, ...rest } = { ...trustRoot().keys[1], validUntil: NOW + 1_000 };
    const ended = { ...trustRoot(), keys: [{ ...rest, validUntil }] } as TrustRoot;
    expect(outcome(verifyBundle(file, ended, { now: NOW }))).toBe("0 valid");
  });
});

test("a second implementation has to accept the lines of log and witnesses, too", () => {
  const witness = cosigner("w1.test");
  const checkpoint = parseCheckpoint(parseLogProof(bundle.proof).checkpoint);
  const lines = witness.signers.map((signer) =>
    cosignatureLine(checkpoint, witness.name, signer, NOW / 1_000),
  );
  const [ed25519, mldsa44] = witness.signers.map(({ key }) => key);
  if (!ed25519 || !mldsa44) throw new Error("two keys expected");
  const under = trustRoot({ witnesses: [{ name: witness.name, ed25519, mldsa44 }] });
  const [log] = under.logs;
  if (!log) throw new Error("a log expected");
  const file = encodeBundle({ ...bundle, proof: `${bundle.proof}${lines.join("")}` });
  // One verifier is made for each key and way to ask.
  const spies = [log.ed25519, log.mldsa44, ed25519, mldsa44].map((key) =>
    vi.spyOn(createVerifier(key, { crossCheck: true }), "verify"),
  );
  const calls = (): number[] => spies.map(({ mock }) => mock.calls.length);
  expect(verifyBundle(file, under, { now: NOW, crossCheck: false }).valid).toBe(true);
  expect(calls()).toEqual([0, 0, 0, 0]);
  expect(verifyBundle(file, under, { now: NOW }).valid).toBe(true);
  expect(calls()).toEqual([1, 1, 1, 1]);
  vi.restoreAllMocks();
});
