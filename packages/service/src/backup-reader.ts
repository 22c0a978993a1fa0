// SPDX-License-Identifier: Apache-2.0
/** Reading a backup, with every check: see backup-format.ts for the bytes. */
import { createHash } from "node:crypto";
import { MeshError, toHex, toMeshError } from "@ctxmesh/model";
import type { MeshErrorCode } from "@ctxmesh/model";
import {
  FRAME_HEAD_BYTES,
  HASH_BYTES,
  HEAD_BYTES,
  KIND,
  LONG_PART_BYTES,
  MAGIC,
  PART_BYTES,
  TRAILER_BYTES,
  VERSION,
  decodeHead,
  sha256,
} from "./backup-format.ts";
import type { BackupHead, BackupRecord } from "./backup-format.ts";

/** What a sound backup has. */
export interface BackupSummary extends BackupHead {
  readonly bytes: number;
  readonly parts: number;
  readonly records: number;
  /** Of the whole file, hex. */
  readonly sha256: string;
}

/**
 * Reads a backup to its end, however its bytes are cut into chunks, and hands the records of each part to
 * `take` once the part's own hash is right. Only when it resolves is the whole of it right. Holds one part in
 * memory. Throws `FORMAT_INVALID` for what is no backup of this version, `STORE_FORMAT` for records of another
 * format, `STORE_CORRUPT` for one that was cut off or changed, naming the part; and what `chunks` and `take` throw.
 */
export async function readBackup(
  chunks: AsyncIterable<Uint8Array>,
  take: (records: readonly BackupRecord[]) => void | Promise<void>,
): Promise<BackupSummary> {
  const source = new ByteSource(chunks);
  try {
    return await new BackupReader(source, take).run();
  } finally {
    await source.close();
  }
}

const remedies: Partial<Record<MeshErrorCode, string>> = {
  STORE_CORRUPT: "use another backup: nothing of this one can be relied on",
  FORMAT_INVALID: "use the version of ctxmesh that made it",
};
const refuse = (code: MeshErrorCode, problem: string, remedy = remedies[code]): never => {
  throw new MeshError(code, problem, remedy === undefined ? {} : { remedy });
};
const damaged = (name: string, problem: string): never =>
  refuse("STORE_CORRUPT", `${name} ${problem}`);

class BackupReader {
  readonly #source: ByteSource;
  readonly #take: (records: readonly BackupRecord[]) => void | Promise<void>;
  readonly #hashes: Uint8Array[] = [];
  #records = 0;
  #lastKey: Uint8Array = new Uint8Array(0);

  constructor(
    source: ByteSource,
    take: (records: readonly BackupRecord[]) => void | Promise<void>,
  ) {
    this.#source = source;
    this.#take = take;
  }

  async run(): Promise<BackupSummary> {
    await this.#readMagic();
    const head = await this.#readHead();
    for (;;) {
      const name = `part ${String(this.#hashes.length)}`;
      const before = this.#source.digest();
      const { kind, payload } = await this.#readFrame(name);
      if (kind === KIND.trailer) {
        this.#checkTrailer(payload, before);
        break;
      }
      const records = parseRecords(payload, name);
      this.#checkOrder(records, name);
      this.#records += records.length;
      await this.#take(records);
    }
    if ((await this.#source.upTo(1)).length > 0) damaged("the file", "goes on after its trailer");
    return {
      ...head,
      bytes: this.#source.bytes,
      // The hashes are those of the head, the parts and the trailer.
      parts: this.#hashes.length - 2,
      records: this.#records,
      sha256: toHex(this.#source.digest()),
    };
  }

  async #readMagic(): Promise<void> {
    const start = await this.#source.upTo(MAGIC.length + 1);
    if (Buffer.compare(start.subarray(0, MAGIC.length), MAGIC) !== 0) {
      refuse("FORMAT_INVALID", "it is not a backup of ctxmesh", "name a file of ctxmesh backup");
    }
    const version = start[MAGIC.length];
    if (version === undefined) damaged("the head", "is cut off");
    if (version !== VERSION) {
      refuse(
        "FORMAT_INVALID",
        `it is a backup of format ${String(version)}; this version of ctxmesh reads format ${String(VERSION)}`,
      );
    }
  }

  async #readHead(): Promise<BackupHead> {
    const { payload } = await this.#readFrame("the head");
    try {
      return decodeHead(payload);
    } catch (error) {
      const { code, message, remedy } = toMeshError(error);
      return refuse(code === "STORE_FORMAT" ? code : "FORMAT_INVALID", message, remedy);
    }
  }

  /** The next frame, whose hash is right. */
  async #readFrame(expected: string): Promise<{ kind: number; payload: Uint8Array }> {
    const start = await this.#source.upTo(FRAME_HEAD_BYTES);
    if (start.length < FRAME_HEAD_BYTES) damaged(expected, "is cut off");
    const kind = start[0] ?? 0;
    const length = Buffer.from(start).readUInt32BE(1);
    const name = kind === KIND.trailer ? "the trailer" : expected;
    if (!this.#isPossible(kind, length)) damaged(name, "has an impossible kind or length");
    const rest = await this.#source.upTo(length + HASH_BYTES);
    if (rest.length < length + HASH_BYTES) damaged(name, "is cut off");
    const payload = rest.subarray(0, length);
    const hash = sha256(start, payload);
    if (Buffer.compare(hash, rest.subarray(length)) !== 0) damaged(name, "does not match its hash");
    this.#hashes.push(hash);
    return { kind, payload };
  }

  #isPossible(kind: number, length: number): boolean {
    const frames = this.#hashes.length;
    if (frames === 0) return kind === KIND.head && length <= HEAD_BYTES;
    if (kind === KIND.trailer) return length === TRAILER_BYTES + frames * HASH_BYTES;
    return kind === KIND.part && length <= LONG_PART_BYTES;
  }

  #checkOrder(records: readonly BackupRecord[], name: string): void {
    for (const [key] of records) {
      if (key[0] === undefined || key[0] === 0 || Buffer.compare(key, this.#lastKey) <= 0) {
        damaged(name, "has a key out of order");
      }
      this.#lastKey = key;
    }
  }

  /** `before` is the hash of everything in front of the trailer. */
  #checkTrailer(payload: Uint8Array, before: Uint8Array): void {
    const counts = Buffer.from(payload);
    const hashes = this.#hashes.slice(0, -1);
    const parts = hashes.length - 1;
    if (counts.readUInt32BE(0) !== parts || counts.readBigUInt64BE(4) !== BigInt(this.#records)) {
      damaged("the trailer", `does not have the count of ${String(parts)} parts`);
    }
    for (const [index, hash] of hashes.entries()) {
      const at = 12 + index * HASH_BYTES;
      if (Buffer.compare(hash, payload.subarray(at, at + HASH_BYTES)) === 0) continue;
      damaged(index === 0 ? "the head" : `part ${String(index)}`, "is not the one in the trailer");
    }
    if (Buffer.compare(before, payload.subarray(-HASH_BYTES)) !== 0) {
      damaged("the file", "does not match its hash");
    }
  }
}

/** The records in a part's payload. Throws `STORE_CORRUPT`. */
function parseRecords(payload: Uint8Array, name: string): readonly BackupRecord[] {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length);
  const records: BackupRecord[] = [];
  let at = 4;
  const read = (lengthBytes: 2 | 4): Uint8Array => {
    const start = at + lengthBytes;
    const end = start <= bytes.length ? start + bytes.readUIntBE(at, lengthBytes) : Infinity;
    if (end > bytes.length) damaged(name, "has a record that does not end");
    at = end;
    // Plain views: slice() of a Buffer would not copy.
    return new Uint8Array(bytes.buffer, bytes.byteOffset + start, end - start);
  };
  while (at < bytes.length) records.push([read(2), read(4)]);
  const isWhole = at === bytes.length && records.length > 0;
  if (!isWhole || bytes.readUInt32BE(0) !== records.length) damaged(name, "has a wrong count");
  if (records.length > 1 && payload.length > PART_BYTES) damaged(name, "is too long");
  return records;
}

/** Takes bytes off a sequence of chunks by number, and hashes what was taken. */
class ByteSource {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #hash = createHash("sha256");
  #held: Uint8Array = new Uint8Array(0);
  /** Bytes that were taken. */
  bytes = 0;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** The next `length` bytes, or fewer where the chunks end. */
  async upTo(length: number): Promise<Uint8Array> {
    const pieces = [this.#held];
    let size = this.#held.length;
    while (size < length) {
      const next = await this.#chunks.next();
      if (next.done === true) break;
      pieces.push(next.value);
      size += next.value.length;
    }
    const all = pieces.length === 1 ? this.#held : Buffer.concat(pieces, size);
    const taken = all.subarray(0, length);
    this.#held = all.subarray(length);
    this.#hash.update(taken);
    this.bytes += taken.length;
    return taken;
  }

  /** SHA-256 of all that was taken. */
  digest(): Uint8Array {
    return new Uint8Array(this.#hash.copy().digest());
  }

  async close(): Promise<void> {
    await this.#chunks.return?.();
  }
}
