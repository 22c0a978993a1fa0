// SPDX-License-Identifier: Apache-2.0
/** The trust root in memory and in its file. Who signs it is in trust-signatures.test.ts, what it allows in trust-use.test.ts. */
import { generatePrivateKey, parsePrivateKey, toPublicKey } from "@ctxmesh/crypto";
import type { PublicKey } from "@ctxmesh/crypto";
import {
  formatRootCandidate,
  formatTrustRoot,
  parseRootCandidate,
  parseTrustRoot,
} from "@ctxmesh/ledger";
import type { TrustRoot } from "@ctxmesh/ledger";
import { describe, expect, test } from "vitest";
import {
  NOW,
  codeOf,
  logKeys,
  random,
  rootKey,
  rootSigner,
  snapshotKey,
  spaceId,
  trustRoot,
} from "./fixture.ts";

const full = trustRoot({
  keys: [
    ...trustRoot().keys,
    {
      role: "issuer",
      key: toPublicKey(generatePrivateKey("Ed25519", random)),
      scope: [`${spaceId}/line-*/press-*/**`],
      validFrom: NOW - 5,
      validUntil: NOW + 5,
      revokedAt: NOW,
      reason: "the gateway was stolen",
    },
  ],
  witnesses: [
    { name: "w.example/one", mldsa44: toPublicKey(generatePrivateKey("ML-DSA-44", random)) },
    {
      name: "w.example/two",
      ed25519: toPublicKey(generatePrivateKey("Ed25519", random)),
      mldsa44: toPublicKey(generatePrivateKey("ML-DSA-44", random)),
    },
  ],
  witnessThreshold: 2,
});
const text = formatTrustRoot(full, [rootSigner]);
const refusal = (changed: string): string => {
  expect(changed).not.toBe(text);
  return codeOf(() => parseTrustRoot(changed));
};
type Editable = Record<string, Record<string, unknown>[]> & {
  minAlg: Record<string, Record<string, unknown>[]>;
  roles: Record<string, Record<string, unknown>>;
};
/** The file with a part of its JSON changed, in the exact form again. */
const edited = (edit: (signed: Editable) => void): string => {
  const value = JSON.parse(text) as { signed: Editable };
  edit(value.signed);
  return `${JSON.stringify(value, undefined, 2)}\n`;
};
const first = (items: Record<string, unknown>[] | undefined): Record<string, unknown> =>
  items?.[0] ?? {};

describe("the file", () => {
  test("gives back the root that it was made of, and comes out the same", () => {
    expect(parseTrustRoot(text)).toEqual(full);
    expect(formatTrustRoot(parseTrustRoot(text), [rootSigner])).not.toBe(text);
    expect(formatRootCandidate(parseRootCandidate(text))).toBe(text);
  });

  test("is read in its exact form only: no other layout, order, duplicate or unknown member", () => {
    const duplicate = '"version": 1,\n    "version": 1';
    for (const changed of [
      "",
      "{}",
      "[]",
      "[".repeat(100_000),
      text.slice(0, -1),
      `${text} `,
      text.replaceAll("\n", "\r\n"),
      JSON.stringify(JSON.parse(text)),
      text.replace('"version": 1', duplicate),
      edited((signed) => (signed["zzz"] = [])),
      edited((signed) => (first(signed["keys"])["zzz"] = 1)),
      edited((signed) => (first(signed["logs"])["zzz"] = 1)),
      edited((signed) => (first(signed["witnesses"])["zzz"] = 1)),
      edited((signed) => (signed.roles["witness"] = { keyids: [], threshold: 1 })),
      edited((signed) => (signed.minAlg["witness"] = [])),
      edited((signed) => delete signed["logs"]),
      edited((signed) => (signed["keys"] = {} as never)),
      text.replace("ctxmesh-root/v2", "ctxmesh-root/v1"),
      text.replace('"version": 1', '"version": 0'),
      text.replace('"version": 1', '"version": 1.5'),
    ]) {
      expect(refusal(changed), changed.slice(0, 100)).toBe("FORMAT_INVALID");
    }
    expect(refusal(" ".repeat(2_000_000))).toBe("LIMIT_EXCEEDED");
  });

  test("a key id is computed, not believed, and roles follow from the keys", () => {
    const other = toPublicKey(generatePrivateKey("ML-DSA-65-Ed25519", random)).keyid;
    expect(refusal(text.replaceAll(snapshotKey.keyid, other))).toBe("FORMAT_INVALID");
    const { keyids } = (JSON.parse(text) as { signed: Editable }).signed.roles["snapshot"] ?? {};
    expect(keyids).toEqual([snapshotKey.keyid]);
    for (const changed of [
      edited((signed) => (signed.roles["snapshot"] = { keyids: [], threshold: 1 })),
      edited((signed) => (signed.roles["snapshot"] = { keyids, threshold: 2 })),
      edited((signed) => (signed.roles["issuer"] = { keyids, threshold: 1 })),
      edited((signed) => (signed.roles["root"] = { keyids, threshold: 1 })),
    ]) {
      expect(refusal(changed)).toBe("FORMAT_INVALID");
    }
  });

  test("an unknown algorithm or role is refused wherever it stands", () => {
    expect(refusal(edited((signed) => (first(signed["keys"])["role"] = "anything")))).toBe(
      "FORMAT_INVALID",
    );
    expect(refusal(edited((signed) => (first(signed["keys"])["alg"] = "Ed25519")))).toBe(
      "FORMAT_INVALID",
    );
    const unknown = { algs: ["ML-DSA-87"], from: 0 };
    expect(refusal(edited((signed) => (signed.minAlg["root"] = [unknown])))).toBe("FORMAT_INVALID");
    const jwk = { alg: "ML-DSA-87", kty: "AKP", pub: "AAAA" };
    expect(refusal(edited((signed) => (first(signed["keys"])["jwk"] = jwk)))).toBe("KEY_INVALID");
  });

  test("a malformed or secret key is refused as such", () => {
    // The members stay in order of name: only the secret one is wrong.
    const secret = { alg: "ML-DSA-65-Ed25519", kty: "AKP", priv: "AAAA", pub: "AAAA" };
    expect(refusal(edited((signed) => (first(signed["keys"])["jwk"] = secret)))).toBe(
      "KEY_INVALID",
    );
    const short = { crv: "Ed25519", kty: "OKP", x: "AAAA" };
    expect(refusal(edited((signed) => (first(signed["logs"])["ed25519"] = short)))).toBe(
      "KEY_INVALID",
    );
  });
});

const code = (changes: Parameters<typeof trustRoot>[0]): string => codeOf(() => trustRoot(changes));

describe("a root can't be made", () => {
  const [root, snapshot] = trustRoot().keys;
  if (root === undefined || snapshot === undefined) throw new Error("two keys are there");
  const keyWith = (changes: object): string => code({ keys: [root, { ...snapshot, ...changes }] });

  test("with a key of an algorithm that its role never allows", () => {
    const sealing = (key: PublicKey): string =>
      code({ keys: [{ role: "snapshot", key }], logs: [] });
    expect(sealing(toPublicKey(logKeys.ed25519))).toBe("POLICY_REFUSED");
    expect(sealing(toPublicKey(logKeys.mldsa44))).toBe("POLICY_REFUSED");
    const [ed25519, mldsa44] = [toPublicKey(logKeys.ed25519), toPublicKey(logKeys.mldsa44)];
    const swapped = { ed25519: mldsa44, mldsa44: ed25519 };
    expect(code({ logs: [{ origin: "o", ...swapped }] })).toBe("POLICY_REFUSED");
    expect(code({ witnesses: [{ name: "w", ed25519: mldsa44 }], logs: [] })).toBe("POLICY_REFUSED");
  });

  test("with one primitive key twice: in two roles, inside a composite, of a log or a witness", () => {
    const twice = { role: "issuer", key: snapshot.key } as const;
    expect(code({ keys: [root, snapshot, twice] })).toBe("POLICY_REFUSED");
    expect(code({ keys: [root, snapshot, snapshot] })).toBe("POLICY_REFUSED");
    // The Ed25519 half of the snapshot key, used as somebody's own.
    const d = Buffer.from(snapshotKey.seed.subarray(32)).toString("base64url");
    const x = Buffer.from(snapshot.key.publicKey.subarray(1952)).toString("base64url");
    const jwk = JSON.stringify({ kty: "OKP", crv: "Ed25519", x, d });
    const half = toPublicKey(parsePrivateKey(jwk));
    const mldsa44 = toPublicKey(logKeys.mldsa44);
    expect(code({ logs: [{ origin: "o", ed25519: half, mldsa44 }] })).toBe("POLICY_REFUSED");
    expect(code({ witnesses: [{ name: "w", ed25519: half }] })).toBe("POLICY_REFUSED");
    expect(code({ witnesses: [{ name: "w", mldsa44 }] })).toBe("POLICY_REFUSED");
    expect(code({ keys: [root, snapshot, { role: "issuer", key: half }] })).toBe("POLICY_REFUSED");
  });

  test("that names a space, a log or a witness twice, or badly", () => {
    expect(code({ spaces: [spaceId, spaceId] })).toBe("FORMAT_INVALID");
    const [log] = trustRoot().logs;
    if (log === undefined) throw new Error("no log");
    const fresh = {
      ed25519: toPublicKey(generatePrivateKey("Ed25519", random)),
      mldsa44: toPublicKey(generatePrivateKey("ML-DSA-44", random)),
    };
    expect(code({ logs: [log, { origin: log.origin, ...fresh }] })).toBe("FORMAT_INVALID");
    expect(code({ witnesses: [{ name: log.origin, ...fresh }] })).toBe("FORMAT_INVALID");
    expect(code({ witnesses: [{ name: "w" }] })).toBe("FORMAT_INVALID");
    expect(refusal(text.replace(log.origin, "a b"))).toBe("INPUT_INVALID");
    expect(refusal(edited((signed) => (signed["spaces"] = [spaceId.slice(2)] as never)))).toBe(
      "INPUT_INVALID",
    );
  });

  test("with a threshold that can't be met", () => {
    expect(code({ rootThreshold: 2 })).toBe("POLICY_REFUSED");
    expect(code({ rootThreshold: 0 })).toBe("FORMAT_INVALID");
    expect(code({ witnessThreshold: 1 })).toBe("POLICY_REFUSED");
    const former = { ...root, revokedAt: NOW, reason: "lost" };
    const keys = [
      former,
      { role: "root", key: toPublicKey(generatePrivateKey("ML-DSA-44-Ed25519", random)) },
    ] as const;
    expect(code({ keys, rootThreshold: 2 })).toBe("POLICY_REFUSED");
    expect(code({ keys })).toBe("no error");
  });

  test("with times, reasons, scopes or epochs that make no sense", () => {
    expect(keyWith({ validFrom: 10, validUntil: 10 })).toBe("FORMAT_INVALID");
    expect(keyWith({ revokedAt: NOW })).toBe("FORMAT_INVALID");
    expect(keyWith({ reason: "lost" })).toBe("FORMAT_INVALID");
    expect(keyWith({ revokedAt: NOW, reason: "a\nb" })).toBe("FORMAT_INVALID");
    expect(keyWith({ validUntil: NOW + 0.5 })).toBe("FORMAT_INVALID");
    expect(code({ issued: NOW, expires: NOW })).toBe("FORMAT_INVALID");
    for (const scope of [
      [],
      ["*", "*"],
      [""],
      ["/a"],
      ["*/"],
      ["*/a//b"],
      ["*/**/a"],
      ["*/a**"],
      ["x"],
      [`*/${"a".repeat(300)}`],
      // As long as may be, and wrong at the end: looked at once, not in each way to read it.
      [`*/${"aaa/".repeat(74)}!`],
      [`*/${"a*a/".repeat(74)}!`],
      [`*/${"a".repeat(297)}!`],
    ]) {
      expect(keyWith({ scope }), String(scope)).toBe("FORMAT_INVALID");
    }
    const epochs = (...of: TrustRoot["minAlg"]["root"]): string => {
      const { minAlg } = trustRoot();
      return code({ minAlg: { ...minAlg, root: of } });
    };
    const algs = ["ML-DSA-44-Ed25519"] as const;
    expect(epochs()).toBe("FORMAT_INVALID");
    expect(epochs({ from: 5, algs }, { from: 5, algs })).toBe("FORMAT_INVALID");
    expect(epochs({ from: 0, algs: [] })).toBe("FORMAT_INVALID");
    expect(epochs({ from: 0, algs: [...algs, ...algs] })).toBe("FORMAT_INVALID");
    expect(epochs({ from: 0, algs }, { from: 5, algs })).toBe("no error");
    expect(rootKey.alg).toBe(algs[0]);
  });
});
