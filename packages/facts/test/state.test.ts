// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { decodeFrames, decodeState, encodeFrames, encodeState } from "@ctxmesh/facts";
import type { ChainFrame } from "@ctxmesh/facts";
import { MeshError, fromHex, toHex } from "@ctxmesh/model";
import type { Hlc } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { deviceOf, incarnationOf, shuffled } from "./arbitraries.ts";
import { ENGINES, framesArbitrary, livesArbitrary, stateOf, storeOf } from "./store-model.ts";

describe.each(ENGINES)("in the engine %s,", (_name, engine) => {
  describe("a state", () => {
    const anyOrder = framesArbitrary.chain((frames) => fc.subarray(frames).chain(shuffled));

    test("decodes to the same slots, knowledge of chains, size and bytes", () => {
      fc.assert(
        fc.property(anyOrder, (frames) => {
          const store = storeOf(frames, engine);
          const bytes = encodeState(store);
          const copy = decodeState(bytes, engine);
          expect(stateOf(copy)).toEqual(stateOf(store));
          expect(new Map(copy.summary())).toEqual(new Map(store.summary()));
          expect(copy.bytes).toBe(store.bytes);
          expect(encodeState(copy)).toEqual(bytes);
        }),
        { numRuns: 500 },
      );
    });

    test("is the same of a hostile chain, whose numbers don't rise with its clocks, or come twice", () => {
      const chain = { writer: deviceOf(1), incarnation: incarnationOf(1) };
      const record = fc.record({ key: fc.constantFrom("a", "b", "c", "d"), seq: fc.nat(6) });
      fc.assert(
        fc.property(fc.array(fc.tuple(record, fc.nat(2), fc.nat(2)), { maxLength: 12 }), (all) => {
          const frames = all.map(([{ key, seq }, before, behind], i): ChainFrame => {
            const fact = { key, seq: seq + before + 1, hlc: (i + 1) as Hlc, valueJson: String(i) };
            return { chain, frame: { from: seq, to: fact.seq + behind, records: [fact] } };
          });
          const store = storeOf(frames, engine);
          const bytes = encodeState(store);
          const copy = decodeState(bytes, engine);
          expect(stateOf(copy)).toEqual(stateOf(store));
          expect(new Map(copy.summary())).toEqual(new Map(store.summary()));
          expect(copy.bytes).toBe(store.bytes);
          expect(encodeState(copy)).toEqual(bytes);
        }),
        { numRuns: 500 },
      );
    });

    test("continues like the store it was taken from", () => {
      const halves = framesArbitrary
        .chain(shuffled)
        .chain((frames) => fc.tuple(fc.constant(frames), fc.nat(40)));
      fc.assert(
        fc.property(halves, ([frames, at]) => {
          const copy = decodeState(encodeState(storeOf(frames.slice(0, at), engine)));
          for (const { chain, frame } of frames.slice(at)) copy.applyFrame(chain, frame);
          expect(stateOf(copy)).toEqual(stateOf(storeOf(frames, engine)));
        }),
      );
    });

    test("has the same bytes whatever the order in which the writers' frames came, and however often", () => {
      // Each writer's frames keep their order; those of different writers mix at will.
      const mixed = livesArbitrary.chain((frames) =>
        fc.tuple(
          fc.constant(frames),
          fc.array(fc.nat(), { minLength: frames.length, maxLength: frames.length }),
          fc.subarray(frames),
        ),
      );
      fc.assert(
        fc.property(mixed, ([frames, draws, again]) => {
          const queues = Map.groupBy(frames, ({ chain }) => chain.writer);
          const order: ChainFrame[] = [];
          for (const draw of draws) {
            const waiting = [...queues.values()].filter((queue) => queue.length > 0);
            const next = waiting[draw % waiting.length]?.shift();
            if (next !== undefined) order.push(next);
          }
          expect(order).toHaveLength(frames.length);
          const bytes = encodeState(storeOf(order, engine));
          expect(encodeState(storeOf(frames, engine))).toEqual(bytes);
          const repeated = again.filter(({ chain }) =>
            storeOf(frames, engine)
              .summary()
              .has(chain.writer + chain.incarnation),
          );
          expect(encodeState(storeOf([...order, ...repeated], engine))).toEqual(bytes);
        }),
        { numRuns: 500 },
      );
    });

    test("of 200,000 overwrites of 100 keys by 10 writers is as small as one that was written once", () => {
      const [worn, fresh] = [engine(), engine()];
      const rounds = 200;
      for (let round = 0; round < rounds; round++) {
        for (let n = 0; n < 10; n++) {
          const chain = { writer: deviceOf(n), incarnation: incarnationOf(1) };
          const records = Array.from({ length: 100 }, (_, i) => ({
            key: `k${String(i)}`,
            seq: round * 100 + i + 1,
            hlc: (round * 100 + i + 1) as Hlc,
            valueJson: String(round % 10),
          }));
          const frame = { from: round * 100, to: (round + 1) * 100, records };
          worn.applyFrame(chain, frame);
          if (round === rounds - 1) fresh.applyFrame(chain, frame);
        }
      }
      expect(worn.bytes).toBe(fresh.bytes);
      expect(encodeState(worn).length).toBeLessThanOrEqual(encodeState(fresh).length);
    });
  });

  describe("a state has its frozen bytes", () => {
    const vectors = JSON.parse(
      readFileSync(new URL("vectors/state-v1.json", import.meta.url), "utf8"),
    ) as { name: string; frames: ChainFrame[]; bytes: string }[];

    test.each(vectors)("$name", ({ frames, bytes }) => {
      expect(toHex(encodeState(storeOf(frames, engine)))).toBe(bytes);
      expect(stateOf(decodeState(fromHex(bytes), engine))).toEqual(
        stateOf(storeOf(frames, engine)),
      );
    });
  });
});

/** A fact of a chain by itself. */
function oneFact(n: number): readonly ChainFrame[] {
  const chain = { writer: deviceOf(n), incarnation: incarnationOf(n) };
  const records = [{ key: "k", seq: 1, hlc: n as Hlc, valueJson: "1" }];
  return [{ chain, frame: { from: 0, to: 1, records } }];
}

describe("chain frames", () => {
  test("decode to what was encoded", () => {
    fc.assert(
      fc.property(framesArbitrary, (frames) => {
        expect(decodeFrames(encodeFrames(frames))).toEqual(frames);
      }),
    );
  });

  test("are decoded out of a Buffer that changes afterwards", () => {
    const buffer = Buffer.from(encodeFrames(oneFact(1)));
    const decoded = decodeFrames(buffer);
    buffer.set(encodeFrames(oneFact(2)));
    expect([decoded, decodeFrames(encodeFrames(oneFact(2)))]).toEqual([oneFact(1), oneFact(2)]);
  });

  test("changed in a byte or cut off are refused, or are others with exactly these bytes", () => {
    fc.assert(
      fc.property(
        framesArbitrary,
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (frames, at, flip) => {
          const bytes = encodeFrames(frames);
          const changed = bytes.slice();
          changed[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ flip;
          for (const bad of [
            changed,
            bytes.slice(0, at % bytes.length),
            Uint8Array.of(...bytes, 0),
          ]) {
            const decoded = decodeOrNothing(bad);
            expect(decoded === undefined ? bad : encodeFrames(decoded)).toEqual(bad);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  test.each([
    ["nothing", ""],
    ["another version", "0200"],
    ["more chains than bytes", "01ffffff7f"],
    ["a chain cut off", `0101${"00".repeat(40)}`],
    ["a frame of another version", `0101${"00".repeat(48)}02000000`],
    ["trailing bytes", "010000"],
  ])("of %s are refused", (_, hex) => {
    expect(() => decodeFrames(fromHex(hex))).toThrow(
      expect.objectContaining({ code: "FORMAT_INVALID" }) as Error,
    );
  });
});

function decodeOrNothing(bytes: Uint8Array): readonly ChainFrame[] | undefined {
  try {
    return decodeFrames(bytes);
  } catch (error) {
    if (error instanceof MeshError && error.code === "FORMAT_INVALID") return undefined;
    throw error;
  }
}
