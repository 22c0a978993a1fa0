// SPDX-License-Identifier: Apache-2.0
/**
 * Cosignatures of witnesses (C2SP tlog-cosignature): lines on a log's checkpoint by others than the log.
 *
 * ```
 * — <witness> base64(keyID(4) || u64 time || Ed25519(text)(64))            type 0x04
 * — <witness> base64(keyID(4) || u64 time || ML-DSA-44(message)(2420))     type 0x06
 * text    = "cosignature/v1\ntime <seconds>\n" || body of the checkpoint
 * message = the cosigned message of note.ts, with the witness's name
 * ```
 *
 * One says: this is the largest tree that I have seen of this log as of the time, and it goes on from all that I had seen before.
 */
import { utf8Encode } from "@ctxmesh/codec";
import { createVerifier } from "@ctxmesh/crypto";
import type { PublicKey, Signer, Verifier, VerifierOptions } from "@ctxmesh/crypto";
import { MeshError } from "@ctxmesh/model";
import { equalBytes } from "./merkle.ts";
import {
  NOTE_TYPES,
  TIME_BYTES,
  cosignedMessage,
  noteKeyId,
  noteLine,
  parseCheckpoint,
  readTime,
  timeBytes,
  verifyEd25519Line,
  verifyMlDsaLine,
} from "./note.ts";
import type { Checkpoint, NoteSignature, NoteType, TreeHead } from "./note.ts";

/** The public keys of a log. */
export interface LogKeys {
  /** Name of the log, and of its keys. */
  readonly origin: string;
  /** A key of the suite `Ed25519`. */
  readonly ed25519: PublicKey;
  /** A key of the suite `ML-DSA-44`. */
  readonly mldsa44: PublicKey;
}

/** A key of a witness. A witness with two keys is listed twice, under one name. */
export interface WitnessKey {
  /** Name of the witness: a URL without its scheme. */
  readonly name: string;
  /** Of the suite `Ed25519` or `ML-DSA-44`. */
  readonly key: PublicKey;
}

/** What a checkpoint comes to once its lines are verified. */
export interface VerifiedCheckpoint {
  readonly head: TreeHead;
  /** Unix milliseconds: what the log says in its ML-DSA line, to the second. */
  readonly loggedMs: number;
  /** Names of the witnesses whose lines verify, each once, in the order of the given list. */
  readonly cosignedBy: readonly string[];
  /** The latest time of each of them, in Unix milliseconds, in the same order: what somebody else than the log says. */
  readonly cosignedMs: readonly number[];
}

/** The type of a witness's line. Throws `KEY_INVALID` for a suite that cosigns nothing. */
export function cosignatureType({ alg }: PublicKey): NoteType {
  if (alg === "Ed25519") return NOTE_TYPES.ed25519Cosignature;
  if (alg === "ML-DSA-44") return NOTE_TYPES.mlDsa44Cosignature;
  throw new MeshError("KEY_INVALID", `no cosignature type for ${alg}`);
}

/** What a key signs to cosign a checkpoint at a time. */
function messageOf(
  checkpoint: Checkpoint,
  name: string,
  type: NoteType,
  seconds: number,
): Uint8Array {
  return type === NOTE_TYPES.mlDsa44Cosignature
    ? cosignedMessage(checkpoint, name, timeBytes(seconds))
    : utf8Encode(`cosignature/v1\ntime ${String(seconds)}\n${checkpoint.note.text}`);
}

/** The line, with its newline, by which a witness cosigns a checkpoint. `seconds` is POSIX time, at least 1. Throws `KEY_INVALID`, `INPUT_INVALID`. */
export function cosignatureLine(
  checkpoint: Checkpoint,
  name: string,
  signer: Signer,
  seconds: number,
): string {
  const type = cosignatureType(signer.key);
  const time = timeBytes(seconds);
  const signature = signer.sign(messageOf(checkpoint, name, type, seconds));
  return noteLine(name, noteKeyId(name, signer.key, type), time, signature);
}

const isOf = (line: NoteSignature, name: string, keyId: Uint8Array): boolean =>
  line.name === name && equalBytes(line.keyId, keyId);

/** The POSIX time of a cosignature. Throws `SIGNATURE_INVALID`: a line that claims to be by a known key and is not spoils the note (C2SP signed-note). */
function verifyLine(
  checkpoint: Checkpoint,
  name: string,
  verifier: Verifier,
  { signature: line }: NoteSignature,
): number {
  const type = cosignatureType(verifier.key);
  const seconds = readTime(line);
  if (seconds !== undefined) {
    const message = messageOf(checkpoint, name, type, seconds);
    if (verifier.verify(message, line.subarray(TIME_BYTES))) return seconds;
  }
  throw new MeshError(
    "SIGNATURE_INVALID",
    `the ${verifier.key.alg} cosignature of ${name} does not verify`,
  );
}

/** The lines of a checkpoint by one key of a witness. */
export function linesOf(checkpoint: Checkpoint, { name, key }: WitnessKey): NoteSignature[] {
  const keyId = noteKeyId(name, key, cosignatureType(key));
  return checkpoint.note.signatures.filter((line) => isOf(line, name, keyId));
}

/** The latest POSIX time at which a key cosigned a checkpoint; undefined when it did not. Throws `SIGNATURE_INVALID` when any line of it does not verify. */
export function verifyCosignature(
  checkpoint: Checkpoint,
  witness: WitnessKey,
  options?: VerifierOptions,
): number | undefined {
  const lines = linesOf(checkpoint, witness);
  if (lines.length === 0) return undefined;
  const verifier = createVerifier(witness.key, options);
  return Math.max(...lines.map((line) => verifyLine(checkpoint, witness.name, verifier, line)));
}

/**
 * Verifies a checkpoint's text completely: both lines of its log are there and valid, and so is every line by a key of a known witness. Lines of
 * unknown keys are ignored. A witness counts once, whatever it has of lines and keys; a key counts once, under whatever names it is listed; and a log is no witness of
 * itself. How many witnesses are enough is up to the caller. With `crossCheck` a second implementation has to accept each line, too.
 *
 * Throws `LIMIT_EXCEEDED` (262,144 characters), `FORMAT_INVALID`, `INPUT_INVALID`; `POLICY_REFUSED` for another log's; `SIGNATURE_INVALID`.
 */
export function verifyCheckpoint(
  text: string,
  log: LogKeys,
  witnesses: readonly WitnessKey[] = [],
  options?: VerifierOptions,
): VerifiedCheckpoint {
  const checkpoint = parseCheckpoint(text);
  const { origin, size, root, note } = checkpoint;
  if (origin !== log.origin) {
    throw new MeshError("POLICY_REFUSED", `the checkpoint is of log ${origin}, not ${log.origin}`);
  }
  verifyEd25519Line(note, origin, createVerifier(log.ed25519, options));
  const seconds = verifyMlDsaLine(checkpoint, createVerifier(log.mldsa44, options));
  const seen = new Set([log.ed25519.keyid, log.mldsa44.keyid]);
  const times = new Map<string, number>();
  for (const witness of witnesses) {
    const { name, key } = witness;
    if (seen.has(key.keyid)) continue;
    seen.add(key.keyid);
    const time = verifyCosignature(checkpoint, witness, options);
    if (time !== undefined) times.set(name, Math.max(times.get(name) ?? 0, time * 1_000));
  }
  return {
    head: { origin, size, root },
    loggedMs: seconds * 1_000,
    cosignedBy: [...times.keys()],
    cosignedMs: [...times.values()],
  };
}

/**
 * What a witness answered (signature lines), of it the lines by its known keys, each key's first, as text to be put behind the checkpoint.
 * Throws `SIGNATURE_INVALID` when one of them does not verify or there is none, and what reading a checkpoint throws.
 */
export function acceptCosignatures(
  checkpointText: string,
  lines: string,
  keys: readonly WitnessKey[],
): string {
  const checkpoint = parseCheckpoint(`${checkpointText}${lines}`);
  let accepted = "";
  for (const witness of keys) {
    const [line] = linesOf(checkpoint, witness);
    if (line === undefined) continue;
    verifyLine(checkpoint, witness.name, createVerifier(witness.key), line);
    accepted += noteLine(line.name, line.keyId, line.signature);
  }
  if (accepted !== "") return accepted;
  throw new MeshError("SIGNATURE_INVALID", "the witness answered without a line by its keys");
}

/** A checkpoint with further lines, where it lacks them: one for each name and key id, those that it has first. Throws what reading a checkpoint throws. */
export function addLines(checkpointText: string, lines: string): string {
  const { signatures } = parseCheckpoint(`${checkpointText}${lines}`).note;
  const { note } = parseCheckpoint(checkpointText);
  const added = signatures
    .slice(note.signatures.length)
    .filter((line, i, all) => {
      const before = [...note.signatures, ...all.slice(0, i)];
      return !before.some((other) => isOf(other, line.name, line.keyId));
    })
    .map((line) => noteLine(line.name, line.keyId, line.signature));
  return `${checkpointText}${added.join("")}`;
}
