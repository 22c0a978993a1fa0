// SPDX-License-Identifier: Apache-2.0
/**
 * A leaf as it should be, in as few words as possible: what it says in a session; what it keeps is in `leaf-store.ts`. It is the executable
 * specification of the leaf in C: each method is one rule.
 */
import { decodeBatch } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { LIMITS, MeshError, toHex } from "@ctxmesh/model";
import type { Channel, DocumentName } from "@ctxmesh/model";
import {
  MAX_HEADS,
  MAX_SPANS,
  RECORDS_EVERY_MS,
  decodeAnswer,
  decodeMessage,
  encodeAnswer,
  encodeMessage,
  encodeQuestion,
  rangeKey,
} from "@ctxmesh/sync";
import type { Chain, ChainHead, Range, SyncMessage } from "@ctxmesh/sync";
import { NO_RECORDS, keyOf, same } from "./leaf-store.ts";
import type { LeafStore } from "./leaf-store.ts";

type Message<Type extends SyncMessage["type"]> = SyncMessage & { readonly type: Type };
/** What a leaf has an answer to, if only that it has none. */
type Foreign = Message<
  | "want"
  | "wanted"
  | "base-pull"
  | "ask"
  | "routes"
  | "stored"
  | "sealed"
  | "headers"
  | "bodies"
  | "base-part"
>;

/** A leaf in a session. One at a time; all that is in here but the store is forgotten with it. */
export class ModelLeaf {
  readonly store: LeafStore;
  /** What came, by type, for tests. */
  readonly heard = new Map<SyncMessage["type"], number>();
  readonly #channel: Channel;
  readonly #now: () => number;
  /** The digest over our heads as we told it in `hello`. */
  readonly #greeted: Uint8Array;
  #isOpen = false;
  /** The parent's digest over its records. */
  #theirRecords: Uint8Array = NO_RECORDS;
  /** The parent's last word about its head of each chain, or what it must have, since it sent or asked for it. */
  readonly #theirs = new Map<string, ChainHead>();
  /** Chains of which the last answer brought nothing; until the parent says something about them. */
  readonly #stuck = new Set<string>();
  /** Chains that were asked for, while there is no answer. */
  #pulling: readonly Chain[] | undefined;
  #asked = 0;
  /** Number of the question without an answer. */
  #asking: number | undefined;
  #askAgainMs = 0;
  /** The roster is to be asked for once it may be asked again. */
  #owesAsk = false;

  constructor(store: LeafStore, channel: Channel, now: () => number) {
    this.store = store;
    this.#channel = channel;
    this.#now = now;
    this.#greeted = store.digest();
  }

  #send(message: SyncMessage): void {
    // Who has gone is heard of where messages are read.
    this.#channel.send(encodeMessage(message)).catch(() => undefined);
  }

  /** Runs until the channel ends. Throws for what no honest parent says. */
  async run(): Promise<void> {
    const { space, records } = this.store;
    // A leaf that keeps a part says its subscription here.
    this.#send({ type: "hello", space, digest: this.#greeted, records });
    for await (const bytes of this.#channel.receive()) {
      const message = decodeMessage(bytes);
      this.heard.set(message.type, (this.heard.get(message.type) ?? 0) + 1);
      this.#take(message);
    }
  }

  /** Call it now and then: what was put off is done when its time has come. */
  tick(): void {
    if (this.#owesAsk) this.#ask();
  }

  /** Whether the parent is known to have all of our chain. */
  get isTold(): boolean {
    const { own } = this.store;
    return (this.store.head(own)?.seq ?? 0) <= (this.#theirs.get(keyOf(own))?.seq ?? 0);
  }

  /** Writes; the parent hears of it at once: pushed where it has what is before, else told, so that it pulls. */
  put(doc: DocumentName, facts: Readonly<Record<string, string>>): void {
    const { seq, bytes, hash, ...rest } = this.store.put(doc, facts, this.#now());
    if (!this.#isOpen) return;
    const head = {
      replica: rest.replica,
      incarnation: rest.incarnation,
      seq,
      hash: hash.slice(0, 32),
    };
    if ((this.#theirs.get(keyOf(head))?.seq ?? 0) === seq - 1) {
      this.#send({ type: "push", batch: bytes });
      this.#theirs.set(keyOf(head), head);
    } else this.#send({ type: "have", heads: [head] });
  }

  #take(message: SyncMessage): void {
    if (message.type === "hello") {
      this.#onHello(message);
      return;
    }
    if (!this.#isOpen) throw new MeshError("PROTOCOL_VIOLATION", "a message came before hello");
    switch (message.type) {
      case "have":
        this.#onHave(message.heads);
        return;
      case "ranges":
        this.#onRanges(message);
        return;
      case "digest":
        this.#onDigest(message);
        return;
      case "pull":
        this.#onPull(message);
        return;
      case "batches":
        this.#onBatches(message.batches);
        return;
      case "push":
        this.#onPush(message.batch);
        return;
      case "records":
        // It says which acts it has, and would like to have ours: there are none here. The digest says which roster we go by.
        this.#send({
          type: "acts",
          acts: [],
          proofs: [],
          more: false,
          records: this.store.records,
        });
        return;
      case "acts":
        this.#onRecords(message.records);
        return;
      case "answer":
        this.#onAnswer(message);
        return;
      case "want":
      case "wanted":
      case "base-pull":
      case "ask":
      case "routes":
      case "stored":
      case "sealed":
      case "headers":
      case "bodies":
      case "base-part":
        this.#refuse(message);
    }
  }

  /** What a leaf has nothing to say to, but may not leave without an answer. */
  #refuse(message: Foreign): void {
    switch (message.type) {
      case "want":
        this.#send({ type: "headers", headers: [] });
        return;
      case "wanted":
        // Not with null for each: that would say that nothing in them is wanted.
        this.#send({ type: "bodies", bodies: [] });
        return;
      case "base-pull":
        this.#send({ type: "base-part", base: undefined, part: 0, bytes: new Uint8Array() });
        return;
      case "ask": {
        const error = new MeshError("POLICY_REFUSED", "a leaf answers no questions");
        this.#send({
          type: "answer",
          id: message.id,
          answer: encodeAnswer({ kind: "refused", error }),
        });
        return;
      }
      case "routes":
      case "stored":
      case "sealed":
        return;
      case "headers":
      case "bodies":
      case "base-part":
        throw new MeshError("PROTOCOL_VIOLATION", `${message.type} came that nobody asked for`);
    }
  }

  /** Who told the lower digest begins to compare; where both told the same and our heads have moved since, we do. */
  #onHello({ space, digest, records }: Message<"hello">): void {
    if (this.#isOpen || space !== this.store.space) {
      throw new MeshError("PROTOCOL_VIOLATION", "hello came twice, or from another space");
    }
    this.#isOpen = true;
    // A roster that was kept may be out of date in what no digest tells, so each session asks for it.
    this.#theirRecords = records;
    this.#ask();
    const [theirs, told, ours] = [digest, this.#greeted, this.store.digest()].map(toHex) as [
      string,
      string,
      string,
    ];
    if (told === theirs ? ours !== theirs : told < theirs) this.#compare();
    else if (ours === theirs) this.#agree();
  }

  /** The parent has just what we have. */
  #agree(): void {
    this.#theirs.clear();
    for (const head of this.store.heads()) this.#theirs.set(keyOf(head), head);
  }

  /** Lists all heads, and asks for those of the parent. */
  #compare(): void {
    this.#send({
      type: "ranges",
      round: 1,
      ranges: [{ upper: "", mode: "list", heads: this.#headsFrom("", "") }],
    });
  }

  /** Heads with `lower <= key < upper`, by key (incarnation first); an empty `upper` is the end. */
  #headsFrom(lower: string, upper: string): readonly ChainHead[] {
    return this.store
      .heads()
      .filter((head) => isIn(head, lower, upper))
      .toSorted((a, b) => (rangeKey(a) < rangeKey(b) ? -1 : 1))
      .slice(0, MAX_HEADS);
  }

  /** A list is all that the parent has in a range. What it asks about is answered by a list of ours, whatever it was asked with. */
  #onRanges({ round, ranges }: Message<"ranges">): void {
    const answer: Range[] = [];
    let lower = "";
    for (const range of ranges) {
      const { upper, mode } = range;
      if ("heads" in range) this.#hearAll(lower, upper, range.heads);
      if (mode === "fingerprint")
        answer.push({ upper, mode: "list", heads: this.#headsFrom(lower, upper) });
      else if (mode === "list")
        answer.push({ upper, mode: "listed", heads: this.#headsFrom(lower, upper) });
      else answer.push({ upper, mode: "skip" });
      lower = upper;
    }
    while (answer.at(-1)?.mode === "skip") answer.pop();
    if (answer.length > 0) this.#send({ type: "ranges", round: round + 1, ranges: answer });
    this.#pull();
  }

  #hearAll(lower: string, upper: string, heads: readonly ChainHead[]): void {
    for (const [chain, head] of this.#theirs) {
      if (isIn(head, lower, upper)) this.#theirs.delete(chain);
    }
    this.#hear(heads);
  }

  /** The parent's word about its heads replaces what it said before; seq 0: nothing of the chain counts any more. */
  #hear(heads: readonly ChainHead[]): void {
    for (const head of heads) {
      this.#stuck.delete(keyOf(head));
      this.#theirs.set(keyOf(head), head);
      // By its heads the parent judges otherwise than by the roster that it gave us: that one is out of date. Of our own chain it may just be behind.
      const ours = this.store.head(head)?.seq ?? 0;
      const isLower = head.replica !== this.store.device && head.seq < ours;
      if (isLower || head.seq >= this.store.limitOf(head)) this.#owesAsk = true;
    }
  }

  #onHave(heads: readonly ChainHead[]): void {
    this.#hear(heads);
    this.#pull();
  }

  #onDigest({ digest, records, asks }: Message<"digest">): void {
    this.#onRecords(records);
    if (same(digest, this.store.digest())) {
      this.#agree();
      if (asks) this.#sayDigest(false);
    } else if (asks) this.#compare();
  }

  #sayDigest(asks: boolean): void {
    this.#send({ type: "digest", digest: this.store.digest(), records: this.store.records, asks });
  }

  #onRecords(records: Uint8Array): void {
    this.#theirRecords = records;
    if (!same(records, this.store.records)) this.#ask();
  }

  /** Asks for the roster, one question at a time, and at most every two seconds. */
  #ask(): void {
    const nowMs = this.#now();
    this.#owesAsk = this.#asking !== undefined || nowMs < this.#askAgainMs;
    if (this.#owesAsk) return;
    this.#askAgainMs = nowMs + RECORDS_EVERY_MS;
    this.#asking = ++this.#asked;
    this.#send({ type: "ask", id: this.#asking, question: encodeQuestion({ kind: "roster" }) });
  }

  /** The roster came: what counts is looked at again, the parent hears by which records, and both compare heads. */
  #onAnswer({ id, answer }: Message<"answer">): void {
    if (id !== this.#asking) return;
    this.#asking = undefined;
    const roster = decodeAnswer(answer);
    if (roster.kind === "refused") throw roster.error;
    if (roster.kind !== "roster") throw new MeshError("PROTOCOL_VIOLATION", "no roster came");
    this.store.adopt(roster);
    // Records may have moved on while it was made; the parent has said so, or will.
    if (!same(this.#theirRecords, roster.records)) this.#owesAsk = true;
    this.#stuck.clear();
    this.#sayDigest(true);
    this.#pull();
  }

  /** Asks for what the parent has and we lack, as far as it counts. One pull at a time; none without a roster. */
  #pull(): void {
    if (this.#pulling !== undefined || this.store.roster === undefined) return;
    const spans = [...this.#theirs.values()].flatMap(({ seq, ...head }) => {
      const { replica, incarnation } = head;
      const from = (this.store.head(head)?.seq ?? 0) + 1;
      const to = Math.min(seq, this.store.limitOf(head) - 1);
      // Nobody else writes our chain: who has more of it has a copy of this device, and that is what the next start is to find out.
      const isOwn = keyOf(head) === keyOf(this.store.own);
      return isOwn || from > to || this.#stuck.has(keyOf(head))
        ? []
        : [{ replica, incarnation, from, to }];
    });
    if (spans.length === 0) return;
    this.#pulling = spans.slice(0, MAX_SPANS);
    this.#send({ type: "pull", spans: spans.slice(0, MAX_SPANS) });
  }

  /** Takes the answer, and asks on as long as that helps. */
  #onBatches(batches: readonly Uint8Array[]): void {
    const pulled = this.#pulling;
    if (pulled === undefined) {
      throw new MeshError("PROTOCOL_VIOLATION", "batches came that nobody pulled");
    }
    this.#pulling = undefined;
    const taken = batches.filter((bytes) => this.store.receive(bytes, this.#now())).length;
    if (taken === 0) for (const chain of pulled) this.#stuck.add(keyOf(chain));
    this.#pull();
  }

  /** The parent has at least what it pushes. */
  #onPush(bytes: Uint8Array): void {
    this.store.receive(bytes, this.#now());
    const { header, headerBytes } = decodeBatch(bytes);
    const { replica, incarnation, seq } = header;
    const known = this.#theirs.get(keyOf(header))?.seq ?? 0;
    const hash = toHex(sha256(headerBytes)).slice(0, 32);
    if (seq > known) this.#hear([{ replica, incarnation, seq, hash }]);
    this.#pull();
  }

  /** Sends what is asked for in the order of the log, some 256 KiB of it, one batch at least where there is one. */
  #onPull({ spans }: Message<"pull">): void {
    const wanted = new Map(spans.map((span) => [keyOf(span), span]));
    const batches: Uint8Array[] = [];
    let bytes = 0;
    for (const stored of this.store.log) {
      const span = wanted.get(keyOf(stored));
      if (span === undefined || stored.seq < span.from || stored.seq > span.to) continue;
      bytes += stored.bytes.length;
      if (batches.length > 0 && (bytes > LIMITS.syncChunkBytes || batches.length >= 1_024)) break;
      batches.push(stored.bytes);
      const { replica, incarnation, seq, hash } = stored;
      this.#theirs.set(keyOf(stored), { replica, incarnation, seq, hash: hash.slice(0, 32) });
    }
    this.#send({ type: "batches", batches });
  }
}

const isIn = (head: Chain, lower: string, upper: string): boolean =>
  rangeKey(head) >= lower && (upper === "" || rangeKey(head) < upper);
