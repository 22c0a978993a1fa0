// SPDX-License-Identifier: Apache-2.0
import { createSecretKey } from "node:crypto";
import { fromHex, toHex } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { unwrapKey, wrapKey } from "../src/key-wrap.ts";

const WRAPPING = createSecretKey(Uint8Array.from({ length: 32 }, (_, i) => i));
const DATA = "00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f";

describe("key wrap", () => {
  test.for([
    ["4.3", 16, "64e8c3f9ce0f5ba263e9777905818a2a93c8191e7d6e8ae7"],
    ["4.5", 24, "a8f9bc1612c68b3ff6e6f4fbe30e71e4769c8b80a32cb8958cd5d17d6b254da1"],
    ["4.6", 32, "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"],
  ] as const)("gives the vector of RFC 3394, %s", ([, length, wrapped]) => {
    const key = fromHex(DATA).subarray(0, length);
    expect(toHex(wrapKey(WRAPPING, key))).toBe(wrapped);
    expect(toHex(unwrapKey(WRAPPING, fromHex(wrapped)) ?? new Uint8Array(0))).toBe(toHex(key));
  });

  test("what was changed in any bit, cut, or wrapped by another key does not unwrap", () => {
    const wrapped = wrapKey(WRAPPING, fromHex(DATA));
    for (let bit = 0; bit < wrapped.length * 8; bit++) {
      const changed = Uint8Array.from(wrapped);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(unwrapKey(WRAPPING, changed), String(bit)).toBeUndefined();
    }
    for (let length = 0; length < wrapped.length; length++) {
      expect(unwrapKey(WRAPPING, wrapped.subarray(0, length)), String(length)).toBeUndefined();
    }
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (other) => {
        fc.pre(!WRAPPING.equals(createSecretKey(other)));
        expect(unwrapKey(createSecretKey(other), wrapped)).toBeUndefined();
      }),
    );
  });
});
