// SPDX-License-Identifier: Apache-2.0
/** The bytes of a module, read with a bound on every number and every count. */
import { MeshError } from "@ctxmesh/model";

/** Refuses a module: throws `MODULE_INVALID` with the place, counted in bytes from its beginning. */
export function refuse(at: number, problem: string, remedy?: string): never {
  throw new MeshError("MODULE_INVALID", `module: byte ${String(at)}: ${problem}`, {
    field: "module",
    ...(remedy === undefined ? {} : { remedy }),
  });
}

const DECODER = new TextDecoder("utf-8", { fatal: true });

/** Reads forward through a part of a module. Every method throws `MODULE_INVALID`. */
export class Reader {
  readonly bytes: Uint8Array;
  readonly end: number;
  /** Where the next read begins. */
  at: number;

  constructor(bytes: Uint8Array, at: number = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  get isDone(): boolean {
    return this.at >= this.end;
  }

  byte(): number {
    const byte = this.at < this.end ? this.bytes[this.at] : undefined;
    if (byte === undefined) refuse(this.at, "it ends within something");
    this.at++;
    return byte;
  }

  /** The next bytes, as a view. */
  take(length: number): Uint8Array {
    if (length > this.end - this.at) refuse(this.at, "it ends within something");
    const taken = this.bytes.subarray(this.at, this.at + length);
    this.at += length;
    return taken;
  }

  /** An unsigned number of 32 bits in LEB128, which may be padded. */
  u32(): number {
    const from = this.at;
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      if (shift === 28 && byte > 0x0f) refuse(from, "a number has over 32 bits");
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    return refuse(from, "a number has over 32 bits");
  }

  /** A number of at most so many bits in signed LEB128: its bytes, as a view. What they say is for the engine to check. */
  signed(bits: 32 | 33 | 64): Uint8Array {
    const from = this.at;
    const most = Math.ceil(bits / 7);
    for (let length = 1; length <= most; length++) {
      if (this.byte() < 0x80) return this.bytes.subarray(from, this.at);
    }
    return refuse(from, `a number has over ${String(bits)} bits`);
  }

  /** A number of things that take a byte each at the least. */
  count(most: number, what: string): number {
    const from = this.at;
    const count = this.u32();
    if (count > most) refuse(from, `it has ${String(count)} ${what}, the limit is ${String(most)}`);
    if (count > this.end - this.at) refuse(from, `it ends before its ${what}`);
    return count;
  }

  /** A name in UTF-8. */
  name(): string {
    const from = this.at;
    const bytes = this.take(this.u32());
    try {
      return DECODER.decode(bytes);
    } catch {
      return refuse(from, "a name is not UTF-8");
    }
  }
}
