// SPDX-License-Identifier: Apache-2.0
/** Byte reader and writer of the frame format: LEB128 integers, length-prefixed UTF-8, IEEE doubles. */
import { MeshError } from "@ctxmesh/model";

const ENCODER = new TextEncoder();
const STRICT_UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const INITIAL_BYTES = 4_096;
/** A larger buffer is not kept for the next writer. */
const SPARE_BYTES = 65_536;
/** Up to this length writing the characters of a text one by one is quicker than a call to the encoder. */
const SHORT_TEXT = 32;
/** 2^53 - 1 needs 8 groups of 7 bits. */
const MAX_VARINT_BYTES = 8;
/** UTF-8 needs at most 3 bytes per UTF-16 code unit. */
const MAX_UTF8_PER_UNIT = 3;

/** Bytes of an unsigned LEB128 integer below 2^28, as lengths are. */
const varintBytes = (value: number): number =>
  value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : 4;

const EMPTY = new Uint8Array();
/** The buffer of a writer that has finished, for the next one: a frame is often smaller than making one costs. */
let spare: Uint8Array<ArrayBuffer> | undefined;

/** Appends to a growing buffer. */
export class ByteWriter {
  #buffer: Uint8Array<ArrayBuffer>;
  #length = 0;

  constructor() {
    this.#buffer = spare ?? new Uint8Array(INITIAL_BYTES);
    spare = undefined;
  }

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
    if (value.length <= SHORT_TEXT && this.#shortAscii(value)) return;
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

  /** Writes a short text if it is ASCII. */
  #shortAscii(value: string): boolean {
    this.#reserve(1 + SHORT_TEXT);
    const buffer = this.#buffer;
    const start = this.#length;
    for (let i = 0; i < value.length; i++) {
      const unit = value.charCodeAt(i);
      if (unit >= 0x80) return false;
      buffer[start + 1 + i] = unit;
    }
    buffer[start] = value.length;
    this.#length = start + 1 + value.length;
    return true;
  }

  /** Bytes as they are. */
  bytes(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** A copy of what was written. The writer is empty then. */
  finish(): Uint8Array {
    const buffer = this.#buffer;
    // Not slice, which takes more than twice as long for a short frame.
    const bytes = new Uint8Array(buffer.subarray(0, this.#length));
    if (buffer.length <= SPARE_BYTES) spare = buffer;
    this.#buffer = EMPTY;
    this.#length = 0;
    return bytes;
  }
}

/** Reads untrusted bytes; every method throws `FORMAT_INVALID` at the end or on a non-canonical form. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
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
    const first = this.#bytes[this.#at] ?? 0x80;
    if (first < 0x80) {
      this.#at++;
      return first;
    }
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
    const { buffer, byteOffset } = this.#bytes;
    return new DataView(buffer, byteOffset).getFloat64(this.#take(8), true);
  }

  /** A copy of the next `length` bytes. */
  bytes(length: number): Uint8Array {
    const at = this.#take(length);
    // Not slice, which makes no copy of a Buffer.
    return new Uint8Array(this.#bytes.subarray(at, at + length));
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
