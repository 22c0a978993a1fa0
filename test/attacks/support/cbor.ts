// SPDX-License-Identifier: Apache-2.0
/** CBOR (RFC 8949) put together by hand, in forms that our encoder never writes. */
import { decodeCbor, encodeCbor } from "@ctxmesh/codec";
import type { CborValue } from "@ctxmesh/codec";

/** One byte string of several. */
export const concat = (...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array =>
  Uint8Array.from(parts.flatMap((part) => [...part]));

/** The initial bytes of an item of a major type (0 to 7), with the shortest argument. */
export function head(major: number, argument: number): Uint8Array {
  const tag = major << 5;
  if (argument < 24) return Uint8Array.of(tag | argument);
  if (argument < 0x100) return Uint8Array.of(tag | 24, argument);
  if (argument < 0x1_0000) return Uint8Array.of(tag | 25, argument >>> 8, argument & 0xff);
  const bytes = new Uint8Array(5);
  bytes[0] = tag | 26;
  new DataView(bytes.buffer).setUint32(1, argument);
  return bytes;
}

/** The members of an encoded map, each as encoded, in the order on the wire. */
export const membersOf = (map: Uint8Array): (readonly [name: string, value: Uint8Array])[] =>
  Object.entries(decodeCbor(map, map.length, "map") as Readonly<Record<string, CborValue>>).map(
    ([name, value]) => [name, encodeCbor(value)],
  );

/** A map of these members in this order. */
export const mapOf = (members: readonly (readonly [string, Uint8Array])[]): Uint8Array =>
  concat(head(5, members.length), ...members.flatMap(([name, value]) => [encodeCbor(name), value]));

/** Changes one member of an encoded map, which it need not have. */
export const withMember =
  (name: string, value: Uint8Array | readonly number[]) =>
  (map: Uint8Array): Uint8Array => {
    const members = membersOf(map);
    const changed = members.map(([key, old]) => [key, key === name ? value : old] as const);
    const found = members.some(([key]) => key === name);
    const all = found ? changed : [...changed, [name, value] as const];
    return mapOf(all.map(([key, bytes]) => [key, Uint8Array.from(bytes)] as const));
  };
