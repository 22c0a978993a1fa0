// SPDX-License-Identifier: Apache-2.0
import {
  LIMITS,
  formatFrontierToken,
  parseDeviceKey,
  parseFrontierToken,
  parseIncarnationId,
} from "@ctxmesh/model";
import * as fc from "fast-check";
import { expect, test } from "vitest";

const hexOf = (bytes: number): fc.Arbitrary<string> =>
  fc
    .uint8Array({ minLength: bytes, maxLength: bytes })
    .map((array) => Buffer.from(array).toString("hex"));
const position = fc.record({
  replica: hexOf(32).map(parseDeviceKey),
  incarnation: hexOf(16).map(parseIncarnationId),
  seq: fc.nat(),
});

test("a token names what it was made of", () => {
  fc.assert(
    fc.property(
      fc.array(position, { minLength: 1, maxLength: LIMITS.tokenPositions }),
      (positions) => {
        expect(parseFrontierToken(formatFrontierToken(positions))).toEqual(positions);
      },
    ),
  );
});

test("tokens that are joined by commas are one", () => {
  fc.assert(
    fc.property(position, position, (a, b) => {
      const joined = [a, b].map((each) => formatFrontierToken([each])).join(",");
      expect(parseFrontierToken(joined)).toEqual([a, b]);
    }),
  );
});

const ONE = `${"ab".repeat(32)}.${"cd".repeat(16)}.7`;
test.each([
  ["", "empty"],
  [`${ONE},`, "with an end that is empty"],
  [ONE.replace(".7", ".07"), "with a number that begins with 0"],
  [ONE.replace(".7", ".-7"), "with a negative number"],
  [ONE.toUpperCase(), "in capitals"],
  [ONE.slice(1), "too short"],
  [Array.from({ length: LIMITS.tokenPositions + 1 }, () => ONE).join(","), "of too many"],
])("what is no token is refused: %s", (text) => {
  expect(() => parseFrontierToken(text)).toThrow(
    expect.objectContaining({ code: "INPUT_INVALID", field: "covers" }),
  );
});
