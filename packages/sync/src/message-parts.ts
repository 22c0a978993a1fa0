// SPDX-License-Identifier: Apache-2.0
/** Chains, positions and heads as messages name them, and the strict readers that every message is parsed with. */
import type { CborValue } from "@ctxmesh/codec";
import { MeshError, fromHex, parseDeviceKey, parseIncarnationId, toHex } from "@ctxmesh/model";
import type { DeviceKey, IncarnationId } from "@ctxmesh/model";

/** What one device wrote in one process life. */
export interface Chain {
  readonly replica: DeviceKey;
  readonly incarnation: IncarnationId;
}

/** A position in a chain. */
export interface ChainSeq extends Chain {
  readonly seq: number;
}

/** How far a chain is applied, and on which branch of it; with seq 0, that nothing of it counts any more. */
export interface ChainHead extends ChainSeq {
  /** The first 16 bytes of the header's hash, hex; zeros with seq 0. */
  readonly hash: string;
}

/** The hash in a head of a chain of which nothing counts. */
export const NO_HASH: string = "0".repeat(32);
/** Heads in one message, of 78 bytes at most; more of them are told in several. */
export const MAX_HEADS = 8192;

/** A position as an item. */
export const seqItem = ({ replica, incarnation, seq }: ChainSeq): CborValue[] => [
  fromHex(replica),
  fromHex(incarnation),
  seq,
];

/** A head as an item. */
export const headItem = (head: ChainHead): CborValue => [...seqItem(head), fromHex(head.hash)];

/** Throws `PROTOCOL_VIOLATION`. */
export function refuse(problem: string): never {
  throw new MeshError("PROTOCOL_VIOLATION", `sync message ${problem}`);
}

/** A byte string, of exactly `length` bytes if that is given. */
export const bytesOf = (value: CborValue | undefined, length?: number): Uint8Array =>
  value instanceof Uint8Array && (length === undefined || value.length === length)
    ? value
    : refuse("has no byte string where one belongs");

/** An integer of at least `least`. */
export const uintOf = (value: CborValue | undefined, least: number): number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= least
    ? value
    : refuse("has a number out of range");

/** A boolean. */
export const booleanOf = (value: CborValue | undefined): boolean =>
  typeof value === "boolean" ? value : refuse("has no boolean where one belongs");

/** An array of at most `most` items. */
export function arrayOf(value: CborValue | undefined, most: number): readonly CborValue[] {
  if (!Array.isArray(value) || value.length > most) {
    return refuse(`has not an array of at most ${String(most)} items`);
  }
  return value as readonly CborValue[];
}

/** The parts of a tuple of exactly `length`. */
export function tupleOf(value: CborValue | undefined, length: number): readonly CborValue[] {
  const items = arrayOf(value, length);
  return items.length === length ? items : refuse(`has not ${String(length)} parts`);
}

/** The chain that the first two parts of an item name. */
export function chainOf(parts: readonly CborValue[]): Chain {
  return {
    replica: parseDeviceKey(toHex(bytesOf(parts[0], 32))),
    incarnation: parseIncarnationId(toHex(bytesOf(parts[1], 16))),
  };
}

/** Heads, `MAX_HEADS` at most, each at `leastSeq` or further. */
export const headsOf = (value: CborValue | undefined, leastSeq = 0): readonly ChainHead[] =>
  arrayOf(value, MAX_HEADS).map((item) => {
    const parts = tupleOf(item, 4);
    const [seq, hash] = [uintOf(parts[2], leastSeq), toHex(bytesOf(parts[3], 16))];
    if (seq === 0 && hash !== NO_HASH) refuse("names a header at seq 0");
    return { ...chainOf(parts), seq, hash };
  });

/** Byte strings, `most` at most. */
export const byteStringsOf = (value: CborValue | undefined, most: number): readonly Uint8Array[] =>
  arrayOf(value, most).map((item) => bytesOf(item));
