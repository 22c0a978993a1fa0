// SPDX-License-Identifier: Apache-2.0
/**
 * Signed notes (C2SP signed-note v1.0.0) and log checkpoints (C2SP tlog-checkpoint) with the two
 * signature lines of a ctxmesh log, both under the log's origin as key name:
 *
 * ```
 * <origin>\n<size>\n<base64 root>\n
 * \n
 * — <origin> base64(keyID(4) || Ed25519(body)(64))                                     type 0x01
 * — <origin> base64(keyID(4) || u64 time || ML-DSA-44(cosigned message)(2420))          type 0x06 (tlog-cosignature)
 * cosigned message = "subtree/v1\n\0" || u8 len || origin || u64 time || u8 len || origin || u64 0 || u64 size || root(32)
 * keyID            = SHA-256(name || "\n" || type || public key)[:4]
 * ```
 *
 * Integers are big-endian; time is POSIX seconds and never zero. The ML-DSA line does not cover
 * extension lines of the body, so there must be none.
 */
import { toBase64, utf8Encode } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import type { PublicKey, Signer, Verifier } from "@ctxmesh/crypto";
import { LIMITS, MeshError } from "@ctxmesh/model";
import { HASH_BYTES, equalBytes } from "./merkle.ts";
import { malformed, readBase64 } from "./read.ts";

/** Signature lines read from one note; C2SP asks for 16 at least. */
const MAX_SIGNATURES = 64;
/** The time in front of a type 0x04 or 0x06 signature: u64, POSIX seconds. */
export const TIME_BYTES = 8;
const KEY_ID_BYTES = 4;
/** Printable ASCII without space and plus. */
const ORIGIN = /^[!-*,-~]{1,255}$/u;

/** A signature line. */
export interface NoteSignature {
  readonly name: string;
  readonly keyId: Uint8Array;
  readonly signature: Uint8Array;
}

/** A note in parts; `text` ends with its newline. */
export interface Note {
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

/** The head of a log's tree. */
export interface TreeHead {
  readonly origin: string;
  readonly size: number;
  readonly root: Uint8Array;
}

/** A checkpoint in parts; nothing of it is verified yet. */
export interface Checkpoint extends TreeHead {
  readonly note: Note;
}

/** The two keys of a log. */
export interface LogSigners {
  /** A key of the suite `Ed25519`. */
  readonly ed25519: Signer;
  /** A key of the suite `ML-DSA-44`. */
  readonly mldsa44: Signer;
}

/** Throws `INPUT_INVALID` unless `origin` can name a log: 1 to 255 printable ASCII characters, no space, no plus. */
export function assertOrigin(origin: string): void {
  if (!ORIGIN.test(origin)) {
    throw new MeshError(
      "INPUT_INVALID",
      `log origin ${JSON.stringify(origin.slice(0, 80))} is not 1 to 255 printable ASCII characters without space and plus`,
      { field: "origin" },
    );
  }
}

/** Signature types of C2SP signed-note: plain Ed25519, cosignatures with a time by Ed25519 and by ML-DSA-44. */
export const NOTE_TYPES = {
  ed25519: 0x01,
  ed25519Cosignature: 0x04,
  mlDsa44Cosignature: 0x06,
} as const;

/** One of {@link NOTE_TYPES}. */
export type NoteType = (typeof NOTE_TYPES)[keyof typeof NOTE_TYPES];

/** The type of a log's own line. Throws `KEY_INVALID` for a suite that signs no notes. */
export function logNoteType({ alg }: PublicKey): NoteType {
  if (alg === "Ed25519") return NOTE_TYPES.ed25519;
  if (alg === "ML-DSA-44") return NOTE_TYPES.mlDsa44Cosignature;
  throw new MeshError("KEY_INVALID", `no signed-note type for ${alg}`);
}

/** The 4-byte key id of a name and key, for a log's own line unless a type is given. Throws `KEY_INVALID` for a suite that signs no notes. */
export function noteKeyId(
  name: string,
  key: PublicKey,
  type: NoteType = logNoteType(key),
): Uint8Array {
  const named = utf8Encode(`${name}\n`);
  return sha256(named, Uint8Array.of(type), key.publicKey).slice(0, KEY_ID_BYTES);
}

/** Parses an untrusted signed note. Throws `FORMAT_INVALID` or `LIMIT_EXCEEDED`. */
export function parseNote(note: string): Note {
  if (note.length > LIMITS.checkpointBytes) {
    throw new MeshError(
      "LIMIT_EXCEEDED",
      `note of ${String(note.length)} characters is over LIMITS.checkpointBytes (${String(LIMITS.checkpointBytes)})`,
    );
  }
  // oxlint-disable-next-line no-control-regex -- the format forbids them
  if (/[\u0000-\u0009\u000b-\u001f]/u.test(note)) malformed("note holds a control character");
  const end = note.lastIndexOf("\n\n");
  if (end < 0 || !note.endsWith("\n")) malformed("note has no signature lines");
  const lines = note.slice(end + 2, -1).split("\n");
  if (lines.length > MAX_SIGNATURES) {
    malformed(`note has more than ${String(MAX_SIGNATURES)} signatures`);
  }
  const signatures = lines.map((line) => {
    const [dash, name = "", encoded, ...more] = line.split(" ");
    if (dash !== "—" || encoded === undefined || more.length > 0 || !/^[^\s+]+$/u.test(name)) {
      return malformed("note has a malformed signature line");
    }
    const bytes = readBase64(encoded, "note signature");
    if (bytes.length <= KEY_ID_BYTES) malformed("note has an empty signature");
    return { name, keyId: bytes.slice(0, KEY_ID_BYTES), signature: bytes.slice(KEY_ID_BYTES) };
  });
  return { text: note.slice(0, end + 1), signatures };
}

/** Parses an untrusted checkpoint: a note of exactly three lines. Throws `FORMAT_INVALID`, `INPUT_INVALID` or `LIMIT_EXCEEDED`. */
export function parseCheckpoint(text: string): Checkpoint {
  const note = parseNote(text);
  const [origin = "", sizeText = "", root, rest, ...more] = note.text.split("\n");
  if (root === undefined || rest !== "" || more.length > 0) {
    malformed("checkpoint is not origin, size and root on three lines");
  }
  assertOrigin(origin);
  const size = Number(sizeText);
  if (!/^(?:0|[1-9][0-9]*)$/u.test(sizeText) || !Number.isSafeInteger(size)) {
    malformed("checkpoint size is not a decimal integer");
  }
  return { origin, size, root: readBase64(root, "checkpoint root", HASH_BYTES), note };
}

const headText = ({ origin, size, root }: TreeHead): string =>
  `${origin}\n${String(size)}\n${toBase64(root)}\n`;

/** The message of a type 0x06 line by whoever has `name`: the log itself, or a witness. `time` is the line's 8 bytes. */
export function cosignedMessage(
  { origin, size, root }: TreeHead,
  name: string,
  time: Uint8Array,
): Uint8Array {
  const [cosigner, log] = [utf8Encode(name), utf8Encode(origin)];
  const range = new DataView(new ArrayBuffer(16));
  range.setBigUint64(8, BigInt(size));
  return concat(
    utf8Encode("subtree/v1\n\0"),
    Uint8Array.of(cosigner.length),
    cosigner,
    time,
    Uint8Array.of(log.length),
    log,
    new Uint8Array(range.buffer),
    root,
  );
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}

/** A time of POSIX seconds as a line has it. Throws `INPUT_INVALID` below 1. */
export function timeBytes(seconds: number): Uint8Array {
  if (!Number.isSafeInteger(seconds) || seconds < 1) {
    throw new MeshError("INPUT_INVALID", `checkpoint time ${String(seconds)} is not positive`);
  }
  const view = new DataView(new ArrayBuffer(TIME_BYTES));
  view.setBigUint64(0, BigInt(seconds));
  return new Uint8Array(view.buffer);
}

/** The time in front of a line's signature, in POSIX seconds; undefined when it is zero, too large, or not there. */
export function readTime(line: Uint8Array): number | undefined {
  if (line.length <= TIME_BYTES) return undefined;
  const seconds = Number(new DataView(line.buffer, line.byteOffset).getBigUint64(0));
  return seconds > 0 && Number.isSafeInteger(seconds) ? seconds : undefined;
}

/** A signature line with its newline; `parts` are what stands behind the key id. */
export const noteLine = (
  name: string,
  keyId: Uint8Array,
  ...parts: readonly Uint8Array[]
): string => `— ${name} ${toBase64(concat(keyId, ...parts))}\n`;

/** Signs a tree head with both keys of a log: the checkpoint's text. `time` is POSIX seconds, at least 1. */
export function signCheckpoint(head: TreeHead, signers: LogSigners, time: number): string {
  assertOrigin(head.origin);
  const timed = timeBytes(time);
  const text = headText(head);
  const line = (key: PublicKey, ...parts: Uint8Array[]): string =>
    noteLine(head.origin, noteKeyId(head.origin, key), ...parts);
  const { ed25519, mldsa44 } = signers;
  return `${text}\n${line(ed25519.key, ed25519.sign(utf8Encode(text)))}${line(
    mldsa44.key,
    timed,
    mldsa44.sign(cosignedMessage(head, head.origin, timed)),
  )}`;
}

/** The one line of a note by this name and key. Throws `SIGNATURE_INVALID` when it is missing or there twice. */
function onlyLine(note: Note, name: string, key: PublicKey): Uint8Array {
  const keyId = noteKeyId(name, key);
  const lines = note.signatures.filter(
    (line) => line.name === name && equalBytes(line.keyId, keyId),
  );
  const [line] = lines;
  if (line === undefined || lines.length > 1) {
    throw new MeshError(
      "SIGNATURE_INVALID",
      `note has ${String(lines.length)} lines of the ${key.alg} key of ${name}, not 1`,
    );
  }
  return line.signature;
}

function refuseSignature(name: string, alg: string): never {
  throw new MeshError("SIGNATURE_INVALID", `the ${alg} line of ${name} does not verify`);
}

/** Verifies the type 0x01 line of a note. Throws `SIGNATURE_INVALID`. Lines of unknown keys are ignored, as C2SP asks. */
export function verifyEd25519Line(note: Note, name: string, verifier: Verifier): void {
  const signature = onlyLine(note, name, verifier.key);
  if (!verifier.verify(utf8Encode(note.text), signature)) refuseSignature(name, "Ed25519");
}

/** Verifies the log's type 0x06 line of a checkpoint; returns its time in POSIX seconds. Throws `SIGNATURE_INVALID`. */
export function verifyMlDsaLine(checkpoint: Checkpoint, verifier: Verifier): number {
  const line = onlyLine(checkpoint.note, checkpoint.origin, verifier.key);
  const seconds = readTime(line);
  if (seconds === undefined) return refuseSignature(checkpoint.origin, "ML-DSA-44");
  const message = cosignedMessage(checkpoint, checkpoint.origin, line.subarray(0, TIME_BYTES));
  if (verifier.verify(message, line.subarray(TIME_BYTES))) return seconds;
  return refuseSignature(checkpoint.origin, "ML-DSA-44");
}
