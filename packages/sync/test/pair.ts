// SPDX-License-Identifier: Apache-2.0
/** Two session machines and the channel between them, which delivers in order but whenever the test says so. */
import { parseDeviceKey, parseIncarnationId, parseSpaceId, toHex } from "@ctxmesh/model";
import { RangeIndex, encodeMessage, initialState, step } from "@ctxmesh/sync";
import type {
  Chain,
  ChainHead,
  LocalView,
  SessionEffect,
  SessionEvent,
  SessionState,
  SyncMessage,
} from "@ctxmesh/sync";
import { sha256 } from "@ctxmesh/crypto";

const SPACE = parseSpaceId("5a".repeat(32));
const NO_RECORDS = new Uint8Array(16);
const keyOf = ({ replica, incarnation }: Chain): string => replica + incarnation;
const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));

/** The head of chain number `n`, whose ids are spread as random ones are. */
export function spread(n: number, seq: number, branch = 0): ChainHead {
  const id = toHex(sha256(bytesOf(`chain ${String(n)}`)));
  const device = toHex(sha256(bytesOf(`device ${String(n % 1_000)}`)));
  const hash = toHex(sha256(bytesOf(`${id} ${String(seq)} ${String(branch)}`))).slice(0, 32);
  return {
    replica: parseDeviceKey(device),
    incarnation: parseIncarnationId(id.slice(0, 32)),
    seq,
    hash,
  };
}

/** One end: its heads, which may move, and its machine. */
export class End {
  readonly heads: Map<string, ChainHead>;
  state: SessionState = initialState;
  /** What it has sent and the other end has not read yet. */
  readonly out: SyncMessage[] = [];
  readonly effects: SessionEffect[] = [];
  bytes = 0;
  messages = 0;
  readonly view: LocalView;
  #ranges: RangeIndex | undefined;
  #digest: Uint8Array | undefined;

  constructor(heads: readonly ChainHead[], believes = false) {
    this.heads = new Map(heads.map((head) => [keyOf(head), head]));
    this.state = { ...initialState, believes };
    const own = { replica: spread(-1, 1).replica, incarnation: spread(-1, 1).incarnation };
    this.view = {
      space: SPACE,
      digest: () => (this.#digest ??= this.#digestNow()),
      heads: () => [...this.heads.values()],
      ranges: () => (this.#ranges ??= new RangeIndex(this.heads.values())),
      headOf: (chain) => this.heads.get(keyOf(chain)),
      headsByChain: () => this.heads,
      own: () => [own],
      isHeld: () => false,
      isClaimed: () => false,
      limitOf: () => Number.POSITIVE_INFINITY,
      recordsDigest: () => NO_RECORDS,
      recordIds: () => ({ acts: [], forks: [] }),
      vouches: false,
      sealed: () => [],
    };
  }

  #digestNow(): Uint8Array {
    const lines = [...this.heads.values()].map(
      (head) => keyOf(head) + String(head.seq) + head.hash,
    );
    return sha256(bytesOf(lines.toSorted().join(""))).subarray(0, 16);
  }

  /** A head moves, or goes away with seq 0. */
  move(head: ChainHead): void {
    if (head.seq === 0) this.heads.delete(keyOf(head));
    else this.heads.set(keyOf(head), head);
    this.#ranges = undefined;
    this.#digest = undefined;
  }

  take(event: SessionEvent): void {
    const next = step(this.state, event, this.view);
    this.state = next.state;
    for (const effect of next.effects) {
      this.effects.push(effect);
      if (effect.type !== "send") continue;
      this.out.push(effect.message);
      this.messages++;
      this.bytes += encodeMessage(effect.message).length;
    }
  }

  /** Reads the next message of the other end. */
  read(other: End): void {
    const message = other.out.shift();
    if (message !== undefined) this.take({ type: "message", message });
  }
}

/** Delivers until nobody has anything to read; `first` says who reads next where both could. */
export function converse(a: End, b: End, first: () => boolean = () => true): void {
  while (a.out.length + b.out.length > 0) {
    const aReads = b.out.length > 0 && (a.out.length === 0 || first());
    if (aReads) a.read(b);
    else b.read(a);
  }
}
