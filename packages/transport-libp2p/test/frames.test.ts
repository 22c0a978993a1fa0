// SPDX-License-Identifier: Apache-2.0
import { LIMITS } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Frame } from "../src/frames.ts";
import { encodeGoodbye, encodeMessage, FrameDecoder } from "../src/frames.ts";

const REASON_BYTES = 200;

function decode(stream: Uint8Array, cuts: readonly number[]): Frame[] {
  const decoder = new FrameDecoder();
  const ends = [...cuts.map((cut) => cut % (stream.length + 1)), stream.length].toSorted(
    (a, b) => a - b,
  );
  let start = 0;
  return ends.flatMap((end) => {
    const chunk = stream.subarray(start, end);
    start = end;
    return [...decoder.push(chunk)];
  });
}

/** Big-endian words of 32 bits. */
function words(...values: number[]): Uint8Array {
  const stream = new Uint8Array(4 * values.length);
  for (const [i, value] of values.entries()) new DataView(stream.buffer).setUint32(4 * i, value);
  return stream;
}

describe("frames", () => {
  test("messages and goodbyes come out as they went in, however the stream is cut", () => {
    const frame = fc.oneof(
      fc.uint8Array({ maxLength: 300 }).map((bytes): Frame => ({ kind: "message", bytes })),
      fc.string({ maxLength: 50 }).map((reason): Frame => ({ kind: "goodbye", reason })),
    );
    fc.assert(
      fc.property(fc.array(frame), fc.array(fc.nat()), (frames, cuts) => {
        const stream = Buffer.concat(
          frames.map((one) =>
            one.kind === "message" ? encodeMessage(one.bytes) : encodeGoodbye(one.reason),
          ),
        );
        expect(decode(stream, cuts)).toEqual(frames);
      }),
    );
  });

  test("a message is its big-endian length and its bytes", () => {
    expect(encodeMessage(Uint8Array.of(7, 8))).toEqual(Uint8Array.of(0, 0, 0, 2, 7, 8));
    expect(encodeGoodbye("no")).toEqual(Uint8Array.of(255, 255, 255, 255, 0, 0, 0, 2, 110, 111));
  });

  test("a long reason is cut between characters", () => {
    const [frame] = decode(encodeGoodbye("€".repeat(100)), []);
    expect(frame).toEqual({ kind: "goodbye", reason: "€".repeat(66) });
  });

  test("a message over the limit is not encoded", () => {
    expect(() => encodeMessage(new Uint8Array(LIMITS.syncMessageBytes + 1))).toThrow(
      expect.objectContaining({ code: "LIMIT_EXCEEDED" }),
    );
  });

  test("an announced length over its limit is refused before a byte of the body is there", () => {
    for (const stream of [
      words(LIMITS.syncMessageBytes + 1),
      words(0xffff_fffe),
      words(0xffff_ffff, REASON_BYTES + 1),
      words(0xffff_ffff, 0xffff_ffff),
    ]) {
      expect(() => decode(stream, [])).toThrow(
        expect.objectContaining({ code: "PROTOCOL_VIOLATION" }),
      );
    }
    expect(decode(words(LIMITS.syncMessageBytes), [])).toEqual([]);
  });
});
