// SPDX-License-Identifier: Apache-2.0
/**
 * The messages by which a base goes over: what a hub says that its log comes to, for whoever lacks too much of it.
 *
 * ```
 * base-pull = [17, base(32) or null, part]           null: the newest that you have, and then part is 0
 * base-part = [18, base(32) or null, part, bstr]     the answer: part 0 is the signed manifest, the others are as it numbers them, from 1;
 *                                                    null, 0 and nothing: there is none, or it is not to be had any more
 * ```
 *
 * One is asked for at a time. The formats of manifest and parts are in `@ctxmesh/replica`, `base-format.ts`.
 */
import type { CborValue } from "@ctxmesh/codec";
import { LIMITS, fromHex, toHex } from "@ctxmesh/model";
import { bytesOf, refuse, uintOf } from "./message-parts.ts";

/** Asks for a part of a base, or for the newest one. */
export interface BasePullMessage {
  readonly type: "base-pull";
  /** The base's name, hex. */
  readonly base: string | undefined;
  readonly part: number;
}

/** A part of a base; without a name, none. */
export interface BasePartMessage {
  readonly type: "base-part";
  readonly base: string | undefined;
  readonly part: number;
  readonly bytes: Uint8Array;
}

const nameOf = (value: CborValue | undefined): string | undefined =>
  value === null ? undefined : toHex(bytesOf(value, 32));

const nameItem = (name: string | undefined): CborValue =>
  name === undefined ? null : fromHex(name);

const partOf = (value: CborValue | undefined): number => {
  const part = uintOf(value, 0);
  return part <= LIMITS.baseParts ? part : refuse("names a part that no base has");
};

/** What stands behind the type. */
export const basePullItems = ({ base, part }: BasePullMessage): CborValue[] => [
  nameItem(base),
  part,
];

/** What stands behind the type. */
export const basePartItems = ({ base, part, bytes }: BasePartMessage): CborValue[] => [
  nameItem(base),
  part,
  bytes,
];

/** Parses what {@link basePullItems} makes. Throws `PROTOCOL_VIOLATION`. */
export function basePullOf(
  base: CborValue | undefined,
  part: CborValue | undefined,
): BasePullMessage {
  const message = { type: "base-pull", base: nameOf(base), part: partOf(part) } as const;
  return (message.base === undefined) === (message.part === 0)
    ? message
    : refuse("asks for a part of no base");
}

/** Parses what {@link basePartItems} makes. Throws `PROTOCOL_VIOLATION`. */
export function basePartOf(
  base: CborValue | undefined,
  part: CborValue | undefined,
  content: CborValue | undefined,
): BasePartMessage {
  const [name, number, bytes] = [nameOf(base), partOf(part), bytesOf(content)];
  if (bytes.length > LIMITS.basePartBytes) refuse("has a part that is longer than any may be");
  if (name === undefined && number + bytes.length > 0) refuse("has a part of no base");
  return { type: "base-part", base: name, part: number, bytes };
}
