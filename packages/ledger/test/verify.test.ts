// SPDX-License-Identifier: Apache-2.0
import { utf8Decode, utf8Encode } from "@ctxmesh/codec";
import { createDeviceSigner, createSigner, generatePrivateKey, toPublicKey } from "@ctxmesh/crypto";
import {
  encodeBundle,
  formatTrustRoot,
  parseBundle,
  parseTrustRoot,
  verifyBundle,
} from "@ctxmesh/ledger";
import type { Bundle, TrustRoot, Verdict } from "@ctxmesh/ledger";
import { parseSpaceId } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  NOW,
  ORIGIN,
  firstHeader,
  logSigners,
  makeBundle,
  random,
  rootSigner,
  rootKey,
  snapshotKey,
  spaceId,
  trustRoot,
} from "./fixture.ts";

const root = trustRoot();
const bundle = await makeBundle();
const bytes = encodeBundle(bundle);
const other = await makeBundle();

const verify = (file: Uint8Array, under: TrustRoot = root, now: number = NOW): Verdict =>
  verifyBundle(file, under, { now });
/** `exit code, failed step` of a verdict. */
const outcome = (verdict: Verdict): string =>
  `${String(verdict.exitCode)} ${verdict.failed?.step ?? "valid"}`;
const changed = (change: Partial<Bundle>): string =>
  outcome(verify(encodeBundle({ ...bundle, ...change })));

/** Whether a file is refused as the contract says. */
const refused = (file: Uint8Array): boolean => {
  // One implementation is enough to refuse.
  const verdict = verifyBundle(file, root, { now: NOW, crossCheck: false });
  return !verdict.valid && [1, 2, 3].includes(verdict.exitCode) && verdict.failed !== undefined;
};
/** The bytes of a text with a part replaced that is really in it. */
const swap = (text: string, from: string, to: string): Uint8Array => {
  expect(text).toContain(from);
  return utf8Encode(text.replace(from, to));
};

const STEPS = [
  "bundle",
  "trust-root",
  "payload-type",
  "statement",
  "proof",
  "log",
  "checkpoint",
  "logged-time",
  "key",
  "signature",
  "inclusion",
  "witnesses",
  "policy",
  "snapshot-root",
  "leaves",
  "frontier",
  "batches",
  "decisions",
];

describe("a genuine bundle", () => {
  test("is valid, step by step, and says what was sealed", () => {
    const verdict = verify(bytes);
    expect(verdict.steps.filter((step) => !step.ok)).toEqual([]);
    expect(verdict.steps.map((step) => step.name)).toEqual(STEPS);
    expect([verdict.valid, verdict.exitCode, verdict.failed]).toEqual([true, 0, undefined]);
    expect(verdict.statement).toMatchObject({ space: spaceId, sequence: 1, leaves: 2 });
  });

  test("is valid under the trust root's file", () => {
    expect(outcome(verify(bytes, parseTrustRoot(formatTrustRoot(root, [rootSigner]))))).toBe(
      "0 valid",
    );
  });

  test("survives its file", () => {
    expect(parseBundle(bytes)).toEqual(bundle);
    expect(encodeBundle(parseBundle(bytes))).toEqual(bytes);
  });

  test("may be of an empty space", async () => {
    const empty = await makeBundle({ leaves: [], headers: [] });
    expect(outcome(verify(encodeBundle(empty)))).toBe("0 valid");
  });
});

describe("a changed bundle is never valid", () => {
  const at = fc.nat(bytes.length - 1);

  test("whatever byte is replaced by whatever other", () => {
    fc.assert(
      fc.property(at, fc.integer({ min: 1, max: 255 }), (index, change) => {
        const copy = bytes.slice();
        copy[index] = (copy[index] ?? 0) ^ change;
        expect(refused(copy)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  test("whatever base64 or hex digit is replaced by another", () => {
    const digits = utf8Encode("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=");
    fc.assert(
      fc.property(at, fc.constantFrom(...digits), (index, digit) => {
        fc.pre(bytes[index] !== digit);
        const copy = bytes.slice();
        copy[index] = digit;
        expect(refused(copy)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  test("wherever it is cut, and whatever is put in or taken out", () => {
    fc.assert(
      fc.property(at, fc.nat(20), fc.uint8Array({ maxLength: 20 }), (index, removed, added) => {
        const text = [bytes.subarray(0, index), added, bytes.subarray(index + removed)];
        const copy = Uint8Array.from(text.flatMap((part) => [...part]));
        fc.pre(Buffer.compare(copy, bytes) !== 0);
        expect(refused(copy)).toBe(true);
      }),
      { numRuns: 200 },
    );
    fc.assert(
      fc.property(at, (length) => {
        expect(outcome(verify(bytes.subarray(0, length)))).toBe("3 bundle");
      }),
      { numRuns: 30 },
    );
  });

  test("at every single byte, by its lowest bit, in a sample that leaves out no field", () => {
    // The long fields are two signatures and a payload; every 37th byte meets each of them often.
    for (let index = 0; index < bytes.length; index += 37) {
      const copy = bytes.slice();
      copy[index] = (copy[index] ?? 0) ^ 1;
      expect(refused(copy), `byte ${String(index)}`).toBe(true);
    }
  });
});

describe("each step refuses what it is for", () => {
  const envelope = utf8Decode(bundle.envelope);

  test("snapshot-root: a changed, lost or added fact, a changed salt, another order", () => {
    const [first, second] = bundle.leaves;
    if (first === undefined || second === undefined) throw new Error("two leaves expected");
    const forged = { ...first, leaf: first.leaf.replace(/"value":2/u, '"value":3') };
    expect(forged).not.toEqual(first);
    expect(changed({ leaves: [forged, second] })).toBe("1 snapshot-root");
    expect(changed({ leaves: [first] })).toBe("1 snapshot-root");
    expect(changed({ leaves: [first, second, second] })).toBe("1 snapshot-root");
    expect(changed({ leaves: [second, first] })).toBe("1 snapshot-root");
    const salted = { ...first, salt: new Uint8Array(16) };
    expect(changed({ leaves: [salted, second] })).toBe("1 snapshot-root");
  });

  test("signature: a changed statement, or a changed signature", () => {
    const { payload } = JSON.parse(envelope) as { payload: string };
    const statement = Buffer.from(payload, "base64").toString();
    const forged = Buffer.from(statement.replace('"policyEpoch":0', '"policyEpoch":1'));
    expect(forged.toString()).not.toBe(statement);
    expect(changed({ envelope: swap(envelope, payload, forged.toString("base64")) })).toBe(
      "1 signature",
    );
    const { signatures } = JSON.parse(envelope) as { signatures: { sig: string }[] };
    const sig = signatures[0]?.sig ?? "";
    const other65 = `${sig.startsWith("A") ? "B" : "A"}${sig.slice(1)}`;
    expect(changed({ envelope: swap(envelope, sig, other65) })).toBe("1 signature");
    const short = Buffer.from(sig, "base64").subarray(0, 3309).toString("base64");
    expect(changed({ envelope: swap(envelope, sig, short) })).toBe("1 signature");
  });

  test("payload-type: another payload type, or not exactly one signature", () => {
    const type = "application/vnd.in-toto+json";
    expect(changed({ envelope: swap(envelope, type, "text/plain") })).toBe("3 payload-type");
    const none = utf8Encode(envelope.replace(/"signatures":\[.*\]/u, '"signatures":[]'));
    expect(changed({ envelope: none })).toBe("3 payload-type");
    expect(changed({ envelope: utf8Encode(`${envelope} `) })).toBe("3 payload-type");
  });

  test("key: a key that the trust root does not have", async () => {
    const stranger = generatePrivateKey("ML-DSA-65-Ed25519", random);
    const sealed = encodeBundle(await makeBundle({ signer: stranger }));
    expect(outcome(verify(sealed))).toBe("2 key");
    expect(changed({ envelope: swap(envelope, snapshotKey.keyid, stranger.keyid) })).toBe("2 key");
    // The stranger's seal under the trusted key's id: the id is a hint, the signature decides.
    const claimed = swap(
      utf8Decode((await makeBundle({ signer: stranger })).envelope),
      stranger.keyid,
      snapshotKey.keyid,
    );
    expect(changed({ envelope: claimed })).toBe("1 signature");
  });

  test("logged-time: a seal that was logged after the moment that is asked about", () => {
    expect(outcome(verify(bytes, root, NOW - 600_000))).toBe("2 logged-time");
    expect(outcome(verify(bytes, root, NOW - 1_000))).toBe("0 valid");
  });

  test("key: judged at the time at which the log had the seal, not now", () => {
    const later = NOW + 60_000;
    const under = (change: Partial<TrustRoot["keys"][number]>): string => {
      const keys = [
        { role: "root", key: toPublicKey(rootKey) },
        { role: "snapshot", key: toPublicKey(snapshotKey), ...change },
      ] as const;
      return outcome(verify(bytes, trustRoot({ keys, issued: NOW + 30_000 }), later));
    };
    const validFrom = NOW - 1_000;
    expect(under({ validFrom })).toBe("0 valid");
    expect(under({ validFrom, validUntil: NOW + 1_000 })).toBe("0 valid");
    expect(under({ validFrom, revokedAt: NOW - 500, reason: "stolen" })).toBe("2 key");
    expect(under({ validFrom: validFrom - 1_000, validUntil: validFrom })).toBe("2 key");
    expect(under({ validFrom: NOW + 1_000 })).toBe("2 key");
  });

  test("trust-root: an expired one", () => {
    expect(outcome(verify(bytes, root, root.expires))).toBe("2 trust-root");
  });

  test("statement: a space that the trust root does not name", async () => {
    const foreign = await makeBundle({ space: parseSpaceId("6b".repeat(32)) });
    expect(outcome(verify(encodeBundle(foreign)))).toBe("2 statement");
  });

  test("leaves: a sealed leaf that is no fact", async () => {
    for (const leaves of [["{}"], ["not JSON"]]) {
      const sealed = encodeBundle(await makeBundle({ leaves }));
      expect(outcome(verify(sealed))).toBe("3 leaves");
    }
  });

  test("frontier: a missing, foreign, reordered or unsigned header", async () => {
    const [first, second] = bundle.headers;
    if (first === undefined || second === undefined) throw new Error("two headers expected");
    expect(changed({ headers: [first] })).toBe("1 frontier");
    expect(changed({ headers: [second, first] })).toBe("1 frontier");
    expect(changed({ headers: other.headers })).toBe("1 frontier");
    expect(changed({ headers: [first, second, second] })).toBe("1 frontier");
    const unsigned = { ...first, signature: second.signature };
    expect(changed({ headers: [unsigned, second] })).toBe("1 frontier");
    const device = createDeviceSigner(new Uint8Array(32).fill(8));
    const elsewhere = firstHeader(device, parseSpaceId("6b".repeat(32)));
    const foreign = await makeBundle({ headers: [elsewhere], leaves: [] });
    expect(outcome(verify(encodeBundle(foreign)))).toBe("1 frontier");
    const made = firstHeader(device);
    const lied = { ...made, head: { ...made.head, seq: 2 } };
    const renumbered = await makeBundle({ headers: [lied], leaves: [] });
    expect(outcome(verify(encodeBundle(renumbered)))).toBe("1 frontier");
  });

  test("frontier: another header that the same device signed for the same place", async () => {
    const device = createDeviceSigner(new Uint8Array(32).fill(9));
    const made = firstHeader(device);
    const fork = firstHeader(device, spaceId, made.head.incarnation);
    const honest = await makeBundle({ headers: [made], leaves: [] });
    expect(outcome(verify(encodeBundle(honest)))).toBe("0 valid");
    const forked = encodeBundle({ ...honest, headers: [fork.signed] });
    expect(outcome(verify(forked))).toBe("1 frontier");
  });

  test("proof and inclusion: no proof, another envelope's proof, another place", () => {
    expect(changed({ proof: "" })).toBe("3 proof");
    expect(changed({ proof: other.proof })).toBe("1 inclusion");
    expect(changed({ proof: bundle.proof.replace("index 1", "index 0") })).toBe("1 inclusion");
    expect(changed({ proof: bundle.proof.replace("\n3\n", "\n4\n") })).not.toBe("0 valid");
  });

  test("log: a log that the trust root does not name", async () => {
    const elsewhere = await makeBundle({ origin: "log.example/other" });
    expect(outcome(verify(encodeBundle(elsewhere)))).toBe("2 log");
  });

  test("checkpoint lines: either line missing, or signed by another key", async () => {
    const lines = bundle.proof.split("\n").filter((line) => line.startsWith("— "));
    const [first = "", second = ""] = lines;
    expect(changed({ proof: bundle.proof.replace(`${first}\n`, "") })).toBe("1 checkpoint");
    expect(changed({ proof: bundle.proof.replace(`${second}\n`, "") })).toBe("1 checkpoint");
    const ed25519 = createSigner(generatePrivateKey("Ed25519", random));
    const mldsa44 = createSigner(generatePrivateKey("ML-DSA-44", random));
    const forgedFirst = await makeBundle({ logSigners: { ...logSigners, ed25519 } });
    expect(outcome(verify(encodeBundle(forgedFirst)))).toBe("1 checkpoint");
    const forgedSecond = await makeBundle({ logSigners: { ...logSigners, mldsa44 } });
    expect(outcome(verify(encodeBundle(forgedSecond)))).toBe("1 checkpoint");
  });

  test("another mesh's trust root refuses by policy", () => {
    const theirs = trustRoot({
      keys: [
        { role: "snapshot", key: toPublicKey(generatePrivateKey("ML-DSA-65-Ed25519", random)) },
      ],
    });
    expect(outcome(verify(bytes, theirs))).toBe("2 key");
    expect(theirs.logs[0]?.origin).toBe(ORIGIN);
  });
});

describe("a malformed bundle is exit 3 and costs little", () => {
  const text = utf8Decode(bytes);
  test.each([
    ["nothing", ""],
    ["no JSON", "not a bundle"],
    ["another value", "[]"],
    ["an empty object", "{}"],
    ["a trailing newline", `${text}\n`],
    ["a byte order mark", `\ufeff${text}`],
    ["a space inside", text.replace(":", ": ")],
    ["a duplicate member", text.replace('{"envelope"', '{"envelope":"","envelope"')],
    ["an unknown member", `${text.slice(0, -1)},"zzz":1}`],
    ["an escape that is not canonical", text.replace("ctxmesh-bundle", "\\u0063txmesh-bundle")],
    ["a quote in a leaf that is not canonical", text.replace('\\"key\\"', '\\u0022key\\"')],
    ["a lone surrogate in a leaf", text.replace('\\"key\\"', '\\"k\\ud800y\\"')],
    ["another version", text.replace("ctxmesh-bundle/v1", "ctxmesh-bundle/v2")],
    ["a non-canonical base64 salt", text.replace(/"salt":"([^"]{22})==/u, '"salt":"$1=')],
    ["a short salt", text.replace(/"salt":"[^"]{4}([^"]{18})==/u, '"salt":"$1')],
  ])("%s", (_, file) => {
    expect(file).not.toBe(text);
    expect(outcome(verify(utf8Encode(file)))).toBe("3 bundle");
  });

  test("ill-formed UTF-8", () => {
    expect(outcome(verify(Uint8Array.of(0xff, 0xfe)))).toBe("3 bundle");
  });

  test.each([
    ["deep nesting", "[".repeat(1_000_000)],
    ["many containers", `[${"{},".repeat(500_000)}{}]`],
    ["many numbers", `[${"1,".repeat(500_000)}1]`],
  ])("%s is refused before it is parsed", (_, file) => {
    const verdict = verify(utf8Encode(file));
    expect(outcome(verdict)).toBe("3 bundle");
    expect(verdict.failed?.code).toBe("FORMAT_INVALID");
  });

  test("a bundle of the smallest leaves is read", () => {
    const leaves = Array.from({ length: 2_000 }, () => ({ leaf: "", salt: new Uint8Array(16) }));
    const small = encodeBundle({ ...bundle, leaves });
    expect(parseBundle(small).leaves.length).toBe(2_000);
  });
});
