// SPDX-License-Identifier: Apache-2.0
/**
 * A section's body as carried: one byte of encoding, then the payload. 0 = as it is, 1 = zstd
 * (RFC 8878), one frame and nothing after it. Small payloads stay as they are, since a zstd frame costs
 * more than it saves there.
 */
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { LIMITS, MeshError } from "@ctxmesh/model";

const RAW = 0;
const ZSTD = 1;
/** Below this a lone zstd frame saved nothing on real facts. */
const COMPRESS_FROM_BYTES = 200;

/** The widest window (2 MiB) that the compressor uses for `LIMITS.bodyBytes`; a frame could ask for 128 MiB. */
const WINDOW_LOG = 21;

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
  if (payload.length < COMPRESS_FROM_BYTES) return tagged(RAW, payload);
  const compressed = zstdCompressSync(payload);
  return compressed.length < payload.length ? tagged(ZSTD, compressed) : tagged(RAW, payload);
}

/** Decompresses exactly one frame; what stands behind it would be read differently by other decoders. */
function decompress(payload: Uint8Array): Uint8Array {
  const { buffer, engine } = zstdDecompressSync(payload, {
    maxOutputLength: LIMITS.bodyBytes,
    params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG },
    info: true,
  }) as unknown as {
    readonly buffer: Uint8Array;
    readonly engine: { readonly bytesWritten: number };
  };
  if (engine.bytesWritten !== payload.length) throw new Error("bytes follow the zstd frame");
  return buffer;
}

/** Unpacks an untrusted body; never produces more than `LIMITS.bodyBytes`. Throws `FORMAT_INVALID` or `LIMIT_EXCEEDED`. */
export function decodeBody(body: Uint8Array): Uint8Array {
  const payload = body.subarray(1);
  if (body[0] === RAW && payload.length <= LIMITS.bodyBytes) return payload;
  if (body[0] !== ZSTD) {
    throw new MeshError("FORMAT_INVALID", "body has an unknown encoding or is too long", {
      field: "body",
    });
  }
  try {
    return decompress(payload);
  } catch (error) {
    throw new MeshError("FORMAT_INVALID", "body can't be decompressed within its limit", {
      field: "body",
      cause: error,
    });
  }
}
