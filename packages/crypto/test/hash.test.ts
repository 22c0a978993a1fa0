// SPDX-License-Identifier: Apache-2.0
/** The first vector of FIPS 180-4's examples, and the two forms against each other. */
import { sha256, sha256Hex } from "@ctxmesh/crypto";
import { toHex } from "@ctxmesh/model";
import fc from "fast-check";
import { expect, test } from "vitest";

test("SHA-256 of abc is that of the standard", () => {
  expect(sha256Hex("abc")).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
});

test("a text's hash is that of its UTF-8, in one part or many", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" }), (a, b) => {
      const [head, tail] = [a, b].map((text) => new TextEncoder().encode(text));
      expect(toHex(sha256(head ?? new Uint8Array(), tail ?? new Uint8Array()))).toBe(
        sha256Hex(a + b),
      );
    }),
  );
});
