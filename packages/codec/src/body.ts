// SPDX-License-Identifier: Apache-2.0
/**
 * A section's body as carried: one byte of encoding, then the payload. 0 = as it is; 1 = zstd
 * (RFC 8878), one frame as `zstd-decode.ts` takes it and nothing after it; 2 = the same without the frame's first four bytes, which are always those of
 * `ZSTD_MAGIC`, and compressed with the dictionary of `dictionary.ts`. By a dictionary a few facts lose a fifth to a half of their bytes;
 * of more facts it saves little, and costs more time.
 */
import { LIMITS, MeshError } from "@ctxmesh/model";
import { DICTIONARY } from "./dictionary.ts";
import { decodeZstd } from "./zstd-decode.ts";
import { ZSTD_MAGIC, frameHead } from "./zstd-frame.ts";
import { encodeZstd } from "./zstd-encode.ts";

const RAW = 0;
const ZSTD = 1;
const ZSTD_WITH_DICTIONARY = 2;
/** Up to so many bytes the dictionary is worth its time. */
const DICTIONARY_TO_BYTES = 2_048;
/** What is compressed has to be this much shorter: every receiver has to unpack it. */
const WORTH = 7 / 8;
/** A frame's header is no longer than that (RFC 8878, 3.1.1.1), the magic number not counted. */
const FRAME_HEADER_BYTES = 14;

function tagged(tag: number, payload: Uint8Array): Uint8Array {
  const body = new Uint8Array(1 + payload.length);
  body[0] = tag;
  body.set(payload, 1);
  return body;
}

/** Packs a payload for a section. Throws `LIMIT_EXCEEDED` over `LIMITS.bodyBytes`. */
export function encodeBody(payload: Uint8Array): Uint8Array {
  if (payload.length > LIMITS.bodyBytes) {
    throw new MeshError(
      "LIMIT_EXCEEDED",
      `a section's payload has ${String(payload.length)} bytes, the limit is ${String(LIMITS.bodyBytes)}`,
      { field: "body" },
    );
  }
  if (encodeZstd === undefined) return tagged(RAW, payload);
  if (payload.length > DICTIONARY_TO_BYTES) {
    const compressed = encodeZstd(payload);
    return compressed.length < payload.length ? tagged(ZSTD, compressed) : tagged(RAW, payload);
  }
  const compressed = encodeZstd(payload, DICTIONARY).subarray(ZSTD_MAGIC.length);
  return compressed.length <= WORTH * payload.length
    ? tagged(ZSTD_WITH_DICTIONARY, compressed)
    : tagged(RAW, payload);
}

/** A frame without its magic number as one that has it. */
function withMagic(rest: Uint8Array): Uint8Array {
  const frame = new Uint8Array(ZSTD_MAGIC.length + rest.length);
  frame.set(ZSTD_MAGIC);
  frame.set(rest, ZSTD_MAGIC.length);
  return frame;
}

/**
 * The most bytes that {@link decodeBody} will make of an untrusted body, told from its first few bytes: so that whoever
 * sent it can be charged before any work is done. `LIMITS.bodyBytes` where a frame does not say, which is then refused.
 */
export function unpackedBytes(body: Uint8Array): number {
  const payload = body.subarray(1);
  const isPacked = body[0] === ZSTD || body[0] === ZSTD_WITH_DICTIONARY;
  if (!isPacked) return Math.min(payload.length, LIMITS.bodyBytes);
  const frame = body[0] === ZSTD ? payload : withMagic(payload.subarray(0, FRAME_HEADER_BYTES));
  return Math.min(frameHead(frame)?.contentBytes ?? LIMITS.bodyBytes, LIMITS.bodyBytes);
}

/** Unpacks an untrusted body; never produces more than `LIMITS.bodyBytes`. Throws `FORMAT_INVALID` or `LIMIT_EXCEEDED`. */
export function decodeBody(body: Uint8Array): Uint8Array {
  const payload = body.subarray(1);
  if (body[0] === RAW && payload.length <= LIMITS.bodyBytes) return payload;
  if (body[0] !== ZSTD && body[0] !== ZSTD_WITH_DICTIONARY) {
    throw new MeshError("FORMAT_INVALID", "body has an unknown encoding or is too long", {
      field: "body",
    });
  }
  try {
    return body[0] === ZSTD ? decodeZstd(payload) : decodeZstd(withMagic(payload), DICTIONARY);
  } catch (error) {
    throw new MeshError("FORMAT_INVALID", "body can't be decompressed within its limit", {
      field: "body",
      cause: error,
    });
  }
}
