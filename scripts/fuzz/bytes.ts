// SPDX-License-Identifier: Apache-2.0
import type { Dice } from "./dice.ts";

/** One byte string of several. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** Changes bytes without knowing what they are; `other` is what they may be crossed with. */
export function mutateBytes(dice: Dice, bytes: Uint8Array, other: Uint8Array): Uint8Array {
  let mutated = new Uint8Array(bytes);
  for (let times = 1 + dice.roll(3); times > 0; times--)
    mutated = new Uint8Array(once(dice, mutated, other));
  return mutated;
}

function once(dice: Dice, bytes: Uint8Array, other: Uint8Array): Uint8Array {
  const at = dice.roll(bytes.length + 1);
  const rest = bytes.subarray(at);
  switch (dice.roll(8)) {
    case 0:
      return bytes.subarray(0, at);
    case 1:
      return concat(bytes.subarray(0, at), dice.bytes(1 + dice.roll(8)), rest);
    case 2:
      return concat(bytes.subarray(0, at), rest.subarray(1 + dice.roll(8)));
    case 3:
      return concat(bytes.subarray(0, at), rest.subarray(0, 1 + dice.roll(32)), rest);
    case 4:
      return concat(bytes.subarray(0, at), other.subarray(dice.roll(other.length + 1)));
    case 5: {
      const from = dice.roll(other.length + 1);
      const cut = other.subarray(from, from + 1 + dice.roll(32));
      return concat(bytes.subarray(0, at), cut, rest.subarray(dice.roll(2) * cut.length));
    }
    default: {
      const changed = bytes.slice();
      const old = changed[at % Math.max(1, bytes.length)] ?? 0;
      if (bytes.length > 0) {
        changed[at % bytes.length] = dice.pick([
          old ^ (1 << dice.roll(8)),
          old + 1,
          old - 1,
          0,
          255,
        ]);
      }
      return changed;
    }
  }
}
