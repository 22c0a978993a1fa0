// SPDX-License-Identifier: Apache-2.0
/** Byte reader and writer of the frame format: LEB128 integers, length-prefixed UTF-8, IEEE doubles. */
import { MeshError } from "@ctxmesh/model";

const ENCODER = new TextEncoder();
const STRICT_UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const INITIAL_BYTES = 256;
/** 2^53 - 1 needs 8 groups of 7 bits. */
const MAX_VARINT_BYTES = 8;
/** UTF-8 needs at most 3 bytes per UTF-16 code unit. */
const MAX_UTF8_PER_UNIT = 3;

/** Bytes of an unsigned LEB128 integer below 2^28, as lengths are. */
const varintBytes = (value: number): number =>
  value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : 4;

/** Appends to a growing buffer. */
export class ByteWriter {
  #buffer: Uint8Array<ArrayBuffer> = new Uint8Array(INITIAL_BYTES);
  #length = 0;

  #reserve(extra: number): void {
    const needed = this.#length + extra;
    if (needed <= this.#buffer.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#buffer.length * 2));
    grown.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = grown;
  }

  /** One byte. */
  u8(value: number): void {
    this.#reserve(1);
    this.#buffer[this.#length++] = value;
  }

  /** An unsigned safe integer, 7 bits a byte, low bits first, as short as it can be. */
  uvarint(value: number): void {
    this.#reserve(MAX_VARINT_BYTES);
    let rest = value;
    while (rest >= 0x80) {
      this.#buffer[this.#length++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#buffer[this.#length++] = rest;
  }

  /** An IEEE 754 double, little-endian. */
  f64(value: number): void {
    this.#reserve(8);
    new DataView(this.#buffer.buffer).setFloat64(this.#length, value, true);
    this.#length += 8;
  }

  /** The UTF-8 length as a uvarint, then the bytes. */
  text(value: string): void {
    const most = value.length * MAX_UTF8_PER_UNIT;
    this.#reserve(MAX_VARINT_BYTES + most);
    // Most texts are ASCII, so the length of the length is guessed from that and corrected when wrong.
    const guessed = varintBytes(value.length);
    const start = this.#length;
    const { written } = ENCODER.encodeInto(value, this.#buffer.subarray(start + guessed));
    const needed = varintBytes(written);
    if (needed !== guessed) {
      this.#buffer.copyWithin(start + needed, start + guessed, start + guessed + written);
    }
    this.uvarint(written);
    this.#length = start + needed + written;
  }

  /** Bytes as they are. */
  bytes(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** A copy of what was written. */
  finish(): Uint8Array {
    return this.#buffer.slice(0, this.#length);
  }
}

/** Reads untrusted bytes; every method throws `FORMAT_INVALID` at the end or on a non-canonical form. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Bytes not yet read. */
  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  /** Refuses the frame. */
  fail(problem: string): never {
    throw new MeshError("FORMAT_INVALID", `facts frame: ${problem} at byte ${String(this.#at)}`, {
      field: "frame",
    });
  }

  #take(length: number): number {
    if (length > this.remaining) this.fail("ends early");
    const at = this.#at;
    this.#at += length;
    return at;
  }

  /** One byte. */
  u8(): number {
    return this.#bytes[this.#take(1)] ?? 0;
  }

  /** An unsigned safe integer in its shortest form. */
  uvarint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < MAX_VARINT_BYTES; i++) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (byte === 0 && i > 0) this.fail("has a long integer");
        if (!Number.isSafeInteger(value)) this.fail("has an integer over 2^53");
        return value;
      }
      scale *= 0x80;
    }
    return this.fail("has an integer over 2^53");
  }

  /** An IEEE 754 double, little-endian. */
  f64(): number {
    return this.#view.getFloat64(this.#take(8), true);
  }

  /** A copy of the next `length` bytes. */
  bytes(length: number): Uint8Array {
    const at = this.#take(length);
    return this.#bytes.slice(at, at + length);
  }

  /** Length-prefixed, well-formed UTF-8 of at most `maxBytes`. */
  text(maxBytes: number, what: string): string {
    const length = this.uvarint();
    if (length > maxBytes) this.fail(`has a ${what} over ${String(maxBytes)} bytes`);
    const at = this.#take(length);
    try {
      return STRICT_UTF8.decode(this.#bytes.subarray(at, at + length));
    } catch {
      return this.fail(`has a ${what} that is not UTF-8`);
    }
  }
}
