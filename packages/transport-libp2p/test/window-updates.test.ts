// SPDX-License-Identifier: Apache-2.0
/** Frames of yamux as bytes: `version, type, u16 flags, u32 stream, u32 length`, big-endian. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { WindowUpdates } from "../src/window-updates.ts";

const WORTH_BYTES = 65_536;
const [DATA, WINDOW_UPDATE, PING] = [0, 1, 2];
const [SYN, RESET] = [1, 8];

function frameOf(type: number, flags: number, stream: number, length: number): Uint8Array {
  const frame = new Uint8Array(12);
  frame[1] = type;
  const view = new DataView(frame.buffer);
  view.setUint16(2, flags);
  view.setUint32(4, stream);
  view.setUint32(8, length);
  return frame;
}

const lengthOf = (frame: Uint8Array): number => new DataView(frame.buffer).getUint32(8);

test("of each stream all window is told in the end but for less than a quarter of the first one, and none is told twice", () => {
  const grants = fc.array(
    fc.record({ stream: fc.integer({ min: 1, max: 4 }), bytes: fc.nat(100_000) }),
  );
  fc.assert(
    fc.property(grants, (all) => {
      const updates = new WindowUpdates();
      const held = new Map<number, number>();
      for (const { stream, bytes } of all) {
        const frame = frameOf(WINDOW_UPDATE, 0, stream, bytes);
        const owed = (held.get(stream) ?? 0) + bytes;
        const passes = updates.passes(frame);
        expect(passes ? lengthOf(frame) : owed).toBe(owed);
        held.set(stream, passes ? 0 : owed);
        expect(held.get(stream)).toBeLessThan(WORTH_BYTES);
      }
    }),
  );
});

test("frames that open, close or reset a stream pass as they are, and so does everything that is no window update", () => {
  const updates = new WindowUpdates();
  for (const frame of [
    frameOf(WINDOW_UPDATE, SYN, 1, 10),
    frameOf(WINDOW_UPDATE, RESET, 1, 0),
    frameOf(PING, 0, 0, 7),
    frameOf(DATA, 0, 1, 0),
    new Uint8Array(13).fill(1),
    new Uint8Array(0),
  ]) {
    const before = Uint8Array.from(frame);
    expect(updates.passes(frame)).toBe(true);
    expect(frame).toStrictEqual(before);
  }
});

test("what was held back of a stream that is reset is not told of another one with its number", () => {
  const updates = new WindowUpdates();
  expect(updates.passes(frameOf(WINDOW_UPDATE, 0, 1, 60_000))).toBe(false);
  updates.passes(frameOf(WINDOW_UPDATE, RESET, 1, 0));
  expect(updates.passes(frameOf(WINDOW_UPDATE, 0, 1, 60_000))).toBe(false);
});

test("for no more than 64 streams of a connection is anything held back", () => {
  const updates = new WindowUpdates();
  const passed = Array.from({ length: 100 }, (_, i) =>
    updates.passes(frameOf(WINDOW_UPDATE, 0, i + 1, 1)),
  );
  expect(passed.filter((passes) => !passes)).toHaveLength(64);
});
