// SPDX-License-Identifier: Apache-2.0
/**
 * Decisions: what a model read, checked and concluded, signed by the device that it ran on. A DSSE envelope
 * with payloadType `application/vnd.ctxmesh.decision+json` and one Ed25519 signature over the PAE; the
 * payload is canonical JSON (RFC 8785):
 *
 * ```
 * {"kind":"decision","version":1,"space":hex32,"device":hex32,"incarnation":hex16,
 *  "counter":uint from 1,"previous":hex32|null,"decidedAt":Unix ms,
 *  "model":{"model":text,"version"?:text,"instance"?:text},
 *  "inputs":[{"doc","key","version":hex,"ageMs":uint,"statements":[hex32...]}...],
 *  "checks":[{"name":text,"passed":bool,"detail"?:text}...],"output":JSON}
 *
 * {"kind":"outcome","version":1,"space","device","incarnation","counter","previous","decidedAt","of":hex32,"outcome":JSON}
 * ```
 *
 * The id of a decision is the SHA-256 of its PAE, 64 hex digits: never of the signature. `previous` is the id
 * of the device's decision before, and `counter` counts them, outcomes too; null and 1 for its first.
 * `statements` of an input are the SHA-256 of the leaves ({@link factLeaf}) of the candidates that made up the
 * value that was read, so each can be compared with a sealed leaf; none where the key had no value.
 *
 * The envelope is kept as the value of the fact `decision/<id>` in a document of {@link decisionDocument}. A decision alone is classical: Ed25519. It is hybrid from the moment on at which a composite
 * signature covers it: a seal whose snapshot has that fact, or a batch seal.
 */
import { canonicalJson, parseCanonicalJson, utf8Decode, utf8Encode } from "@ctxmesh/codec";
import { parsePublicKey, sha256 } from "@ctxmesh/crypto";
import type { PublicKey } from "@ctxmesh/crypto";
import {
  MeshError,
  fromHex,
  parseDeviceKey,
  parseDocumentName,
  parseIncarnationId,
  parseSpaceId,
  toHex,
} from "@ctxmesh/model";
import type {
  Candidate,
  DecisionCheck,
  DeviceKey,
  DeviceSigner,
  DocumentName,
  FactSource,
  IncarnationId,
  JsonValue,
  SpaceId,
} from "@ctxmesh/model";
import { toBase64Url } from "./base64url.ts";
import { formatEnvelope, parseEnvelope, preAuthEncoding } from "./dsse.ts";
import type { Envelope } from "./dsse.ts";
import { malformed, readArray, readInteger, readMembers, readText } from "./read.ts";

/** DSSE payload type of a decision. */
export const DECISION_PAYLOAD_TYPE = "application/vnd.ctxmesh.decision+json";
/** As many as fit into one document, however long each is: `LIMITS.valueBytes` of 4 MiB. */
export const DECISIONS_PER_DOCUMENT = 64;
/** The keys of decisions in a document: this, and the id. */
export const DECISION_PREFIX = "decision/";

/** The document of a decision: `decisions/<first 16 hex digits of the device>/<number>`, from 0. */
export const decisionDocument = (device: DeviceKey, counter: number): DocumentName =>
  parseDocumentName(
    `decisions/${device.slice(0, 16)}/${String(Math.floor((counter - 1) / DECISIONS_PER_DOCUMENT))}`,
  );

const VERSION = 1;
const MAX_INPUTS = 256;
const MAX_STATEMENTS = 1_024;
const HEX_64 = /^[0-9a-f]{64}$/u;
const HEX = /^[0-9a-f]{2,128}$/u;

/** One fact that was read. */
export interface DecisionInput {
  readonly doc: string;
  readonly key: string;
  /** Version of the answer, as a read of the fact gives it; empty where there was no value. */
  readonly version: string;
  /** Age of the value when it was read, in milliseconds. */
  readonly ageMs: number;
  /** SHA-256 of the leaves behind the value, hex. */
  readonly statements: readonly string[];
}

/** What decisions and outcomes have in common. */
interface RecordBase {
  readonly space: SpaceId;
  readonly device: DeviceKey;
  readonly incarnation: IncarnationId;
  readonly counter: number;
  readonly previous: string | null;
  /** Unix milliseconds by the device's clock. */
  readonly decidedAt: number;
}

/** What a model read, checked and concluded. */
export interface Decision extends RecordBase {
  readonly kind: "decision";
  readonly model: FactSource;
  readonly inputs: readonly DecisionInput[];
  readonly checks: readonly DecisionCheck[];
  readonly output: JsonValue;
}

/** What became of a decision, told later by the same or another device. */
export interface DecisionOutcome extends RecordBase {
  readonly kind: "outcome";
  /** Id of the decision. */
  readonly of: string;
  readonly outcome: JsonValue;
}

/** A decision, or what became of one. */
export type DecisionRecord = Decision | DecisionOutcome;

/** A signed record, not verified yet. */
export interface SignedDecision {
  /** SHA-256 of the PAE, hex. */
  readonly id: string;
  readonly record: DecisionRecord;
  readonly envelope: Envelope;
}

/**
 * The leaf of a candidate (RFC 8785): what a seal covers and what an input of a decision is hashed as.
 * Members: doc, key, writer, incarnation, seq, hlc, and value or deleted, and confidence, source, ttlMs,
 * tags, basis, correlation, traceparent, targets where given.
 */
export function factLeaf(
  doc: string,
  key: string,
  candidate: Omit<Candidate, "standing" | "retraction">,
): string {
  const { writer, incarnation, seq, hlc, value, deleted } = candidate;
  const { confidence, source, ttlMs, tags, basis, correlation, traceparent, targets } = candidate;
  return canonicalJson({
    doc,
    key,
    writer,
    incarnation,
    seq,
    hlc,
    ...(deleted ? { deleted } : { value: value ?? null }),
    ...(confidence === undefined ? {} : { confidence }),
    ...(source === undefined ? {} : { source: { ...source } }),
    ...(ttlMs === undefined ? {} : { ttlMs }),
    ...(tags === undefined ? {} : { tags: [...tags] }),
    ...(basis === undefined ? {} : { basis: [...basis] }),
    ...(correlation === undefined ? {} : { correlation }),
    ...(traceparent === undefined ? {} : { traceparent }),
    ...(targets === undefined ? {} : { targets: [...targets] }),
  });
}

/** SHA-256 of a leaf's UTF-8, hex: how an input names a statement. */
export const leafDigest = (leaf: string): string => toHex(sha256(utf8Encode(leaf)));

/** The id of a decision: SHA-256 of its PAE, hex. */
export const decisionId = (payload: Uint8Array): string =>
  toHex(sha256(preAuthEncoding(DECISION_PAYLOAD_TYPE, payload)));

/** A device key as a key with an id, RFC 7638 thumbprint of its JWK. Throws `KEY_INVALID` for a weak one. */
export function deviceKeyOf(device: DeviceKey): PublicKey {
  return parsePublicKey({ kty: "OKP", crv: "Ed25519", x: toBase64Url(fromHex(device)) });
}

function recordJson(record: DecisionRecord): JsonValue {
  const { space, device, incarnation, counter, previous, decidedAt } = record;
  const base = { version: VERSION, space, device, incarnation, counter, previous, decidedAt };
  if (record.kind === "outcome") {
    return { ...base, kind: record.kind, of: record.of, outcome: record.outcome };
  }
  return {
    ...base,
    kind: record.kind,
    model: { ...record.model },
    inputs: record.inputs.map((input) => ({ ...input, statements: [...input.statements] })),
    checks: record.checks.map((check) => ({ ...check })),
    output: record.output,
  };
}

/**
 * Signs a record with the device's key: id, and the bytes of the envelope. Throws `INPUT_INVALID` for a record
 * of another device, and `FORMAT_INVALID`, `INPUT_INVALID` or `LIMIT_EXCEEDED` for one that no verifier would take.
 */
export function signDecision(
  record: DecisionRecord,
  signer: DeviceSigner,
): { readonly id: string; readonly envelope: Uint8Array } {
  if (toHex(signer.publicKey) !== record.device) {
    throw new MeshError("INPUT_INVALID", "a decision is signed by the device that it names");
  }
  const payload = utf8Encode(canonicalJson(recordJson(record)));
  parseRecord(payload);
  const signature = signer.sign(preAuthEncoding(DECISION_PAYLOAD_TYPE, payload));
  const { keyid } = deviceKeyOf(record.device);
  const parts = { payload, payloadType: DECISION_PAYLOAD_TYPE, keyid, signature };
  return { id: decisionId(payload), envelope: formatEnvelope(parts) };
}

const readHash = (value: JsonValue, what: string): string => {
  const text = readText(value, what);
  return HEX_64.test(text) ? text : malformed(`${what} is not 64 lower-case hex digits`);
};

/** An object with the given members, and of the optional ones any. */
function readSome<Name extends string, Other extends string>(
  value: JsonValue | undefined,
  names: readonly Name[],
  optional: readonly Other[],
  what: string,
): Readonly<Record<Name, JsonValue> & Partial<Record<Other, JsonValue>>> {
  const isThere = (name: Other): boolean =>
    typeof value === "object" && value !== null && Object.hasOwn(value, name);
  const there = optional.filter(isThere);
  return readMembers<Name | Other>(value, [...names, ...there], what);
}

function readModel(value: JsonValue): FactSource {
  const what = "decision.model";
  const { model, version, instance } = readSome(value, ["model"], ["version", "instance"], what);
  return {
    model: readText(model, `${what}.model`),
    ...(version === undefined ? {} : { version: readText(version, `${what}.version`) }),
    ...(instance === undefined ? {} : { instance: readText(instance, `${what}.instance`) }),
  };
}

function readInput(value: JsonValue, i: number): DecisionInput {
  const what = `decision.inputs[${String(i)}]`;
  const names = ["ageMs", "doc", "key", "statements", "version"] as const;
  const input = readMembers(value, names, what);
  const version = readText(input.version, `${what}.version`);
  if (version !== "" && !HEX.test(version)) malformed(`${what}.version is not hex`);
  return {
    doc: parseDocumentName(readText(input.doc, `${what}.doc`)),
    key: readText(input.key, `${what}.key`),
    version,
    ageMs: readInteger(input.ageMs, 0, `${what}.ageMs`),
    statements: readArray(input.statements, MAX_STATEMENTS, `${what}.statements`).map((item) =>
      readHash(item, `${what}.statements`),
    ),
  };
}

function readCheck(value: JsonValue, i: number): DecisionCheck {
  const what = `decision.checks[${String(i)}]`;
  const { name, passed, detail } = readSome(value, ["name", "passed"], ["detail"], what);
  return {
    name: readText(name, `${what}.name`),
    passed: typeof passed === "boolean" ? passed : malformed(`${what}.passed is no boolean`),
    ...(detail === undefined ? {} : { detail: readText(detail, `${what}.detail`) }),
  };
}

const BASE = ["counter", "decidedAt", "device", "incarnation", "kind"] as const;
const MORE_BASE = ["previous", "space", "version"] as const;

function parseRecord(payload: Uint8Array): DecisionRecord {
  const value = parseCanonicalJson(utf8Decode(payload), "decision");
  const isOutcome =
    typeof value === "object" && value !== null && "kind" in value && value["kind"] === "outcome";
  const own = isOutcome
    ? (["of", "outcome"] as const)
    : (["checks", "inputs", "model", "output"] as const);
  const names = [...BASE, ...MORE_BASE, ...own];
  const found = readMembers<string>(value, names, "decision");
  const member = (name: string): JsonValue => found[name] ?? null;
  if (!isOutcome && found["kind"] !== "decision") malformed("decision.kind is not known");
  if (found["version"] !== VERSION) malformed("decision.version is not 1");
  const counter = readInteger(found["counter"], 1, "decision.counter");
  const previous = member("previous");
  if ((previous === null) !== (counter === 1)) {
    malformed("decision.previous must be null exactly when decision.counter is 1");
  }
  const base = {
    space: parseSpaceId(readText(member("space"), "decision.space")),
    device: parseDeviceKey(readText(member("device"), "decision.device")),
    incarnation: parseIncarnationId(readText(member("incarnation"), "decision.incarnation")),
    counter,
    previous: previous === null ? null : readHash(previous, "decision.previous"),
    decidedAt: readInteger(found["decidedAt"], 0, "decision.decidedAt"),
  };
  if (isOutcome) {
    return {
      ...base,
      kind: "outcome",
      of: readHash(member("of"), "decision.of"),
      outcome: member("outcome"),
    };
  }
  return {
    ...base,
    kind: "decision",
    model: readModel(member("model")),
    inputs: readArray(found["inputs"], MAX_INPUTS, "decision.inputs").map(readInput),
    checks: readArray(found["checks"], MAX_INPUTS, "decision.checks").map(readCheck),
    output: member("output"),
  };
}

/** Parses untrusted bytes of a decision's envelope; nothing is verified yet. Throws `FORMAT_INVALID`, `INPUT_INVALID` or `LIMIT_EXCEEDED`. */
export function parseDecision(bytes: Uint8Array): SignedDecision {
  const envelope = parseEnvelope(bytes);
  if (envelope.payloadType !== DECISION_PAYLOAD_TYPE) {
    malformed(`decision.payloadType is not ${DECISION_PAYLOAD_TYPE}`);
  }
  const record = parseRecord(envelope.payload);
  if (envelope.keyid !== deviceKeyOf(record.device).keyid) {
    malformed("decision.keyid is not that of its device");
  }
  return { id: decisionId(envelope.payload), record, envelope };
}
