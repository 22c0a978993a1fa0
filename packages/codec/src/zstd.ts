// SPDX-License-Identifier: Apache-2.0
/** What is needed of zstd (RFC 8878), and who does it: Node, or in a page what the page brings. */
import { MeshError } from "@ctxmesh/model";
import { nativeZstd } from "./zstd-native.ts";

/** An implementation. All of them give the same bytes for the same frames, or throw. */
export interface Zstd {
  /** One frame, that says how long its content is. With a dictionary it does not name it. */
  compress(payload: Uint8Array, dictionary?: Uint8Array): Uint8Array;
  /**
   * The content of exactly one frame, of `LIMITS.bodyBytes` at most: `roomBytes` is what the frame says that it has, or that limit where it does
   * not say. The frame has passed `assertFrame`. Throws whatever it likes.
   */
  decompress(frame: Uint8Array, roomBytes: number, dictionary?: Uint8Array): Uint8Array;
}

let current: Zstd | undefined = nativeZstd;

/** Has bodies packed and unpacked by an implementation from now on. For pages, where there is none; to be called before a replica is opened. */
export function useZstd(implementation: Zstd): void {
  current = implementation;
}

/** The implementation. Throws `INTERNAL` where there is none. */
export function zstd(): Zstd {
  if (current === undefined) throw new MeshError("INTERNAL", "no zstd is here yet: see useZstd");
  return current;
}
