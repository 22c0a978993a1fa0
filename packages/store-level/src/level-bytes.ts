// SPDX-License-Identifier: Apache-2.0
/** Reading of the number forms in LevelDB's files (util/coding.h), with every bound checked. */
import { MeshError } from "@ctxmesh/model";

const MAX_VARINT_BYTES = 8;

/** `STORE_CORRUPT` for a file of the store; `what` says where and why. */
export function damagedFile(name: string, what: string): MeshError {
  return new MeshError("STORE_CORRUPT", `${name}: ${what}`);
}

/** Reads forward through the bytes of one file, or of a part of it. Throws `STORE_CORRUPT` at the end of the bytes. */
export class ByteReader {
  readonly #name: string;
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #at: number;

  constructor(name: string, bytes: Uint8Array, start = 0, end: number = bytes.length) {
    this.#name = name;
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  /** Where the next read begins. */
  get at(): number {
    return this.#at;
  }

  /** Bytes left. */
  get left(): number {
    return this.#end - this.#at;
  }

  /** One byte. */
  byte(): number {
    if (this.left < 1) throw damagedFile(this.#name, "it ends too early");
    return this.#bytes[this.#at++] ?? 0;
  }

  /** A number below 2^53 in groups of seven bits, lowest first. */
  varint(): number {
    let value = 0;
    for (let i = 0; i < MAX_VARINT_BYTES; i++) {
      const byte = this.byte();
      value += (byte & 127) * 2 ** (7 * i);
      if (byte < 128 && Number.isSafeInteger(value)) return value;
      if (byte < 128) break;
    }
    throw damagedFile(this.#name, "a number is too large");
  }

  /** `length` bytes, as a view. */
  take(length: number): Uint8Array {
    if (length > this.left) throw damagedFile(this.#name, "it ends too early");
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  /** Bytes with their length before them, as a view. */
  prefixed(): Uint8Array {
    return this.take(this.varint());
  }
}

/** The 32-bit little-endian number at `at`. */
export function uint32At(bytes: Uint8Array, at: number): number {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).readUInt32LE(at);
}
