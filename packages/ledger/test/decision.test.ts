// SPDX-License-Identifier: Apache-2.0
/** Goal: a decision is its device's, bound to what was read, and verification says which signatures cover it. */
import { parseCanonicalJson, utf8Decode, utf8Encode } from "@ctxmesh/codec";
import {
  createDeviceSigner,
  createSigner,
  generatePrivateKey,
  generateSeed,
  parsePublicKey,
  toPublicKey,
} from "@ctxmesh/crypto";
import {
  createFactProver,
  decisionDocument,
  encodeBundle,
  encodeDecisionFile,
  encodeFactProof,
  factLeaf,
  isDecisionFile,
  parseDecision,
  parseDecisionFile,
  sealBatch,
  signDecision,
  verifyBundle,
} from "@ctxmesh/ledger";
import type { Decision, DecisionFile, TrustRoot, Verdict, VerifyOptions } from "@ctxmesh/ledger";
import { hlcFromMs, parseDeviceKey, parseIncarnationId, toHex } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  MALFORMED,
  NOW,
  codeOf,
  firstHeader,
  makeBundle,
  random,
  rootKey,
  snapshotKey,
  spaceId,
  trustRoot,
} from "./fixture.ts";

const device = createDeviceSigner(generateSeed(random));
const deviceKey = parseDeviceKey(toHex(device.publicKey));
const incarnation = parseIncarnationId("01".repeat(16));
const decision: Decision = {
  kind: "decision",
  space: spaceId,
  device: deviceKey,
  incarnation,
  counter: 1,
  previous: null,
  decidedAt: NOW,
  model: { model: "press-advisor", version: "1.2" },
  inputs: [
    {
      doc: "line-2/press-7",
      key: "temperature",
      version: "ab12",
      ageMs: 40,
      statements: ["0c".repeat(32)],
    },
  ],
  checks: [{ name: "below limit", passed: false, detail: "92 > 90" }],
  output: { action: "stop" },
};
const { id, envelope } = signDecision(decision, device);

/** The leaf of the fact that holds a decision. */
const leafOf = (bytes: Uint8Array, key: string, writer = deviceKey): string =>
  factLeaf(decisionDocument(deviceKey, 1), key, {
    writer,
    incarnation,
    seq: 1,
    hlc: hlcFromMs(NOW),
    deleted: false,
    value: parseCanonicalJson(utf8Decode(bytes), "decision"),
  });
const issuer = generatePrivateKey("ML-DSA-65-Ed25519", random);
const deviceJwk = {
  kty: "OKP",
  crv: "Ed25519",
  x: Buffer.from(device.publicKey).toString("base64url"),
};
const plainRoot = trustRoot();
const issuerRoot = trustRoot({
  keys: [
    { role: "root", key: toPublicKey(rootKey) },
    { role: "snapshot", key: toPublicKey(snapshotKey) },
    { role: "issuer", key: parsePublicKey(deviceJwk) },
    { role: "issuer", key: toPublicKey(issuer) },
  ],
});
const verify = (
  file: DecisionFile,
  root: TrustRoot,
  options: Partial<VerifyOptions> = {},
): Verdict => verifyBundle(encodeDecisionFile(file), root, { now: NOW, ...options });
const outcome = (verdict: Verdict): string =>
  `${String(verdict.exitCode)} ${verdict.failed?.step ?? verdict.decisions?.[0]?.strength ?? ""}`;

const bundle = await makeBundle({
  leaves: [leafOf(envelope, `decision/${id}`)],
  headers: [firstHeader(device)],
});
const prover = createFactProver(bundle);
const proof = encodeFactProof(prover.prove(decisionDocument(deviceKey, 1), `decision/${id}`));
const payload = parseDecision(envelope).envelope;
const batched = sealBatch([payload], createSigner(issuer), { sealedAt: NOW });
const [position] = batched.positions;
if (position === undefined) throw new Error("a position expected");
const batch = { ...position, envelope: batched.envelope };

describe("a decision", () => {
  test("is read back as it was signed, and its id is of what was signed, not of the signature", () => {
    const signed = parseDecision(envelope);
    expect(signed).toMatchObject({ id, record: decision });
    const other = parseDecision(envelope).envelope.signature.slice();
    other[0] = (other[0] ?? 0) ^ 1;
    const text = utf8Decode(envelope);
    const sig = Buffer.from(signed.envelope.signature).toString("base64");
    const resigned = text.replace(sig, Buffer.from(other).toString("base64"));
    expect(resigned).not.toBe(text);
    expect(parseDecision(utf8Encode(resigned)).id).toBe(id);
    expect(outcome(verify({ envelope: utf8Encode(resigned) }, issuerRoot))).toBe(
      "1 decision-signature",
    );
  });

  test("can only be signed by the device that it names", () => {
    const other = createDeviceSigner(generateSeed(random));
    expect(codeOf(() => signDecision(decision, other))).toBe("INPUT_INVALID");
  });

  test.each<[string, Partial<Decision>]>([
    ["a first one with a predecessor", { previous: "0a".repeat(32) }],
    ["a later one without", { counter: 2 }],
    ["a version that is no hex", { inputs: [{ ...decision.inputs[0], version: "x" } as never] }],
    ["a document that can't be", { inputs: [{ ...decision.inputs[0], doc: "/a" } as never] }],
    ["too many inputs", { inputs: Array.from({ length: 257 }, () => decision.inputs[0] as never) }],
  ])("is refused before it is signed: %s", (_, change) => {
    expect(codeOf(() => signDecision({ ...decision, ...change }, device))).toMatch(MALFORMED);
  });
});

describe("verification says what covers a decision", () => {
  test("one signature of an issuer of the trust root: classical", () => {
    expect(outcome(verify({ envelope }, issuerRoot))).toBe("0 classical");
  });

  test("of anybody else: nothing, exit 2", () => {
    expect(outcome(verify({ envelope }, plainRoot))).toBe("2 decision-signer");
  });

  test("a fact proof: hybrid, whoever the member was", () => {
    const verdict = verify({ envelope, proof }, plainRoot);
    expect(outcome(verdict)).toBe("0 hybrid by snapshot seal");
    expect(verdict.steps.map(({ name }) => name)).toContain("decision-sealed");
    expect(verdict.statement?.space).toBe(spaceId);
  });

  test("a batch seal by an issuer: hybrid", () => {
    expect(outcome(verify({ envelope, batch }, issuerRoot))).toBe("0 hybrid by batch seal");
    expect(outcome(verify({ envelope, batch }, plainRoot))).toBe("2 decision-batch");
  });

  test("a policy may demand it", () => {
    const policy = { hybridDecisions: true } as const;
    expect(outcome(verify({ envelope }, issuerRoot, { policy }))).toBe("2 decision-strength");
    expect(outcome(verify({ envelope, proof }, issuerRoot, { policy }))).toMatch(/^0 hybrid/u);
  });

  test("the proof of another decision, or of another writer's copy, is none of this one", async () => {
    const second = signDecision({ ...decision, decidedAt: NOW + 1 }, device);
    expect(outcome(verify({ envelope: second.envelope, proof }, issuerRoot))).toBe(
      "1 decision-sealed",
    );
    const thief = parseDeviceKey("0b".repeat(32));
    const copied = await makeBundle({
      leaves: [leafOf(envelope, `decision/${id}`, thief)],
      headers: [],
    });
    const copy = createFactProver(copied).prove(decisionDocument(deviceKey, 1), `decision/${id}`);
    expect(outcome(verify({ envelope, proof: encodeFactProof(copy) }, issuerRoot))).toBe(
      "1 decision-sealed",
    );
  });

  test("a batch seal by an issuer that was revoked since does not count by the log's word alone", () => {
    const keys = issuerRoot.keys.map((entry) =>
      entry.key.keyid === issuer.keyid
        ? { ...entry, revokedAt: NOW + 5_000, reason: "stolen" }
        : entry,
    );
    const verdict = verify({ envelope, batch, proof }, trustRoot({ keys }));
    expect(outcome(verdict)).toBe("2 decision-batch");
    expect(verdict.failed?.message).toMatch(/too few witnesses/u);
    expect(outcome(verify({ envelope, proof }, trustRoot({ keys })))).toMatch(/^0 hybrid/u);
  });

  test("the batch of another decision is none of this one", () => {
    const second = signDecision({ ...decision, decidedAt: NOW + 1 }, device);
    expect(outcome(verify({ envelope: second.envelope, batch }, issuerRoot))).toBe(
      "1 decision-batch",
    );
  });
});

const decisionsOf = async (leaves: readonly string[]): Promise<Verdict> =>
  verifyBundle(encodeBundle(await makeBundle({ leaves, headers: [] })), plainRoot, { now: NOW });

describe("decisions among sealed facts", () => {
  test("are verified and listed", async () => {
    const verdict = await decisionsOf([leafOf(envelope, `decision/${id}`)]);
    expect(verdict.decisions).toMatchObject([{ id, strength: "hybrid by snapshot seal" }]);
  });

  test("that are none take nothing from the seal, and are named", async () => {
    const misnamed = leafOf(envelope, "decision/abc");
    const verdict = await decisionsOf([leafOf(envelope, `decision/${id}`), misnamed]);
    expect(verdict.valid).toBe(true);
    expect(verdict.decisions).toHaveLength(1);
    const { detail } = verdict.steps.find(({ name }) => name === "decisions") ?? {};
    expect(detail).toMatch(/1 are none \(decision\/abc: it stands under another name/u);
  });

  test("with a number twice, or a predecessor that is another one, are said to be no chain", async () => {
    const twin = signDecision({ ...decision, decidedAt: NOW + 5 }, device);
    const next = signDecision({ ...decision, counter: 2, previous: "0a".repeat(32) }, device);
    const good = signDecision({ ...decision, counter: 2, previous: id }, device);
    const leaf = (made: typeof twin): string => leafOf(made.envelope, `decision/${made.id}`);
    const said = async (other: typeof twin): Promise<string> => {
      const { steps } = await decisionsOf([leafOf(envelope, `decision/${id}`), leaf(other)]);
      return steps.find(({ name }) => name === "decisions")?.detail ?? "";
    };
    expect(await said(twin)).toContain("1 not linked as a chain");
    expect(await said(next)).toContain("1 not linked as a chain");
    expect(await said(good)).not.toContain("chain");
  });
});

describe("a decision file", () => {
  test("survives its bytes", () => {
    for (const file of [
      { envelope },
      { envelope, proof },
      { envelope, batch },
      { envelope, batch, proof },
    ]) {
      const bytes = encodeDecisionFile(file);
      expect(isDecisionFile(bytes)).toBe(true);
      expect(parseDecisionFile(bytes)).toEqual(file);
    }
  });

  test("whatever bit of it is flipped, is not valid", () => {
    const bytes = encodeDecisionFile({ envelope, batch, proof });
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(7), (index, bit) => {
        const copy = bytes.slice();
        copy[index] = (copy[index] ?? 0) ^ (1 << bit);
        const verdict = verifyBundle(copy, issuerRoot, { now: NOW, crossCheck: false });
        expect([verdict.valid, verdict.exitCode > 0]).toEqual([false, true]);
      }),
      { numRuns: 150 },
    );
  });
});
