// SPDX-License-Identifier: Apache-2.0
/**
 * Makes the files that docs/FORMATS.md explains: `node --conditions=@ctxmesh/source scripts/make-format-examples.ts FOLDER`.
 * The keys are of no worth: their seeds are counted up from 1, so that anybody can make other files that belong to these.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import {
  canonicalJson,
  encodeBatch,
  encodeBody,
  encodeHeader,
  headerSigningInput,
  parseCanonicalJson,
  utf8Decode,
} from "@ctxmesh/codec";
import {
  createDeviceSigner,
  createSigner,
  generatePrivateKey,
  sha256,
  toPublicKey,
} from "@ctxmesh/crypto";
import { encodeFrame } from "@ctxmesh/facts";
import type { FactRecord } from "@ctxmesh/facts";
import {
  buildSnapshot,
  createFactProver,
  createTrustRoot,
  decisionDocument,
  encodeBundle,
  encodeDecisionFile,
  encodeFactProof,
  factLeaf,
  formatTrustRoot,
  leafDigest,
  openLog,
  sealSnapshot,
  signDecision,
  snapshotEntry,
} from "@ctxmesh/ledger";
import {
  hlcFromMs,
  parseDeviceKey,
  parseDocumentName,
  parseHeaderHash,
  parseIncarnationId,
  parseSpaceId,
  toHex,
} from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import { createMemoryStore, createVirtualClock } from "@ctxmesh/testing";

const SEALED_AT = Date.UTC(2026, 0, 31, 14, 5);
const YEARS_MS = 20 * 365 * 86_400_000;
const ORIGIN = "log.example.org/plant-7";
let next = 1;
/** Bytes that count up, a new run of them for each call. */
const random = {
  bytes: (length: number): Uint8Array => Uint8Array.from({ length }, () => next++ % 256),
};

const space = parseSpaceId(toHex(random.bytes(32)));
const device = createDeviceSigner(random.bytes(32));
const writer = parseDeviceKey(toHex(device.publicKey));
const incarnation = parseIncarnationId(toHex(random.bytes(16)));
const keys = {
  root: generatePrivateKey("ML-DSA-65-Ed25519", random),
  snapshot: generatePrivateKey("ML-DSA-65-Ed25519", random),
  ed25519: generatePrivateKey("Ed25519", random),
  mldsa44: generatePrivateKey("ML-DSA-44", random),
};

const press = parseDocumentName("line-2/press-7");
const leafOf = (doc: string, { seq, hlc, key, valueJson, tags }: FactRecord): string =>
  factLeaf(doc, key, {
    writer,
    incarnation,
    seq,
    hlc,
    deleted: false,
    value: JSON.parse(valueJson ?? "null") as JsonValue,
    ...(tags === undefined ? {} : { tags }),
  });
const records: readonly FactRecord[] = [
  { key: "temperature", seq: 1, hlc: hlcFromMs(SEALED_AT - 3_000), valueJson: "92.5" },
  { key: "limit", seq: 2, hlc: hlcFromMs(SEALED_AT - 2_000), valueJson: "90" },
];
const leaves = records.map((record) => leafOf(press, record));

const decision = signDecision(
  {
    kind: "decision",
    space,
    device: writer,
    incarnation,
    counter: 1,
    previous: null,
    decidedAt: SEALED_AT - 1_000,
    model: { model: "press-advisor", version: "1.2" },
    inputs: records.map(({ key, hlc }, i) => ({
      doc: press,
      key,
      version: toHex(sha256(new TextEncoder().encode(String(hlc)))).slice(0, 32),
      ageMs: 2_000 - 1_000 * i,
      statements: [leafDigest(leaves[i] ?? "")],
    })),
    checks: [{ name: "below limit", passed: false, detail: "92.5 > 90" }],
    output: { action: "stop" },
  },
  device,
);
const decisions = decisionDocument(writer, 1);
const kept: FactRecord = {
  key: `decision/${decision.id}`,
  seq: 1,
  hlc: hlcFromMs(SEALED_AT - 1_000),
  valueJson: canonicalJson(parseCanonicalJson(utf8Decode(decision.envelope), "decision")),
  tags: ["decision"],
};

const bodies = [
  encodeBody(encodeFrame({ from: 0, to: 2, records })),
  encodeBody(encodeFrame({ from: 0, to: 1, records: [kept] })),
];
const header = encodeHeader({
  space,
  replica: writer,
  incarnation,
  seq: 1,
  prev: null,
  hlc: kept.hlc,
  epoch: 0,
  deps: [],
  client: 0,
  sections: [press, decisions].map((doc, i) => ({
    doc,
    gen: 0,
    kind: "facts",
    from: 0,
    to: 2 - i,
    bodyHash: sha256(bodies[i] ?? new Uint8Array(0)),
    bodyLen: bodies[i]?.length ?? 0,
    keyId: null,
  })),
});
const signature = device.sign(headerSigningInput(header));
const hash = parseHeaderHash(toHex(sha256(header)));

const snapshot = buildSnapshot([...leaves, leafOf(decisions, kept)], random);
const envelope = sealSnapshot({
  signer: createSigner(keys.snapshot),
  snapshot,
  hub: parseDeviceKey(toHex(createDeviceSigner(random.bytes(32)).publicKey)),
  space,
  sequence: 1,
  previous: null,
  frontier: [{ replica: writer, incarnation, seq: 1, hash }],
  policyEpoch: 0,
  asOf: kept.hlc,
  sealedAt: SEALED_AT,
});
const log = await openLog({
  store: createMemoryStore(),
  prefix: new Uint8Array(0),
  origin: ORIGIN,
  signers: { ed25519: createSigner(keys.ed25519), mldsa44: createSigner(keys.mldsa44) },
  clock: createVirtualClock(SEALED_AT),
});
await log.append(snapshotEntry(new Uint8Array(0)));
const { proof } = await log.append(snapshotEntry(envelope));
const bundle = { leaves: snapshot.leaves, envelope, proof, headers: [{ header, signature }] };
const root = createTrustRoot({
  version: 1,
  issued: SEALED_AT - 86_400_000,
  expires: SEALED_AT + YEARS_MS,
  spaces: [space],
  keys: [
    { role: "root", key: toPublicKey(keys.root) },
    { role: "snapshot", key: toPublicKey(keys.snapshot) },
  ],
  logs: [
    { origin: ORIGIN, ed25519: toPublicKey(keys.ed25519), mldsa44: toPublicKey(keys.mldsa44) },
  ],
});
const prover = createFactProver(bundle);
const prove = (doc: string, key: string): Uint8Array => encodeFactProof(prover.prove(doc, key));

const files: Readonly<Record<string, Uint8Array | string>> = {
  "root.json": formatTrustRoot(root, [createSigner(keys.root)]),
  "bundle.json": encodeBundle({
    ...bundle,
    batches: [encodeBatch({ headerBytes: header, signature, bodies })],
  }),
  "temperature.proof": prove(press, "temperature"),
  "decision.json": encodeDecisionFile({
    envelope: decision.envelope,
    proof: prove(decisions, kept.key),
  }),
};
const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error("which folder?");
for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
