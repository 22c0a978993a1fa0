// SPDX-License-Identifier: Apache-2.0
/** Who compresses with zstd (RFC 8878): Node, or in a page what the page brings. What they make all nodes unpack alike, see `zstd-decode.ts`. */
import { MeshError } from "@ctxmesh/model";
import { nativeZstd } from "./zstd-native.ts";

/** An implementation. */
export interface Zstd {
  /** One frame of one segment, that says how long its content is and has no checksum. With a dictionary it does not name it. */
  compress(payload: Uint8Array, dictionary?: Uint8Array): Uint8Array;
}

let current: Zstd | undefined = nativeZstd;

/** Has bodies packed by an implementation from now on. For pages, where there is none; to be called before a replica is opened. */
export function useZstd(implementation: Zstd): void {
  current = implementation;
}

/** The implementation. Throws `INTERNAL` where there is none. */
export function zstd(): Zstd {
  if (current === undefined) throw new MeshError("INTERNAL", "no zstd is here yet: see useZstd");
  return current;
}
