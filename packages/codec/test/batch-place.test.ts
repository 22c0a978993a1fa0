// SPDX-License-Identifier: Apache-2.0
import { batchLane, batchPlace, decodeBatch, encodeBatch } from "@ctxmesh/codec";
import { MeshError } from "@ctxmesh/model";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { batchArbitrary } from "./arbitraries.ts";

test("the place of a batch is what its header says", () => {
  fc.assert(
    fc.property(batchArbitrary, (batch) => {
      const bytes = encodeBatch(batch);
      const { replica, incarnation, seq, lane } = decodeBatch(bytes).header;
      expect(batchPlace(bytes)).toEqual({ replica, incarnation, seq, lane });
      expect(batchLane(bytes)).toBe(lane);
    }),
  );
});

/** The code of a refusal, or that there was an answer. */
function outcomeOf(bytes: Uint8Array): string {
  try {
    batchPlace(bytes);
    return "a place";
  } catch (error) {
    return error instanceof MeshError ? error.code : String(error);
  }
}

test("bytes that are no batch have an answer or are refused, and nothing else happens", () => {
  fc.assert(
    fc.property(batchArbitrary, fc.nat(), fc.nat({ max: 255 }), fc.nat(), (batch, at, to, cut) => {
      const bytes = encodeBatch(batch);
      bytes[at % 400] = to;
      const garbled = bytes.subarray(0, cut % 2 === 0 ? bytes.length : cut % bytes.length);
      expect(["FORMAT_INVALID", "INPUT_INVALID", "a place"]).toContain(outcomeOf(garbled));
    }),
    { numRuns: 500 },
  );
});
