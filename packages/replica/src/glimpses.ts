// SPDX-License-Identifier: Apache-2.0
import { LIMITS } from "@ctxmesh/model";
import type { HeaderHash } from "@ctxmesh/model";
import type { ParsedBatch } from "./checks.ts";
import { encodeProof } from "./evidence.ts";
import type { SignedHeader } from "./evidence.ts";
import { chainKey } from "./layout.ts";

interface Glimpse extends SignedHeader {
  readonly hash: HeaderHash;
}

/**
 * Signed headers of batches that could not be taken, since a body was left out: the newest of them, in memory and bounded. Both sides of
 * a fork may be with peers that keep only a part, and nobody else would ever see them together.
 */
export class Glimpses {
  readonly #byPlace = new Map<string, Glimpse>();
  #bytes = 0;

  #remove(place: string): void {
    this.#bytes -= this.#byPlace.get(place)?.headerBytes.length ?? 0;
    this.#byPlace.delete(place);
  }

  /** Looks at a well-signed header, and remembers it if its batch was not taken; the proof, if another one stood in its place. */
  look(batch: ParsedBatch, isTaken: boolean): Uint8Array | undefined {
    if (isTaken && this.#byPlace.size === 0) return undefined;
    const { header, headerBytes, signature, hash } = batch;
    const place = `${chainKey(header.replica, header.incarnation)} ${String(header.seq)}`;
    const known = this.#byPlace.get(place);
    this.#remove(place);
    if (known !== undefined && known.hash !== hash) return encodeProof(known, batch);
    if (isTaken) return undefined;
    this.#byPlace.set(place, { headerBytes, signature, hash });
    this.#bytes += headerBytes.length;
    for (const oldest of this.#byPlace.keys()) {
      const isFull =
        this.#byPlace.size > LIMITS.glimpsedHeaders || this.#bytes > LIMITS.glimpsedBytes;
      if (!isFull) break;
      this.#remove(oldest);
    }
    return undefined;
  }
}
