// SPDX-License-Identifier: Apache-2.0
/**
 * How much of our time a peer gets. What a message costs is known once it was read; when a budget is used up the
 * channel is read no further until time has refilled it. So a fast sender is slowed by its own transport and
 * nothing it sends is lost.
 *
 * A device has one budget over all of its channels, so that connecting again brings no fresh one. The unit of
 * work is the check of a signature, about 0.1 ms. The node has one budget of checks for all devices.
 */
import { LIMITS } from "@ctxmesh/model";
import type { SyncMessage } from "./messages.ts";

/** A budget that fills with time. It may be overdrawn by one message, which is then waited for. */
export class TokenBucket {
  readonly #perSecond: number;
  readonly #burst: number;
  #level: number;

  /** Starts full. */
  constructor(perSecond: number, burst: number) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#level = burst;
  }

  get isEmpty(): boolean {
    return this.#level <= 0;
  }

  get isFull(): boolean {
    return this.#level >= this.#burst;
  }

  take(tokens: number): void {
    this.#level -= tokens;
  }

  refill(elapsedMs: number): void {
    this.#level = Math.min(this.#burst, this.#level + (elapsedMs / 1_000) * this.#perSecond);
  }
}

/** What a message costs. */
export interface Cost {
  /** Signatures to check. */
  readonly checks: number;
  /** Those, and other work in the same unit. */
  readonly work: number;
  readonly bytes: number;
}

/** Looking through all chains, as each word about heads makes us do. */
const LOOK = 16;
/** Reading an answer of `LIMITS.syncChunkBytes` from the store. */
const SERVE = 16;
/** Reading up to a thousand headers one by one. */
const SERVE_HEADERS = 128;
/** Comparing thousands of ids and sending up to a message full of records. */
const COMPARE = 512;
/** Ids or heads that are parsed in the time of one check. */
const ITEMS_PER_CHECK = 16;
/** Positions that are looked up in the store in the time of one check. */
const LOOK_UPS_PER_CHECK = 4;

/** What a message costs in checks, and in other work. */
function workOf(message: SyncMessage): readonly [checks: number, other: number] {
  switch (message.type) {
    case "push":
      return [1, 0];
    case "batches":
      return [message.batches.length, 1];
    case "acts":
      return [message.acts.length + 2 * message.proofs.length, 1];
    case "headers":
      return [message.headers.length, 1];
    case "heads":
    case "have":
      return [0, LOOK + message.heads.length / ITEMS_PER_CHECK];
    case "stored":
    case "sealed":
      return [0, 1 + message.heads.length / LOOK_UPS_PER_CHECK];
    case "hello":
    case "digest":
      return [0, LOOK];
    case "pull":
      return [0, Math.max(SERVE, message.spans.length)];
    case "records": {
      const ids = (message.acts?.length ?? 0) + (message.forks?.length ?? 0);
      return [0, COMPARE + ids / ITEMS_PER_CHECK];
    }
    case "want":
      return [0, SERVE_HEADERS + message.hashes.length];
  }
}

/** The cost of a message that was `bytes` long. */
export function costOf(message: SyncMessage, bytes: number): Cost {
  const [checks, other] = workOf(message);
  return { checks, work: checks + other, bytes };
}

/** The budgets of one device. */
interface PeerBudget {
  readonly work: TokenBucket;
  readonly bytes: TokenBucket;
}

/** All budgets of a node. */
export class Quotas {
  readonly #node = new TokenBucket(LIMITS.nodeBatchesPerSecond, LIMITS.nodeBatchBurst);
  readonly #peers = new Map<string, PeerBudget>();
  #refilledMs: number;

  constructor(nowMs: number) {
    this.#refilledMs = nowMs;
  }

  /** Number of devices whose budgets are not full. */
  get size(): number {
    return this.#peers.size;
  }

  /** Whether the node has checks to spare for anybody. */
  get nodeIsOpen(): boolean {
    return !this.#node.isEmpty;
  }

  /** Whether a message of this device may be taken now. */
  isOpen(device: string): boolean {
    const peer = this.#peers.get(device);
    return this.nodeIsOpen && peer?.work.isEmpty !== true && peer?.bytes.isEmpty !== true;
  }

  /** Charges a message to its device and to the node. */
  charge(device: string, { checks, work, bytes }: Cost): void {
    const peer = this.#peers.get(device) ?? {
      work: new TokenBucket(LIMITS.peerBatchesPerSecond, LIMITS.peerBatchBurst),
      bytes: new TokenBucket(LIMITS.peerBytesPerSecond, LIMITS.peerBytesBurst),
    };
    this.#peers.set(device, peer);
    peer.work.take(work);
    peer.bytes.take(bytes);
    this.chargeNode(checks);
  }

  /** Charges what came from no known device to the node alone. */
  chargeNode(checks: number): void {
    this.#node.take(checks);
  }

  /** Passes time. A clock that is set back brings nothing; a full budget is as good as none, so it is forgotten. */
  refill(nowMs: number): void {
    const elapsedMs = Math.max(0, nowMs - this.#refilledMs);
    this.#refilledMs = nowMs;
    this.#node.refill(elapsedMs);
    for (const [device, { work, bytes }] of this.#peers) {
      work.refill(elapsedMs);
      bytes.refill(elapsedMs);
      if (work.isFull && bytes.isFull) this.#peers.delete(device);
    }
  }
}
