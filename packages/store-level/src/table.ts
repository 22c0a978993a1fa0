// SPDX-License-Identifier: Apache-2.0
/**
 * LevelDB's tables (`.ldb`), read without LevelDB: as it is built here, it looks at none of their
 * checksums, takes a zeroed page for an empty block, so that records read as never written, and
 * ends the process on some damage. Here every byte counts: it belongs to a block with its CRC-32C,
 * or to the fixed form of the footer. Format: table/format.h and doc/table_format.md of LevelDB 1.20.
 *
 * A table is `data blocks, filter block, metaindex block, index block, footer`, each block followed
 * by a type byte (0 plain, 1 Snappy) and a masked CRC over both. Keys have 8 bytes at their end:
 * sequence number * 256 + type (0 deletion, 1 value), little endian.
 */
import { maskedCrc32c } from "./crc32c.ts";
import { ByteReader, damagedFile, uint32At } from "./level-bytes.ts";
import type { TableFacts } from "./manifest.ts";
import { decodeSnappy } from "./snappy.ts";

const FOOTER_BYTES = 48;
/** What follows each block: type and checksum. */
export const TRAILER_BYTES = 5;
const MAGIC = "57fb808b247547db";
const PLAIN = 0;
const SNAPPY = 1;
const WORD_BYTES = 4;

/** A block's place in the file. */
export interface BlockHandle {
  readonly offset: number;
  /** Bytes, without the trailer. */
  readonly size: number;
}

/** An entry of a block. */
export type BlockEntry = readonly [key: Uint8Array, value: Uint8Array];

/** Throws `STORE_CORRUPT`, naming `name` and the place, unless `bytes` are the table that `facts` tell of, without damage. */
export function checkTable(name: string, bytes: Uint8Array, facts: TableFacts): void {
  if (bytes.length !== facts.bytes) {
    throw damagedFile(name, `it has ${String(bytes.length)} bytes, not ${String(facts.bytes)}`);
  }
  const { metaindex, index } = readFooter(name, bytes);
  const data = handlesIn(name, bytes, index);
  let at = 0;
  for (const block of [...data, ...handlesIn(name, bytes, metaindex), metaindex, index]) {
    if (block.offset !== at) throw damagedFile(name, `there is no block at ${String(at)}`);
    checkBlock(name, bytes, block);
    at += block.size + TRAILER_BYTES;
  }
  if (at !== bytes.length - FOOTER_BYTES)
    throw damagedFile(name, `there is a gap at ${String(at)}`);
  const [first, last] = [data[0], data.at(-1)];
  const smallest = first && entriesIn(name, bytes, first)[0]?.[0];
  const largest = last && entriesIn(name, bytes, last).at(-1)?.[0];
  if (!isSame(smallest, facts.smallest) || !isSame(largest, facts.largest)) {
    throw damagedFile(name, "it is another table");
  }
}

const isSame = (a: Uint8Array | undefined, b: Uint8Array): boolean =>
  a !== undefined && Buffer.compare(a, b) === 0;

/** The data blocks of a table. Throws `STORE_CORRUPT` when its footer or index is damaged. */
export function dataBlocks(name: string, bytes: Uint8Array): readonly BlockHandle[] {
  return handlesIn(name, bytes, readFooter(name, bytes).index);
}

/** The entries of one block. Throws `STORE_CORRUPT` when it is damaged. */
export function entriesIn(name: string, bytes: Uint8Array, handle: BlockHandle): BlockEntry[] {
  const block = contentOf(name, bytes, handle);
  const restarts = block.length < WORD_BYTES ? 0 : uint32At(block, block.length - WORD_BYTES);
  const end = block.length - WORD_BYTES - restarts * WORD_BYTES;
  const reader = new ByteReader(name, block, 0, end);
  const entries: BlockEntry[] = [];
  let previous: Uint8Array = new Uint8Array(0);
  while (reader.left > 0) {
    const shared = reader.varint();
    const [rest, valueBytes] = [reader.varint(), reader.varint()];
    const key = Buffer.concat([previous.subarray(0, shared), reader.take(rest)]);
    if (key.length !== shared + rest) throw damagedFile(name, "a key has no beginning");
    entries.push([key, reader.take(valueBytes)]);
    previous = key;
  }
  return entries;
}

function readFooter(name: string, bytes: Uint8Array): Record<"metaindex" | "index", BlockHandle> {
  const start = bytes.length - FOOTER_BYTES;
  if (start < 0) throw damagedFile(name, "it is too short for a table");
  const reader = new ByteReader(name, bytes, start, bytes.length - MAGIC.length / 2);
  const [metaindex, index] = [readHandle(reader), readHandle(reader)];
  const padding = reader.take(reader.left);
  const magic = Buffer.from(bytes.subarray(bytes.length - MAGIC.length / 2)).toString("hex");
  if (magic !== MAGIC || padding.some((byte) => byte !== 0)) {
    throw damagedFile(name, "its footer is not that of a table");
  }
  return { metaindex, index };
}

const readHandle = (reader: ByteReader): BlockHandle => ({
  offset: reader.varint(),
  size: reader.varint(),
});

function checkBlock(name: string, bytes: Uint8Array, { offset, size }: BlockHandle): void {
  const end = offset + size;
  if (end + TRAILER_BYTES > bytes.length) {
    throw damagedFile(name, `the block at ${String(offset)} goes past the end`);
  }
  if (maskedCrc32c(bytes, offset, end + 1) !== uint32At(bytes, end + 1)) {
    throw damagedFile(name, `the block at ${String(offset)} does not match its checksum`);
  }
}

function contentOf(name: string, bytes: Uint8Array, handle: BlockHandle): Uint8Array {
  checkBlock(name, bytes, handle);
  const end = handle.offset + handle.size;
  const block = bytes.subarray(handle.offset, end);
  if (bytes[end] === PLAIN) return block;
  if (bytes[end] === SNAPPY) return decodeSnappy(name, block);
  throw damagedFile(name, `the block at ${String(handle.offset)} has an unknown type`);
}

/** The handles that are the values of an index or metaindex block. */
const handlesIn = (name: string, bytes: Uint8Array, block: BlockHandle): BlockHandle[] =>
  entriesIn(name, bytes, block).map(([, value]) => readHandle(new ByteReader(name, value)));
