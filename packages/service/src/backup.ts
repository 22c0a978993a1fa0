// SPDX-License-Identifier: Apache-2.0
/** Making a backup of an open store: see backup-format.ts for the bytes. */
import { createHash } from "node:crypto";
import type { Store } from "@ctxmesh/model";
import {
  FRAME_HEAD_BYTES,
  KIND,
  MAGIC,
  PART_BYTES,
  TRAILER_BYTES,
  VERSION,
  encodeHead,
  sealFrame,
  startFrame,
} from "./backup-format.ts";
import type { BackupHead, BackupRecord } from "./backup-format.ts";

/** All that a store gives; its own keys, which begin with 0x00, are made anew with a new store. */
const EVERYTHING = { gte: Uint8Array.of(1), lt: new Uint8Array(64).fill(0xff) };
const COUNT_BYTES = 4;
/** Lengths of key and value. */
const RECORD_BYTES = 6;

/**
 * The bytes of a backup, a frame at a time, while the store is read and written to. It has the store as it was
 * when the first bytes were asked for, and memory for one part. Leaving the iteration releases the store's
 * snapshot. Throws what the store throws: `STORE_CORRUPT`, `STORE_FAILED`, `CLOSED`.
 */
export async function* backUp(
  store: Store,
  head: BackupHead,
): AsyncGenerator<Uint8Array, void, undefined> {
  const entries = store.scan(EVERYTHING)[Symbol.asyncIterator]();
  try {
    // The first entry before the first bytes: only a scan that was begun can be ended.
    let entry = await entries.next();
    const frames = new Frames();
    yield Buffer.concat([MAGIC, Uint8Array.of(VERSION)].map((bytes) => frames.plain(bytes)));
    yield frames.frame(KIND.head, encodeHead(head));
    let records: BackupRecord[] = [];
    let size = COUNT_BYTES;
    for (; entry.done !== true; entry = await entries.next()) {
      const bytes = RECORD_BYTES + entry.value[0].length + entry.value[1].length;
      if (records.length > 0 && size + bytes > PART_BYTES) {
        yield frames.part(records, size);
        [records, size] = [[], COUNT_BYTES];
      }
      records.push(entry.value);
      size += bytes;
    }
    if (records.length > 0) yield frames.part(records, size);
    yield frames.trailer();
  } finally {
    await entries.return?.();
  }
}

/** Frames of one file, and what its trailer says of them. */
class Frames {
  readonly #whole = createHash("sha256");
  readonly #hashes: Uint8Array[] = [];
  #records = 0;

  /** Bytes outside any frame. */
  plain(bytes: Uint8Array): Uint8Array {
    this.#whole.update(bytes);
    return bytes;
  }

  frame(kind: number, payload: Uint8Array): Uint8Array {
    const frame = startFrame(kind, payload.length);
    frame.set(payload, FRAME_HEAD_BYTES);
    return this.#sealed(frame);
  }

  part(records: readonly BackupRecord[], size: number): Uint8Array {
    const frame = startFrame(KIND.part, size);
    let at = frame.writeUInt32BE(records.length, FRAME_HEAD_BYTES);
    for (const [key, value] of records) {
      at = frame.writeUInt16BE(key.length, at);
      frame.set(key, at);
      at = frame.writeUInt32BE(value.length, at + key.length);
      frame.set(value, at);
      at += value.length;
    }
    this.#records += records.length;
    return this.#sealed(frame);
  }

  trailer(): Uint8Array {
    const counts = Buffer.alloc(TRAILER_BYTES - 32);
    // The head is the one frame that is no part.
    counts.writeUInt32BE(this.#hashes.length - 1, 0);
    counts.writeBigUInt64BE(BigInt(this.#records), 4);
    const payload = Buffer.concat([counts, ...this.#hashes, this.#whole.copy().digest()]);
    return this.frame(KIND.trailer, payload);
  }

  #sealed(frame: Buffer): Uint8Array {
    this.#hashes.push(sealFrame(frame));
    this.#whole.update(frame);
    return frame;
  }
}
