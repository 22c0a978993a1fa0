// SPDX-License-Identifier: Apache-2.0
/**
 * Announcements: batches that are too large to be gossiped, by their signed headers.
 *
 * ```
 * announcement = CBOR [ header: bstr, signature: bstr(64) ]
 * ```
 *
 * One is worth what any news of a peer is: the batch is pulled from whoever passed the announcement on. Only when it was
 * accepted, which verifies the header, and header and signature are those of the announcement, is that passed on in turn. So whoever is
 * asked has the batch, and nothing is spread that nobody has.
 */
import { decodeBatch } from "@ctxmesh/codec";
import { encodeSignedHeader } from "@ctxmesh/replica";

/** How long an announced batch is waited for. */
export const ANNOUNCED_MS = 5_000;

/** `accept`: pass it on. `reject`: it is not what its batch says. `ignore`: the batch did not come. */
export type AnnouncementVerdict = "accept" | "ignore" | "reject";

interface Waiting {
  readonly announcement: Uint8Array;
  readonly sinceMs: number;
  readonly settle: (verdict: AnnouncementVerdict) => void;
}

/** The first byte of an announcement, a CBOR array of two; a batch has three parts. */
const ANNOUNCEMENT_START = 0x82;

/** Whether a gossiped message is to be read as an announcement. */
export const isAnnouncement = (message: Uint8Array): boolean => message[0] === ANNOUNCEMENT_START;

/** The announcement of a batch. Throws what `decodeBatch` throws. */
export const announcementOf = (batch: Uint8Array): Uint8Array =>
  encodeSignedHeader(decodeBatch(batch));

const isSame = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i]);

/** Announcements whose batches are waited for. How many there may be is the caller's to say. */
export class Announcements {
  /** By the hash of the header, hex. */
  readonly #waiting = new Map<string, Waiting[]>();

  /** Number of headers that are waited for. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Resolves once the batch with this header hash was accepted, or {@link ANNOUNCED_MS} later. */
  verdict(hash: string, announcement: Uint8Array, nowMs: number): Promise<AnnouncementVerdict> {
    const { promise, resolve } = Promise.withResolvers<AnnouncementVerdict>();
    const waiting = this.#waiting.get(hash) ?? [];
    waiting.push({ announcement, sinceMs: nowMs, settle: resolve });
    this.#waiting.set(hash, waiting);
    return promise;
  }

  /** A batch was accepted. */
  applied(hash: string, batch: Uint8Array): void {
    const waiting = this.#waiting.get(hash);
    if (waiting === undefined) return;
    this.#waiting.delete(hash);
    const own = announcementOf(batch);
    for (const { announcement, settle } of waiting) {
      settle(isSame(announcement, own) ? "accept" : "reject");
    }
  }

  /** Gives up what was waited for long enough; a clock that was set back ends the wait, too. */
  tick(nowMs: number): void {
    for (const [hash, waiting] of this.#waiting) {
      const left = waiting.filter(({ sinceMs, settle }) => {
        const waits = Math.abs(nowMs - sinceMs) < ANNOUNCED_MS;
        if (!waits) settle("ignore");
        return waits;
      });
      if (left.length === 0) this.#waiting.delete(hash);
      else this.#waiting.set(hash, left);
    }
  }

  /** Gives up everything. */
  stop(): void {
    for (const waiting of this.#waiting.values())
      for (const { settle } of waiting) settle("ignore");
    this.#waiting.clear();
  }
}
