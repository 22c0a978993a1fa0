// SPDX-License-Identifier: Apache-2.0
/**
 * How much of our time a peer gets. What a message costs is known once it was read; when a budget is used up the
 * channel is read no further until time has refilled it. So a fast sender is slowed by its own transport and
 * nothing it sends is lost.
 *
 * A device has one budget over all of its channels, so that connecting again brings no fresh one. The unit of
 * work is the check of a signature, about 0.1 ms. The node has one budget for all devices, of the work that batches make.
 *
 * A message is charged in steps, each as soon as it is known, so that nothing that costs us time is free: its bytes before
 * they are parsed; then what its kind makes us do; then what the bodies of its batches unpack to, before they are; then what was in them.
 */
import { LIMITS } from "@ctxmesh/model";
import type { SyncMessage } from "./messages.ts";
import type { RangesMessage } from "./range-message.ts";

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

/** What a message, or a part of it, costs. */
export interface Cost {
  /** Signatures to check, and bodies to open: what the node has a budget for. */
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
/** Going over all chains, or a write of its own. */
const ASK = 16;
/** Going over all acts, to see what of an answer is new. */
const TAKE_RECORDS = 32;
/** Comparing thousands of ids and sending up to a message full of records. */
const COMPARE = 512;
/** Ids or heads that are parsed in the time of one check. */
const ITEMS_PER_CHECK = 16;
/** Positions that are looked up in the store in the time of one check. */
const LOOK_UPS_PER_CHECK = 4;
/** Chains that a remote has told of that are gone over in the time of one check. */
const CHAINS_PER_CHECK = 1_024;
/** Our own chains that are put in order and fingerprinted, twice, in that time. */
const FINGERPRINTED_PER_CHECK = 64;
/** Bytes of a message that are parsed in that time, so long as it has few items (see `messages.ts`). */
const PARSED_PER_CHECK = 16_384;
/** Bytes that are unpacked and parsed in that time; the least, 1 MiB of long values, takes some 20 ms. */
const UNPACKED_PER_CHECK = 4_096;
/** Facts that are checked and applied in that time. */
const FACTS_PER_CHECK = 64;

/** What a message costs in checks, and in other work. */
function workOf(message: SyncMessage): readonly [checks: number, other: number] {
  switch (message.type) {
    case "push":
      return [1, 0];
    case "batches":
      return [message.batches.length, 1];
    case "acts":
      return [message.acts.length + 2 * message.proofs.length, TAKE_RECORDS];
    case "headers":
      return [message.headers.length, 1];
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
    case "ranges":
      return [0, LOOK + (headsIn(message) + message.ranges.length) / ITEMS_PER_CHECK];
    case "routes":
      return [0, 1 + (message.here.size + message.elsewhere.size) / ITEMS_PER_CHECK];
    case "want":
      return [0, SERVE_HEADERS + message.hashes.length];
    case "wanted":
      return [0, SERVE + message.wanted.length / LOOK_UPS_PER_CHECK];
    case "bodies":
      return [message.bodies.length, 1];
    case "base-pull":
      return [0, message.base === undefined ? COMPARE : SERVE];
    case "base-part":
      return [0, SERVE];
    case "ask":
      return [0, ASK];
    case "answer":
      return [0, 1];
  }
}

const headsIn = ({ ranges }: RangesMessage): number =>
  ranges.reduce((sum, range) => sum + ("heads" in range ? range.heads.length : 0), 0);

/** What a message costs that makes us go over our own chains: fingerprints of them, or all of them told. */
function ownOf(message: SyncMessage, own: number): number {
  if (message.type === "hello" || message.type === "digest") return own / FINGERPRINTED_PER_CHECK;
  if (message.type !== "ranges") return 0;
  const lists = message.ranges.some(({ mode }) => mode === "list");
  return own / (lists ? ITEMS_PER_CHECK : FINGERPRINTED_PER_CHECK);
}

/** Messages after which all that the remote has told is gone over, for what is to be pulled. */
const SURVEYED: ReadonlySet<SyncMessage["type"]> = new Set([
  "hello",
  "digest",
  "ranges",
  "have",
  "batches",
  "acts",
]);

/** The cost of a message that was `bytes` long, before it is parsed. */
export const costOfBytes = (bytes: number): Cost => ({
  checks: 0,
  work: Math.floor(bytes / PARSED_PER_CHECK),
  bytes,
});

/** The cost of a message besides its bytes, from a remote that has told of so many chains, where we have `own`. */
export function costOf(message: SyncMessage, chains: number, own: number): Cost {
  const [checks, other] = workOf(message);
  const survey = SURVEYED.has(message.type) ? chains / CHAINS_PER_CHECK : 0;
  return { checks, work: checks + other + survey + ownOf(message, own), bytes: 0 };
}

/** The cost of opening a batch, as `BatchSource` is told it. What is small is in the check of its signature. */
export function costOfOpening(opened: { readonly bytes: number; readonly items: number }): Cost {
  const checks =
    Math.floor(opened.bytes / UNPACKED_PER_CHECK) + Math.floor(opened.items / FACTS_PER_CHECK);
  return { checks, work: checks, bytes: 0 };
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
