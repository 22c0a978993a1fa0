// SPDX-License-Identifier: Apache-2.0
/** Decoding of Snappy's block format (google/snappy, format_description.txt), for the index of a table. */
import { ByteReader, damagedFile } from "./level-bytes.ts";

/** No index block of a table comes near this. */
const MAX_BYTES = 67_108_864;
const LITERAL = 0;
const COPY_1 = 1;
const COPY_2 = 2;

/** The bytes that `block` was made from. Throws `STORE_CORRUPT` naming `name`. */
export function decodeSnappy(name: string, block: Uint8Array): Uint8Array {
  const reader = new ByteReader(name, block);
  const length = reader.varint();
  if (length > MAX_BYTES) throw damagedFile(name, "a block claims to be too large");
  const output = new Uint8Array(length);
  let filled = 0;
  while (reader.left > 0) {
    const tag = reader.byte();
    if ((tag & 3) === LITERAL) {
      const literal = reader.take(literalLength(reader, tag >>> 2));
      if (literal.length > length - filled) throw damagedFile(name, "a block is too long");
      output.set(literal, filled);
      filled += literal.length;
    } else {
      const [copied, offset] = copyOf(reader, tag);
      if (offset === 0 || offset > filled || copied > length - filled) {
        throw damagedFile(name, "a block refers outside of itself");
      }
      // Byte by byte: what is copied may overlap what it makes.
      for (let i = 0; i < copied; i++, filled++) output[filled] = output[filled - offset] ?? 0;
    }
  }
  if (filled !== length) throw damagedFile(name, "a block is too short");
  return output;
}

function literalLength(reader: ByteReader, code: number): number {
  return code < 60 ? code + 1 : littleEndian(reader, code - 59) + 1;
}

function copyOf(reader: ByteReader, tag: number): readonly [length: number, offset: number] {
  if ((tag & 3) === COPY_1) {
    return [((tag >>> 2) & 7) + 4, (tag >>> 5) * 256 + reader.byte()];
  }
  return [(tag >>> 2) + 1, littleEndian(reader, (tag & 3) === COPY_2 ? 2 : 4)];
}

function littleEndian(reader: ByteReader, bytes: number): number {
  let value = 0;
  for (let i = 0; i < bytes; i++) value += reader.byte() * 2 ** (8 * i);
  return value;
}
