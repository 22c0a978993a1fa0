// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: messages come out as they went in, however the connection cuts them, and nothing else comes out; a lie about a length costs nothing.
 * Method: the vectors; random messages in random pieces; each byte changed, frames left out, doubled or exchanged.
 */
import { LIMITS, toHex, toMeshError } from "@ctxmesh/model";
import { frameNonce, FrameReader, FrameWriter } from "@ctxmesh/transport-tcp";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HANDSHAKES } from "./vectors.ts";

const KEY = new Uint8Array(32).fill(9);
const concat = (parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
const framesOf = (messages: readonly Uint8Array[]): readonly Uint8Array[] => {
  const writer = new FrameWriter(KEY);
  return messages.map((message) => writer.write(message));
};
const read = (bytes: Uint8Array): readonly Uint8Array[] => new FrameReader(KEY).read(bytes);
/** What comes out of bytes up to where they are refused, piece by piece. */
function readable(bytes: Uint8Array): readonly Uint8Array[] {
  const reader = new FrameReader(KEY);
  const got: Uint8Array[] = [];
  try {
    for (const byte of bytes) got.push(...reader.read(Uint8Array.of(byte)));
  } catch (error) {
    if (toMeshError(error).code !== "PROTOCOL_VIOLATION") throw error;
  }
  return got;
}
const messages = fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 8 });

describe("frames", () => {
  test.each(HANDSHAKES)("of the $name handshake are those of the vectors", ({ at, frames }) => {
    for (const { sender, number, message, frame } of frames) {
      const writer = new FrameWriter(at(`${sender} data`), number);
      expect(toHex(writer.write(message))).toBe(toHex(frame));
    }
    for (const sender of ["client", "server"]) {
      const all = frames.filter((frame) => frame.sender === sender && frame.number < 100);
      const reader = new FrameReader(at(`${sender} data`));
      expect(reader.read(concat(all.map(({ frame }) => frame)))).toEqual(
        all.map(({ message }) => message),
      );
    }
  });

  test("come out as they went in, wherever the bytes are cut", () => {
    fc.assert(
      fc.property(messages, fc.array(fc.integer({ min: 1, max: 50 })), (sent, cuts) => {
        const bytes = concat(framesOf(sent));
        const reader = new FrameReader(KEY);
        const got: Uint8Array[] = [];
        let at = 0;
        for (const cut of [...cuts, bytes.length]) {
          got.push(...reader.read(bytes.subarray(at, at + cut)));
          at += cut;
        }
        got.push(...reader.read(bytes.subarray(at)));
        expect(got).toEqual(sent);
      }),
    );
  });

  test("with any byte changed, left out, doubled or in another order are refused", () => {
    fc.assert(
      fc.property(messages, fc.nat(), fc.integer({ min: 1, max: 255 }), (sent, at, mask) => {
        const bytes = concat(framesOf(sent));
        const changed = bytes.map((byte, i) => (i === at % bytes.length ? byte ^ mask : byte));
        const got = readable(changed);
        // A greater length waits for what never comes.
        expect(got.length).toBeLessThan(sent.length);
        expect(got).toEqual(sent.slice(0, got.length));
      }),
    );
    const [first, second] = framesOf([new Uint8Array(5), new Uint8Array(5)]) as [
      Uint8Array,
      Uint8Array,
    ];
    for (const wrong of [[second], [first, first], [second, first]]) {
      expect(() => read(concat(wrong))).toThrow("not from the other end");
    }
  });

  test("of the greatest length pass, and no others are waited for", () => {
    const largest = new Uint8Array(LIMITS.syncMessageBytes);
    expect(read(concat(framesOf([largest])))).toEqual([largest]);
    const [over = new Uint8Array()] = framesOf([new Uint8Array(LIMITS.syncMessageBytes + 1)]);
    expect(() => read(over.subarray(0, 4))).toThrow("a frame of");
    for (const length of [0, 15, 0xffff_ffff]) {
      const bytes = new Uint8Array(4);
      new DataView(bytes.buffer).setUint32(0, length);
      expect(() => read(bytes)).toThrow(expect.objectContaining({ code: "PROTOCOL_VIOLATION" }));
    }
  });

  test("have 64 bits of number in their nonces", () => {
    expect(toHex(frameNonce(1))).toBe("000000000000000000000001");
    expect(toHex(frameNonce(2 ** 32 + 2))).toBe("000000000000000100000002");
  });
});
