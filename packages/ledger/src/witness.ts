// SPDX-License-Identifier: Apache-2.0
/**
 * A witness (C2SP tlog-witness): cosigns a log's checkpoint when it goes on from the one before. It remembers the newest checkpoint of
 * each log, and has that on stable storage before anybody gets a line about it, so no crash makes it cosign two trees that disagree.
 *
 * ```
 * prefix || SHA-256(origin)     text of the newest checkpoint that was cosigned, with the witness's lines
 * ```
 */
import { utf8Decode, utf8Encode } from "@ctxmesh/codec";
import { createVerifier, sha256 } from "@ctxmesh/crypto";
import type { PublicKey, Signer } from "@ctxmesh/crypto";
import { LIMITS, MeshError, toHex, toMeshError } from "@ctxmesh/model";
import type { Clock, Logger, Store } from "@ctxmesh/model";
import { corrupt } from "./log-store.ts";
import { equalBytes, merkleRoot, verifyConsistency } from "./merkle.ts";
import {
  assertOrigin,
  noteKeyId,
  noteLine,
  parseCheckpoint,
  verifyEd25519Line,
  verifyMlDsaLine,
} from "./note.ts";
import type { Checkpoint } from "./note.ts";
import { cosignatureLine, cosignatureType } from "./witness-cosignature.ts";
import { TREE_SIZE_MEDIA_TYPE, parseAddCheckpoint } from "./witness-request.ts";
import type { AddCheckpoint } from "./witness-request.ts";

/** A log that a witness looks after: every one of its keys must have signed. */
export interface WitnessedLog {
  readonly origin: string;
  /** Of the suites `Ed25519` and `ML-DSA-44`; one at least, one of each at most. */
  readonly keys: readonly PublicKey[];
}

/** What {@link createWitness} needs. */
export interface WitnessOptions {
  /** Name of the witness: a URL without its scheme. */
  readonly name: string;
  /** Keys of the suites `Ed25519` and `ML-DSA-44`, used for nothing else; each adds a line. */
  readonly signers: readonly Signer[];
  readonly logs: readonly WitnessedLog[];
  readonly store: Pick<Store, "get" | "write">;
  /** The keys of the witness in the store; nothing else may use them. */
  readonly prefix: Uint8Array;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** An answer over HTTP. */
export interface WitnessAnswer {
  readonly status: 200 | 400 | 403 | 404 | 409 | 422 | 503;
  /** The media type, without parameters. */
  readonly type: string;
  readonly body: string;
}

/** A witness. */
export interface Witness {
  /**
   * Answers `POST <prefix>/add-checkpoint`, whose body is of `LIMITS.checkpointBytes` at most. Requests are carried out one after the other, 64 of
   * them wait at most. Throws what the store throws: then only a witness on the reopened store can go on.
   */
  addCheckpoint(body: Uint8Array): Promise<WitnessAnswer>;
  /** The newest checkpoint cosigned of the log whose origin has this SHA-256 (lower-case hex), with log and witness lines; undefined when there is none. */
  checkpoint(originHash: string): Promise<string | undefined>;
}

const TEXT = "text/plain";
/**
 * A tree that was cosigned is answered with the same lines for so long, Unix milliseconds: anybody may send a public checkpoint
 * again, and a signature by ML-DSA costs more than all that comes before it.
 */
const REPEAT_MS = 60_000;

/** A refusal as an answer. */
class Refusal extends Error {
  readonly answer: WitnessAnswer;

  constructor(status: WitnessAnswer["status"], message: string, type: string = TEXT) {
    super(message);
    this.answer = { status, type, body: `${message}\n` };
  }
}

function join(prefix: Uint8Array, hash: Uint8Array): Uint8Array {
  const key = new Uint8Array(prefix.length + hash.length);
  key.set(prefix);
  key.set(hash, prefix.length);
  return key;
}

class StoredWitness implements Witness {
  readonly #options: WitnessOptions;
  readonly #logs: ReadonlyMap<string, WitnessedLog>;
  /** Origins by their hash. */
  readonly #origins: ReadonlyMap<string, string>;
  /** What was answered last about each log, by origin. */
  readonly #answered = new Map<string, Answered>();
  #queue: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(options: WitnessOptions) {
    this.#options = options;
    this.#logs = new Map(options.logs.map((log) => [log.origin, log]));
    this.#origins = new Map(
      options.logs.map(({ origin }) => [toHex(sha256(utf8Encode(origin))), origin]),
    );
  }

  async addCheckpoint(body: Uint8Array): Promise<WitnessAnswer> {
    if (this.#waiting >= LIMITS.witnessQueue) {
      return new Refusal(503, "too many requests wait; come again").answer;
    }
    this.#waiting++;
    // One at a time: what is compared with the newest checkpoint is written before the next is looked at.
    const answer = this.#queue.then(async () => this.#answer(body));
    this.#queue = answer.catch(() => undefined);
    try {
      return await answer;
    } finally {
      this.#waiting--;
    }
  }

  async #answer(body: Uint8Array): Promise<WitnessAnswer> {
    try {
      const lines = await this.#cosign(readRequest(body));
      return { status: 200, type: TEXT, body: lines };
    } catch (error) {
      if (error instanceof Refusal) return error.answer;
      throw error;
    }
  }

  /** The steps of add-checkpoint, in the order of the specification. */
  async #cosign({ request, checkpoint }: Read): Promise<string> {
    const { origin, size } = checkpoint;
    const log = this.#logs.get(origin);
    if (log === undefined) throw new Refusal(404, "this witness does not know the log");
    assertSigned(checkpoint, log);
    if (request.oldSize > size) throw new Refusal(400, "the old size is over the checkpoint's");
    const known = await this.#known(origin);
    if (request.oldSize !== (known?.size ?? 0)) {
      throw new Refusal(409, String(known?.size ?? 0), TREE_SIZE_MEDIA_TYPE);
    }
    this.#assertConsistent(request, checkpoint, known);
    const { name, signers, clock, store } = this.#options;
    const now = clock.now();
    const before = this.#answered.get(origin);
    // Of this size it was this root, as was just found, or the request would have been refused.
    if (before?.size === size && known?.size === size && isOfLate(now - before.atMs)) {
      return before.lines;
    }
    const seconds = Math.max(1, Math.floor(now / 1_000));
    const lines = signers
      .map((signer) => cosignatureLine(checkpoint, name, signer, seconds))
      .join("");
    // The same tree again, at another time, adds nothing that a crash could take back.
    if (known?.size !== size) {
      const text = `${withoutForeignLines(checkpoint, log)}${lines}`;
      await store.write([{ key: this.#keyOf(origin), value: utf8Encode(text) }]);
    }
    this.#answered.set(origin, { size, lines, atMs: now });
    return lines;
  }

  #assertConsistent(
    { oldSize, proof, checkpoint: text }: AddCheckpoint,
    checkpoint: Checkpoint,
    known: Known | undefined,
  ): void {
    const { origin, size, root } = checkpoint;
    const refuse = (message: string): never => {
      this.#options.logger.warn("witness.refused", { origin, size, reason: message });
      throw new Refusal(422, message);
    };
    if (size === 0 && !equalBytes(root, merkleRoot([]))) refuse("the root of no entries is wrong");
    if (oldSize === 0 && proof.length > 0) refuse("a proof from size 0 has no hashes");
    if (known === undefined || oldSize === 0) return;
    if (oldSize === size && !equalBytes(known.root, root)) {
      // The log signed both: whoever has the two texts can show that it forked.
      this.#options.logger.error("witness.fork", { origin, known: known.text, shown: text });
      refuse("another root of the same size was cosigned");
    }
    const claim = { size1: oldSize, size2: size, root1: known.root, root2: root, proof };
    if (!verifyConsistency(claim)) refuse("the consistency proof does not verify");
  }

  #keyOf(origin: string): Uint8Array {
    return join(this.#options.prefix, sha256(utf8Encode(origin)));
  }

  /** The newest checkpoint that was cosigned. Throws `STORE_CORRUPT`. */
  async #known(origin: string): Promise<Known | undefined> {
    const stored = await this.#options.store.get(this.#keyOf(origin));
    if (stored === undefined) return undefined;
    let checkpoint: Known;
    try {
      const text = utf8Decode(stored);
      checkpoint = { ...parseCheckpoint(text), text };
    } catch (error) {
      throw corrupt(origin, "the cosigned checkpoint is unreadable", error);
    }
    if (checkpoint.origin === origin) return checkpoint;
    throw corrupt(origin, `the cosigned checkpoint is of log ${checkpoint.origin}`);
  }

  async checkpoint(originHash: string): Promise<string | undefined> {
    const origin = this.#origins.get(originHash);
    if (origin === undefined) return undefined;
    const stored = await this.#options.store.get(this.#keyOf(origin));
    return stored && utf8Decode(stored);
  }
}

/** The lines that were made about a tree, and when, Unix milliseconds. */
interface Answered {
  readonly size: number;
  readonly lines: string;
  readonly atMs: number;
}

/** Whether so much time is too little for new lines; a clock that went back gives none. */
const isOfLate = (passedMs: number): boolean => passedMs >= 0 && passedMs < REPEAT_MS;

/** A checkpoint that was cosigned, with its text. */
interface Known extends Checkpoint {
  readonly text: string;
}

/** A request whose parts could be read. */
interface Read {
  readonly request: AddCheckpoint;
  readonly checkpoint: Checkpoint;
}

function readRequest(body: Uint8Array): Read {
  try {
    const request = parseAddCheckpoint(body);
    return { request, checkpoint: parseCheckpoint(request.checkpoint) };
  } catch (error) {
    throw new Refusal(400, toMeshError(error).message);
  }
}

function assertSigned(checkpoint: Checkpoint, { origin, keys }: WitnessedLog): void {
  try {
    for (const key of keys) {
      const verifier = createVerifier(key);
      if (key.alg === "Ed25519") verifyEd25519Line(checkpoint.note, origin, verifier);
      else verifyMlDsaLine(checkpoint, verifier);
    }
  } catch (error) {
    throw new Refusal(403, toMeshError(error).message);
  }
}

/** A checkpoint with the lines of its log alone: what a witness keeps is no larger for what others added. */
function withoutForeignLines({ note, origin }: Checkpoint, { keys }: WitnessedLog): string {
  const ids = keys.map((key) => noteKeyId(origin, key));
  const lines = note.signatures
    .filter(({ name, keyId }) => name === origin && ids.some((id) => equalBytes(id, keyId)))
    .map(({ name, keyId, signature }) => noteLine(name, keyId, signature));
  return `${note.text}\n${lines.join("")}`;
}

/** Makes a witness. Throws `INPUT_INVALID` for names, and logs without keys; `KEY_INVALID` for keys of other suites, or none. */
export function createWitness(options: WitnessOptions): Witness {
  assertOrigin(options.name);
  if (options.signers.length === 0) throw new MeshError("KEY_INVALID", "a witness needs a key");
  for (const { key } of options.signers) cosignatureType(key);
  for (const { origin, keys } of options.logs) {
    assertOrigin(origin);
    for (const key of keys) cosignatureType(key);
    const suites = new Set(keys.map(({ alg }) => alg));
    if (keys.length === 0 || suites.size < keys.length) {
      throw new MeshError("INPUT_INVALID", `log ${origin} needs one key, or one of each suite`, {
        field: "logs",
      });
    }
  }
  return new StoredWitness(options);
}
