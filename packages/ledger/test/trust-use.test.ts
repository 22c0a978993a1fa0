// SPDX-License-Identifier: Apache-2.0
/** What a trust root allows: keys, scopes, times, algorithms, logs and witnesses. */
import { createSigner, generatePrivateKey, toPublicKey } from "@ctxmesh/crypto";
import { trustedLog, trustedVerifier, trustedWitnesses, assertCurrent } from "@ctxmesh/ledger";
import type { SignatureContext, TrustedKeyDraft } from "@ctxmesh/ledger";
import { parseDocumentName, parseSpaceId } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isInScope } from "../src/trust-scope.ts";
import {
  NOW,
  ORIGIN,
  codeOf,
  document,
  random,
  rootKey,
  snapshotKey,
  spaceId,
  trustRoot,
} from "./fixture.ts";

const otherSpace = parseSpaceId("5b".repeat(32));
const issuerKey = generatePrivateKey("Ed25519", random);

/** The answer for a key entry under a context. */
const answer = (
  entry: Partial<TrustedKeyDraft>,
  context: Partial<SignatureContext> = {},
  changes: Parameters<typeof trustRoot>[0] = {},
): string => {
  const key: TrustedKeyDraft = { role: "snapshot", key: toPublicKey(snapshotKey), ...entry };
  const root = trustRoot({ keys: [{ role: "root", key: toPublicKey(rootKey) }, key], ...changes });
  return codeOf(() =>
    trustedVerifier(root, "snapshot", snapshotKey.keyid, { atMs: NOW, space: spaceId, ...context }),
  );
};

test("a key in its role verifies what it signed, by both implementations or by the fast one", () => {
  const message = Uint8Array.of(1, 2, 3);
  const signature = createSigner(snapshotKey).sign(message);
  for (const crossCheck of [true, false]) {
    const context = { atMs: NOW, space: spaceId, crossCheck };
    const { verify, key } = trustedVerifier(trustRoot(), "snapshot", snapshotKey.keyid, context);
    expect(key.keyid).toBe(snapshotKey.keyid);
    expect(verify(message, signature)).toBe(true);
    // Either half alone, or both with one stripped, is nothing.
    expect(verify(message, signature.slice(0, 3309))).toBe(false);
    expect(verify(message, signature.slice(3309))).toBe(false);
    expect(
      verify(message, Uint8Array.from([...signature.slice(0, 3309), ...new Uint8Array(64)])),
    ).toBe(false);
  }
});

test("a key that is unknown or has another role is refused", () => {
  const context = { atMs: NOW, space: spaceId };
  for (const keyid of ["", "toString", rootKey.keyid, issuerKey.keyid]) {
    expect(codeOf(() => trustedVerifier(trustRoot(), "snapshot", keyid, context))).toBe(
      "POLICY_REFUSED",
    );
  }
  expect(codeOf(() => trustedVerifier(trustRoot(), "issuer", snapshotKey.keyid, context))).toBe(
    "POLICY_REFUSED",
  );
});

test("a key is good from its first moment until before its last", () => {
  const window = { validFrom: NOW - 10, validUntil: NOW + 10 };
  const at = (atMs: number): string => answer(window, { atMs });
  expect([NOW - 11, NOW - 10, NOW + 9, NOW + 10].map(at)).toEqual([
    "POLICY_REFUSED",
    "no error",
    "no error",
    "POLICY_REFUSED",
  ]);
});

test("a revoked key is good for what was logged before, and for nothing since", () => {
  const revoked = { validFrom: 0, revokedAt: NOW, reason: "the hub was broken into" };
  expect(answer(revoked, { atMs: NOW - 1 })).toBe("no error");
  expect(answer(revoked, { atMs: NOW })).toBe("POLICY_REFUSED");
  expect(answer(revoked, { atMs: NOW + 86_400_000 })).toBe("POLICY_REFUSED");
});

describe("from its epoch on", () => {
  const hybrid = ["ML-DSA-65-Ed25519"] as const;
  const minAlg = {
    ...trustRoot().minAlg,
    issuer: [
      { from: 1_000, algs: ["Ed25519", ...hybrid] },
      { from: NOW, algs: hybrid },
    ],
  } as const;
  const issuer = { role: "issuer", key: toPublicKey(issuerKey), validFrom: 0 } as const;
  const composite = generatePrivateKey("ML-DSA-65-Ed25519", random);
  const root = trustRoot({
    keys: [issuer, { role: "issuer", key: toPublicKey(composite), validFrom: 0 }],
    minAlg,
  });
  const at = (keyid: string, atMs: number): string =>
    codeOf(() => trustedVerifier(root, "issuer", keyid, { atMs, space: spaceId }));

  test("a classical signature is refused, and before it was good", () => {
    expect(at(issuerKey.keyid, NOW - 1)).toBe("no error");
    expect(at(issuerKey.keyid, NOW)).toBe("POLICY_REFUSED");
    expect(at(composite.keyid, NOW)).toBe("no error");
  });

  test("nothing counts before the first epoch", () => {
    expect(at(issuerKey.keyid, 999)).toBe("POLICY_REFUSED");
    expect(at(composite.keyid, 999)).toBe("POLICY_REFUSED");
    expect(at(composite.keyid, 1_000)).toBe("no error");
  });
});

test("the algorithm is the root's: an artefact that claims another one is refused", () => {
  expect(answer({}, { alg: "ML-DSA-65-Ed25519" })).toBe("no error");
  expect(answer({}, { alg: "Ed25519" })).toBe("POLICY_REFUSED");
});

describe("scope", () => {
  test("binds a key to spaces and documents", () => {
    const cases: readonly (readonly [string, boolean, boolean])[] = [
      ["*", true, true],
      [spaceId, true, true],
      [otherSpace, false, false],
      ["*/**", false, true],
      ["*/line-2/press-7", false, true],
      ["*/line-2/**", false, true],
      ["*/line-*/*-7", false, true],
      [`${spaceId}/line-2/*`, false, true],
      [`${otherSpace}/line-2/*`, false, false],
      ["*/line-2", false, false],
      ["*/line-2/press-7/**", false, false],
      ["*/*", false, false],
      ["*/line-2/press-7*7", false, false],
    ];
    for (const [scope, whole, one] of cases) {
      expect(answer({ scope: [scope] }), scope).toBe(whole ? "no error" : "POLICY_REFUSED");
      const inDocument = answer({ scope: [...new Set([otherSpace, scope])] }, { doc: document });
      expect(inDocument, scope).toBe(one ? "no error" : "POLICY_REFUSED");
    }
    expect(answer({}, { space: otherSpace })).toBe("POLICY_REFUSED");
  });

  test("matches as a regular expression would", () => {
    const part = fc.stringMatching(/^[ab.]{0,3}$/u);
    const glob = fc.array(
      fc.oneof(
        fc.constantFrom("a", "b", "*"),
        fc.tuple(part, part).map(([x, y]) => `${x}*${y}`),
      ),
      { minLength: 1, maxLength: 3 },
    );
    const name = fc.array(fc.stringMatching(/^[ab][ab.]{0,3}$/u), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(glob, fc.boolean(), name, (segments, open, doc) => {
        const all = [...segments, ...(open ? ["**"] : [])];
        const pattern = all.map((segment) =>
          segment === "**" ? ".+" : segment.replaceAll(".", "\\.").replaceAll("*", "[^/]*"),
        );
        const expected = new RegExp(`^${pattern.join("/")}$`, "u").test(doc.join("/"));
        const scope = ["*", ...all].join("/");
        expect(isInScope(scope, spaceId, parseDocumentName(doc.join("/")))).toBe(expected);
      }),
    );
  });
});

test("a root is good until the millisecond of its expiry", () => {
  const root = trustRoot({ expires: NOW });
  const at = (now: number): string =>
    codeOf(() => {
      assertCurrent(root, now);
    });
  expect(at(NOW - 1)).toBe("no error");
  expect(at(NOW)).toBe("POLICY_REFUSED");
});

test("logs are found by their origin, witnesses with all their keys", () => {
  expect(trustedLog(trustRoot(), ORIGIN).origin).toBe(ORIGIN);
  expect(codeOf(() => trustedLog(trustRoot(), "other"))).toBe("POLICY_REFUSED");
  const [ed25519, mldsa44] = [
    toPublicKey(issuerKey),
    toPublicKey(generatePrivateKey("ML-DSA-44", random)),
  ];
  const witnesses = [{ name: "w.example", ed25519, mldsa44 }];
  expect(trustedWitnesses(trustRoot({ witnesses, witnessThreshold: 1 }))).toEqual({
    threshold: 1,
    witnesses: [
      { name: "w.example", key: ed25519 },
      { name: "w.example", key: mldsa44 },
    ],
  });
});
