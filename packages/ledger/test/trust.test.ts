// SPDX-License-Identifier: Apache-2.0
import { generatePrivateKey, parsePrivateKey, toPublicKey } from "@ctxmesh/crypto";
import type { PublicKey } from "@ctxmesh/crypto";
import { formatTrustRoot, parseTrustRoot } from "@ctxmesh/ledger";
import type { TrustRoot } from "@ctxmesh/ledger";
import { expect, test } from "vitest";
import { assertCurrent } from "../src/trust.ts";
import { NOW, codeOf, logKeys, random, snapshotKey, spaceId, trustRoot } from "./fixture.ts";

const text = formatTrustRoot(trustRoot());
const refusal = (changed: string): string => {
  expect(changed).not.toBe(text);
  return codeOf(() => parseTrustRoot(changed));
};
/** The file with a part of its JSON changed, in the exact form again. */
const edited = (edit: (value: Record<string, never>) => void): string => {
  const value = JSON.parse(text) as Record<string, never>;
  edit(value);
  return `${JSON.stringify(value, undefined, 2)}\n`;
};

test("a trust root survives its file", () => {
  expect(parseTrustRoot(text)).toEqual(trustRoot());
  expect(formatTrustRoot(parseTrustRoot(text))).toBe(text);
});

test("only the exact form is read: no other layout, order, duplicate or unknown member", () => {
  for (const changed of [
    "",
    "{}",
    "[]",
    text.slice(0, -1),
    `${text} `,
    text.replaceAll("\n", "\r\n"),
    JSON.stringify(JSON.parse(text)),
    text.replace('"version": 1', '"version": 1,\n  "version": 1'),
    text.replace('"version": 1', '"version": 1,\n  "zzz": 1'),
    text.replace("ctxmesh-root/v1", "ctxmesh-root/v2"),
    text.replace('"version": 1', '"version": 0'),
    text.replace('"version": 1', '"version": 1.5'),
  ]) {
    expect(refusal(changed), changed).toBe("FORMAT_INVALID");
  }
});

test("a key id is computed, not believed", () => {
  const other = toPublicKey(generatePrivateKey("ML-DSA-65-Ed25519", random)).keyid;
  expect(refusal(text.replace(snapshotKey.keyid, other))).toBe("FORMAT_INVALID");
});

const sealingWith =
  (key: PublicKey): (() => TrustRoot) =>
  () =>
    trustRoot({ keys: [{ role: "snapshot", key }], logs: [] });

test("the algorithm is the role's: no other suite can be entered for it", () => {
  expect(codeOf(sealingWith(toPublicKey(logKeys.ed25519)))).toBe("POLICY_REFUSED");
  expect(codeOf(sealingWith(toPublicKey(logKeys.mldsa44)))).toBe("POLICY_REFUSED");
  expect(
    refusal(
      text.replace('"alg": "ML-DSA-65-Ed25519",\n      "jwk"', '"alg": "Ed25519",\n      "jwk"'),
    ),
  ).toBe("FORMAT_INVALID");
  expect(refusal(text.replace('"role": "snapshot"', '"role": "anything"'))).toBe("FORMAT_INVALID");
  const [ed25519, mldsa44] = [toPublicKey(logKeys.ed25519), toPublicKey(logKeys.mldsa44)];
  const swapped = [{ origin: "o", ed25519: mldsa44, mldsa44: ed25519 }];
  expect(codeOf(() => trustRoot({ logs: swapped }))).toBe("POLICY_REFUSED");
});

test("no primitive key occurs twice, not even inside a composite", () => {
  const key = toPublicKey(snapshotKey);
  const twice = [
    { role: "snapshot", key },
    { role: "snapshot", key },
  ] as const;
  expect(codeOf(() => trustRoot({ keys: twice }))).toBe("POLICY_REFUSED");
  // The Ed25519 half of the snapshot key, used as the log's own key.
  const d = Buffer.from(snapshotKey.seed.subarray(32)).toString("base64url");
  const x = Buffer.from(key.publicKey.subarray(1952)).toString("base64url");
  const half = parsePrivateKey(JSON.stringify({ kty: "OKP", crv: "Ed25519", x, d }));
  const mldsa44 = toPublicKey(logKeys.mldsa44);
  const logs = [{ origin: "o", ed25519: toPublicKey(half), mldsa44 }];
  expect(codeOf(() => trustRoot({ logs }))).toBe("POLICY_REFUSED");
});

test("a space or a log is named once, and well", () => {
  expect(codeOf(() => trustRoot({ spaces: [spaceId, spaceId] }))).toBe("FORMAT_INVALID");
  const [log] = trustRoot().logs;
  if (log === undefined) throw new Error("no log");
  const other = {
    origin: log.origin,
    ed25519: toPublicKey(generatePrivateKey("Ed25519", random)),
    mldsa44: toPublicKey(generatePrivateKey("ML-DSA-44", random)),
  };
  expect(codeOf(() => trustRoot({ logs: [log, other] }))).toBe("FORMAT_INVALID");
  expect(refusal(text.replace(log.origin, "a b"))).toBe("INPUT_INVALID");
  expect(refusal(text.replace(spaceId, spaceId.slice(2)))).toBe("INPUT_INVALID");
});

test("a malformed or secret key is refused as such", () => {
  const secret = edited((value) => {
    const [key] = value["keys"] as unknown as { jwk: Record<string, string> }[];
    // The members stay in order of name: only the secret one is wrong.
    if (key !== undefined)
      key.jwk = { alg: "ML-DSA-65-Ed25519", kty: "AKP", priv: "AAAA", pub: "AAAA" };
  });
  expect(refusal(secret)).toBe("KEY_INVALID");
  const short = edited((value) => {
    const [log] = value["logs"] as unknown as { ed25519: Record<string, string> }[];
    if (log !== undefined) log.ed25519["x"] = "AAAA";
  });
  expect(refusal(short)).toBe("KEY_INVALID");
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
