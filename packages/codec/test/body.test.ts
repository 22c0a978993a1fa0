// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { createZstdCompress, constants, zstdCompressSync } from "node:zlib";
import { decodeBody, encodeBody, unpackedBytes } from "@ctxmesh/codec";
import { LIMITS, MeshError, fromHex } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DICTIONARY } from "../src/dictionary.ts";

const RAW = 0;
const ZSTD = 1;
const ZSTD_WITH_DICTIONARY = 2;
const formatInvalid = expect.objectContaining({ code: "FORMAT_INVALID", field: "body" }) as Error;
const DICTIONARY_SHA256 = "c2edc5d1d0cef5cbb4895441425b83904e7740d4f4dd96b3baedc4040d2e94c7";
/** Bodies that were packed once. */
const PACKED = [
  "0220259d000048010001010001312e350200e74507c8387211",
  "022084fd00002831322e350208004fcde04dc8105584fe858053dc0d2032512c0e1e700208",
];
const bodyOf = (tag: number, payload: Uint8Array): Uint8Array => Uint8Array.of(tag, ...payload);

const shortPayload = (i: number): Uint8Array => Buffer.from(`{"celsius":${String(i)}}`.repeat(12));

describe("a body", () => {
  test("unpacks to what was packed, and is at most one byte longer", () => {
    const repetitive = fc
      .tuple(fc.uint8Array({ maxLength: 20 }), fc.nat(300))
      .map(([piece, times]) =>
        Uint8Array.from(Buffer.concat(Array<Uint8Array>(times).fill(piece))),
      );
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 2000 }), repetitive), (payload) => {
        const body = encodeBody(payload);
        expect(body.length).toBeLessThanOrEqual(payload.length + 1);
        expect(Buffer.compare(decodeBody(body), payload)).toBe(0);
      }),
    );
  });

  test("of the greatest size goes through, compressible or not", () => {
    let state = 1;
    const noise = Uint8Array.from({ length: LIMITS.bodyBytes }, () => {
      state = Math.imul(state, 1_664_525) + 1_013_904_223;
      return state >>> 24;
    });
    for (const payload of [
      noise,
      new Uint8Array(LIMITS.bodyBytes),
      noise.subarray(1).map((b) => b & 15),
    ]) {
      expect(Buffer.compare(decodeBody(encodeBody(payload)), payload)).toBe(0);
    }
  });

  test("that is short keeps little more memory than its own bytes, as long as somebody has it", () => {
    const unpacked = Array.from({ length: 500 }, (_, i) => decodeBody(encodeBody(shortPayload(i))));
    const kept = new Set(unpacked.map(({ buffer }) => buffer));
    const memory = [...kept].reduce((sum, { byteLength }) => sum + byteLength, 0);
    const bytes = unpacked.reduce((sum, { length }) => sum + length, 0);
    // Node hands out short ones as pieces of one buffer of 8 KiB, of which others have pieces, too.
    expect(memory).toBeLessThan(16 * bytes);
  });

  test("over the greatest size is not packed", () => {
    expect(() => encodeBody(new Uint8Array(LIMITS.bodyBytes + 1))).toThrow(
      expect.objectContaining({ code: "LIMIT_EXCEEDED" }) as Error,
    );
  });
});

describe("the dictionary", () => {
  /** Frame of one fact of a press, and of three facts of a machine. */
  const small = [
    Buffer.from(
      "\u0001\u0000\u0001\u0001\u0000\u0001line-1/press-3/temperature\u000471.5",
      "latin1",
    ),
    Buffer.from(
      ["cpu_percent", "memory_percent", "disk_percent"]
        .map((name) => `host/edge-1/${name}\u000412.5\u0004host\u00011\u0006edge-1`)
        .join("\u0002"),
      "latin1",
    ),
  ];

  test("is what it always was: bodies that were written with it must stay readable", () => {
    expect(createHash("sha256").update(DICTIONARY).digest("hex")).toBe(DICTIONARY_SHA256);
    for (const [i, hex] of PACKED.entries()) {
      expect(Buffer.compare(decodeBody(fromHex(hex)), small[i] ?? small[0] ?? Buffer.of())).toBe(0);
    }
  });

  test("makes bodies of a few facts shorter, where nothing else does", () => {
    for (const payload of small) {
      const body = encodeBody(payload);
      expect(body[0]).toBe(ZSTD_WITH_DICTIONARY);
      expect(body.length).toBeLessThan(0.75 * payload.length);
      expect(body.length).toBeLessThan(zstdCompressSync(payload).length);
      expect(unpackedBytes(body)).toBe(payload.length);
    }
  });
});

describe("what a body unpacks to", () => {
  test("is told without unpacking it, to the byte, of all that we pack", () => {
    const piece = fc.uint8Array({ minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(piece, fc.nat(20_000), (bytes, times) => {
        const payload = Buffer.concat(Array<Uint8Array>(times).fill(bytes));
        expect(unpackedBytes(encodeBody(payload))).toBe(payload.length);
      }),
    );
    for (const length of [0, 1, 199, 200, 255, 256, 65_791, 65_792, LIMITS.bodyBytes]) {
      expect(unpackedBytes(encodeBody(new Uint8Array(length)))).toBe(length);
    }
  });

  test("is never more than is told, whatever the bytes and whoever packed them", () => {
    const frame = zstdCompressSync(new Uint8Array(5_000));
    const changed = fc.tuple(fc.nat(11), fc.nat(255)).map(([at, byte]) =>
      bodyOf(
        ZSTD,
        frame.map((old, i) => (i === at ? byte : old)),
      ),
    );
    const withDictionary = fc
      .uint8Array({ maxLength: 40 })
      .map((bytes) => bodyOf(ZSTD_WITH_DICTIONARY, bytes));
    fc.assert(
      fc.property(fc.oneof(changed, withDictionary, fc.uint8Array({ maxLength: 40 })), (body) => {
        expect(unpackedLength(body)).toBeLessThanOrEqual(unpackedBytes(body));
      }),
      { numRuns: 2_000 },
    );
  });

  test("is the most that it may be where the frame does not say, which is refused", async () => {
    const stream = createZstdCompress({ params: { [constants.ZSTD_c_contentSizeFlag]: 0 } });
    stream.end(new Uint8Array(5_000));
    const body = bodyOf(ZSTD, Buffer.concat(await stream.toArray()));
    expect(() => decodeBody(body)).toThrow(formatInvalid);
    expect(unpackedBytes(body)).toBe(LIMITS.bodyBytes);
  });
});

/** Length of what a body unpacks to; 0 when it is refused as the documentation says. */
function unpackedLength(body: Uint8Array): number {
  try {
    return decodeBody(body).length;
  } catch (error) {
    if (error instanceof MeshError && error.code === "FORMAT_INVALID") return 0;
    throw error;
  }
}

/** "hello" under a window descriptor (RFC 8878 3.1.1.1.2): 58 is 2 MiB, 60 is 4 MiB, 88 is 128 MiB. */
const frameWith = (window: string): Uint8Array => fromHex(`28b52ffd00${window}29000068656c6c6f`);

describe("a body is refused", () => {
  const frame = zstdCompressSync(Buffer.from("hello ".repeat(100)));

  test("that unpacks to one byte too many", () => {
    const most = zstdCompressSync(new Uint8Array(LIMITS.bodyBytes));
    const more = zstdCompressSync(new Uint8Array(LIMITS.bodyBytes + 1));
    expect(decodeBody(bodyOf(ZSTD, most))).toHaveLength(LIMITS.bodyBytes);
    expect(() => decodeBody(bodyOf(ZSTD, more))).toThrow(formatInvalid);
  });

  test("that is a bomb of 100 MB of zeros, without making them", () => {
    const bomb = bodyOf(ZSTD, zstdCompressSync(new Uint8Array(100_000_000)));
    expect(bomb.length).toBeLessThan(10_000);
    const before = process.memoryUsage().arrayBuffers;
    expect(() => decodeBody(bomb)).toThrow(formatInvalid);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * LIMITS.bodyBytes);
  });

  test("that asks for a window of its own, however large", () => {
    for (const window of ["58", "60", "88"]) {
      expect(() => decodeBody(bodyOf(ZSTD, frameWith(window)))).toThrow(formatInvalid);
    }
  });

  test.each([
    ["of no bytes", new Uint8Array()],
    ["of an unknown encoding", bodyOf(3, frame)],
    ["with a dictionary and a magic number", bodyOf(ZSTD_WITH_DICTIONARY, frame)],
    ["with a dictionary and nothing else", bodyOf(ZSTD_WITH_DICTIONARY, new Uint8Array())],
    [
      "with a dictionary and a byte behind the frame",
      bodyOf(ZSTD_WITH_DICTIONARY, Buffer.concat([frame.subarray(4), Uint8Array.of(0)])),
    ],
    [
      "with a dictionary and another frame behind it",
      bodyOf(ZSTD_WITH_DICTIONARY, Buffer.concat([frame.subarray(4), frame])),
    ],
    [
      "that is a bomb with a dictionary",
      bodyOf(
        ZSTD_WITH_DICTIONARY,
        zstdCompressSync(new Uint8Array(LIMITS.bodyBytes + 1)).subarray(4),
      ),
    ],
    ["as it is over the limit", new Uint8Array(LIMITS.bodyBytes + 2)],
    ["of an empty zstd payload", bodyOf(ZSTD, new Uint8Array())],
    ["that is no zstd", bodyOf(ZSTD, new Uint8Array(50).fill(7))],
    ["that ends early", bodyOf(ZSTD, frame.subarray(0, -1))],
    ["with a byte behind the frame", bodyOf(ZSTD, Buffer.concat([frame, Uint8Array.of(0)]))],
    ["of two frames", bodyOf(ZSTD, Buffer.concat([frame, frame]))],
    [
      "with a skippable frame before the content",
      bodyOf(ZSTD, Buffer.concat([fromHex("502a4d180400000001020304"), frame])),
    ],
    [
      "with a skippable frame behind the content",
      bodyOf(ZSTD, Buffer.concat([frame, fromHex("502a4d180400000001020304")])),
    ],
  ])("%s", (_, body) => {
    expect(decodeBody(bodyOf(ZSTD, frame))).toHaveLength(600);
    expect(() => decodeBody(body)).toThrow(formatInvalid);
  });

  test("or unpacks within the limit, whatever bytes stand behind the zstd mark", () => {
    fc.assert(
      fc.property(fc.nat(frame.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const mutated = Uint8Array.from(frame);
        mutated[at] = (mutated[at] ?? 0) ^ flip;
        expect(unpackedLength(bodyOf(ZSTD, mutated))).toBeLessThanOrEqual(LIMITS.bodyBytes);
      }),
      { numRuns: 500 },
    );
  });

  test("not when it is empty content as it is", () => {
    expect(decodeBody(Uint8Array.of(RAW))).toHaveLength(0);
  });
});
