// SPDX-License-Identifier: Apache-2.0
/** Goal: whoever reads what changes in a trust root before signing it misses nothing, however small. */
import { generatePrivateKey, toPublicKey } from "@ctxmesh/crypto";
import type { Algorithm, PublicKey } from "@ctxmesh/crypto";
import { createTrustRoot } from "@ctxmesh/ledger";
import type { AlgorithmEpoch, TrustRoot, TrustRootDraft, TrustedKeyDraft } from "@ctxmesh/ledger";
import { parseSpaceId } from "@ctxmesh/model";
import { createSeededRandom } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import { describeRoot, rootChanges } from "../src/trust-changes.ts";

const random = createSeededRandom(7);
const keyOf = (alg: Algorithm): PublicKey => toPublicKey(generatePrivateKey(alg, random));
const NOW = Date.UTC(2026, 0, 31, 14, 5, 7, 9);
const [space, other] = [parseSpaceId("5a".repeat(32)), parseSpaceId("5b".repeat(32))];
const root: TrustedKeyDraft = { role: "root", key: keyOf("ML-DSA-65-Ed25519") };
const seal = {
  role: "snapshot",
  key: keyOf("ML-DSA-65-Ed25519"),
  scope: ["*"],
  validFrom: NOW,
  validUntil: NOW + 10_000,
  revokedAt: NOW + 5_000,
  reason: "stolen",
} as const;
const log = { origin: "log.example", ed25519: keyOf("Ed25519"), mldsa44: keyOf("ML-DSA-44") };
const witness = { name: "w.example", ed25519: keyOf("Ed25519"), mldsa44: keyOf("ML-DSA-44") };
const first: AlgorithmEpoch = { from: 0, algs: ["ML-DSA-65-Ed25519"] };
const minAlg: TrustRoot["minAlg"] = {
  issuer: [{ from: 0, algs: ["ML-DSA-65-Ed25519", "Ed25519"] }],
  root: [first],
  snapshot: [first, { ...first, from: NOW }],
};
const draft: TrustRootDraft = {
  version: 1,
  issued: NOW,
  expires: NOW + 100_000,
  spaces: [space],
  keys: [root, seal],
  logs: [log],
  witnesses: [witness],
  witnessThreshold: 1,
  minAlg,
};
const made = (changes: Partial<TrustRootDraft> = {}): TrustRoot =>
  createTrustRoot({ ...draft, ...changes });
const sealed = (changes: Partial<TrustedKeyDraft>): TrustRoot =>
  made({ keys: [root, { ...seal, ...changes }] });

test("every change of a root is a line, if only by a millisecond", () => {
  const spare = keyOf("ML-DSA-44");
  const changes: Readonly<Record<string, TrustRoot>> = {
    issued: made({ issued: NOW + 1 }),
    expires: made({ expires: NOW + 100_001 }),
    spaces: made({ spaces: [space, other] }),
    scope: sealed({ scope: [space] }),
    validFrom: sealed({ validFrom: NOW + 1 }),
    validUntil: sealed({ validUntil: NOW + 10_001 }),
    "a validUntil beyond dates": sealed({ validUntil: Number.MAX_SAFE_INTEGER }),
    revokedAt: sealed({ revokedAt: NOW + 5_001 }),
    reason: sealed({ reason: "lost" }),
    role: sealed({ role: "issuer" }),
    "the keys of a log": made({ logs: [{ ...log, mldsa44: spare }] }),
    "the keys of a witness": made({ witnesses: [{ ...witness, mldsa44: spare }] }),
    "a key of a witness": made({ witnesses: [{ name: witness.name, ed25519: witness.ed25519 }] }),
    witnessThreshold: made({ witnessThreshold: 0 }),
    rootThreshold: made({
      keys: [root, seal, { role: "root", key: keyOf("ML-DSA-65-Ed25519") }],
      rootThreshold: 2,
    }),
    "the beginning of an epoch": made({
      minAlg: { ...minAlg, snapshot: [first, { ...first, from: NOW + 1 }] },
    }),
    "the algorithms of an epoch": made({
      minAlg: { ...minAlg, issuer: [{ from: 0, algs: ["Ed25519"] }] },
    }),
  };
  expect(rootChanges(made(), made())).toEqual([]);
  for (const [what, next] of Object.entries(changes)) {
    expect(rootChanges(made(), next).length, what).toBeGreaterThan(0);
  }
});

test("a reason can't turn the text around it", () => {
  const lines = describeRoot(sealed({ reason: "ok\u202e)nekorb" })).join("\n");
  expect(lines).toContain("ok\\u202e)nekorb");
});
