// SPDX-License-Identifier: Apache-2.0
/**
 * The log that the hubs of a space share. What this hub takes in is appended there before it is durable here, so whatever it tells of is
 * there; and what the others append is taken in here.
 */
import { decodeBatch, decodeSignedRecord } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { LIMITS, MeshError, fromHex, parseHeaderHash, toHex } from "@ctxmesh/model";
import type { EngineEntry, EngineRecord, Store } from "@ctxmesh/model";
import type { Journal, Replica } from "@ctxmesh/replica";
import type { EngineLink, EngineLinkStatus } from "./engine-link.ts";
import type { Hints } from "./hints.ts";
import { readPosition, writePosition } from "./log-position.ts";
import type { Anchor } from "./log-position.ts";
import { WaitingRecords, nobody } from "./waiting-records.ts";

/** Records read at a time. */
const PAGE = 512;
/** How often it is looked for what others append, in milliseconds: while there is something, and otherwise. */
const BUSY_MS = 15;
const IDLE_MS = 100;
/** How often it is looked whether something has been read that somebody waits for, in milliseconds. */
const SOON_MS = 2;
/** Looks without anything new after which it is looked less often: some three seconds. */
const BUSY_LOOKS = 200;
/** How often the position is written, in milliseconds: after a crash what is behind it is read again. */
const KEEP_EVERY_MS = 1_000;
/** How often it is looked after what waits, and whether it is still the same log, in milliseconds. */
const LOOK_AFTER_MS = 1_000;
/** Ids of records that came from the shared log or went there. */
const KNOWN_IDS = 65_536;

type Span = Parameters<Replica["read"]>[0][number];

/** How a hub stands to the engine that it shares with others. */
export interface SharedLogStatus extends EngineLinkStatus {
  /** The newest position of the shared log that is known here, and up to which everything is here. */
  readonly head: number;
  readonly applied: number;
}

/** One hub's end of the shared log. */
export class SharedLog implements Journal {
  readonly #link: EngineLink;
  readonly #hints: Hints;
  /** Ids of records, hex, the oldest first: what came from there need not go there. */
  readonly #known = new Set<string>();
  readonly #waiting: WaitingRecords;
  /** Positions of what went there from here and was not read since. */
  readonly #own = new Set<number>();
  /** The last position that was read, that was kept, and the newest that is known of. */
  #read = 0;
  #kept = 0;
  #head = 0;
  /** The last record that was read, or appended here. */
  #anchor: Anchor | undefined;
  #keptMs = 0;
  #lookedMs = 0;
  #following: Promise<void> | undefined;
  #stopListening: () => void = () => undefined;

  constructor(link: EngineLink, hints: Hints) {
    this.#link = link;
    this.#hints = hints;
    this.#waiting = new WaitingRecords(link);
  }

  /** As it stands now. */
  status(): SharedLogStatus {
    return {
      ...this.#link.status(),
      head: Math.max(this.#head, this.#read),
      applied: this.#applied,
    };
  }

  /** Everything up to here is in the replica. */
  get #applied(): number {
    return (this.#waiting.oldest ?? this.#read + 1) - 1;
  }

  async record(entries: readonly EngineEntry[]): Promise<void> {
    const fresh = entries.filter(({ id }) => !this.#known.has(toHex(id)));
    for (const part of inCalls(fresh)) {
      const { engine, space } = this.#link;
      this.#recorded(part, await this.#link.ask(async () => engine.append(space, part)));
    }
  }

  async recordUnless(
    entries: readonly EngineEntry[],
    isAgainst: (record: EngineEntry) => boolean,
  ): Promise<boolean> {
    const { engine, space } = this.#link;
    const after = this.#applied;
    // What went there from here is here already: the replica writes one group after the other.
    const isNew = (record: EngineRecord): boolean =>
      !this.#own.has(record.position) && isAgainst(record);
    const append = async (): Promise<readonly number[] | undefined> =>
      engine.appendUnless(space, entries, after, isNew);
    const positions = await this.#link.ask(append);
    if (positions !== undefined) this.#recorded(entries, positions);
    return positions !== undefined;
  }

  /** Records went to the shared log, where they have these positions. */
  #recorded(entries: readonly EngineEntry[], positions: readonly number[]): void {
    for (const [i, { id }] of entries.entries()) {
      const position = positions[i] ?? 0;
      this.#know(id);
      this.#note({ position, id });
      if (position > this.#read) this.#own.add(position);
    }
    this.#hints.tell(Math.max(...positions));
  }

  #note({ position, id }: Anchor): void {
    this.#head = Math.max(this.#head, position);
    if (position > (this.#anchor?.position ?? 0)) this.#anchor = { position, id };
  }

  #know(id: Uint8Array): void {
    this.#known.add(toHex(id));
    if (this.#known.size <= KNOWN_IDS) return;
    const [oldest] = this.#known;
    if (oldest !== undefined) this.#known.delete(oldest);
  }

  /**
   * Takes in what is in the shared log, and appends what the store had before it was given an engine. Resolves once everything that was there in the
   * beginning is here; from then on it goes on by itself until the link is stopped. Rejects with `CLOSED` when that happens before.
   */
  async follow(replica: Replica, store: Store): Promise<void> {
    const { engine, space } = this.#link;
    this.#stopListening = replica.onApplied(({ head }) => {
      this.#waiting.cameIn(head.hash);
    });
    const own = await this.#begin(replica, store);
    this.#head = await this.#link.ask(async () => engine.head(space));
    for (const target = this.#head; this.#read < target;) {
      if ((await this.#step(replica)) === 0) await this.#link.pause(BUSY_MS);
      await this.#lookAfter(replica);
      if (own === undefined) await this.#keep(store);
    }
    // A store is told of the acts of its space file when it is opened, and not through here.
    await this.#appendRecords(replica);
    if (own !== undefined) await this.#appendBatches(replica, own);
    await this.#keep(store, true);
    this.#following = this.#run(replica, store);
  }

  /** Resolves once everything that is in the shared log now was read here. Rejects with `CLOSED` when the link is stopped before. */
  async caughtUp(): Promise<void> {
    await this.#link.ask(async () => this.#reach(() => this.#read, Number.POSITIVE_INFINITY));
  }

  /**
   * Resolves once everything that is in the shared log now is here, and judged. Rejects with `ENGINE_UNAVAILABLE` when the engine does not answer, with
   * `READ_BEHIND` when that takes longer than `withinMs`, with `CLOSED` when the link is stopped before.
   */
  async current(withinMs: number): Promise<void> {
    const { failure, reachable } = this.#link.status();
    // What waits for it would wait longer than anybody wants to.
    if (!reachable) throw new MeshError("ENGINE_UNAVAILABLE", failure ?? "it is away");
    await this.#reach(() => this.#applied, performance.now() + withinMs);
  }

  async #reach(position: () => number, dueMs: number): Promise<void> {
    const { engine, space } = this.#link;
    const head = await engine.head(space);
    while (position() < head) {
      if (this.#link.isStopped) throw new MeshError("CLOSED", "the hub stops");
      if (performance.now() > dueMs) {
        throw new MeshError("READ_BEHIND", "the hub does not have all of the shared log yet", {
          remedy: "try again; ctxmesh status at the hub says how far it is behind",
        });
      }
      this.#hints.expect(head);
      await this.#link.pause(SOON_MS);
    }
  }

  /** Finds the place to go on from; resolves with what is to be appended when that is the beginning. */
  async #begin(replica: Replica, store: Store): Promise<readonly Span[] | undefined> {
    const stored = await readPosition(store);
    const spans = spansOf(replica);
    const isSame = stored !== undefined && (await this.#isSame(stored.anchor));
    if (isSame && (await this.#hasHeads(replica, spans))) {
      // A healed store has the position of the damaged one, and not all of its batches.
      const isBehind = replica.degraded().some(({ kind }) => kind === "behind");
      this.#kept = isBehind ? 0 : stored.position;
      this.#anchor = isBehind ? undefined : stored.anchor;
      this.#read = this.#kept;
      return undefined;
    }
    if (stored !== undefined) this.#link.sayReplaced();
    return spans;
  }

  /** Whether the last batch of each chain that is here is in the shared log: nothing is here that was not there first. */
  async #hasHeads(replica: Replica, spans: readonly Span[]): Promise<boolean> {
    const { engine, space } = this.#link;
    for (let i = 0; i < spans.length; i += LIMITS.engineFinds) {
      const hashes = await Promise.all(
        spans
          .slice(i, i + LIMITS.engineFinds)
          .map(async ({ replica: device, incarnation, to }) =>
            replica.hashAt(device, incarnation, to),
          ),
      );
      const rest = new Set(hashes.filter((hash) => hash !== undefined));
      while (rest.size > 0) {
        const ids = [...rest].map((hash) => fromHex(hash));
        const records = await this.#link.ask(async () => engine.find(space, ids));
        if (records.length === 0) return false;
        for (const { id } of records) rest.delete(parseHeaderHash(toHex(id)));
      }
    }
    return true;
  }

  /** Whether a record is still where it was read: not so when the engine is another one, or was restored from a backup. */
  async #isSame(anchor: Anchor | undefined): Promise<boolean> {
    if (anchor === undefined) return true;
    const { engine, space } = this.#link;
    const { position, id } = anchor;
    const [record] = await this.#link.ask(async () => engine.read(space, position - 1, 1));
    return record?.position === position && toHex(record.id) === toHex(id);
  }

  /** All acts and proofs that are here. */
  async #appendRecords(replica: Replica): Promise<void> {
    const { acts, proofs } = replica.readRecords({ acts: [], forks: [] });
    await this.record([
      ...acts.map((bytes) => ({
        kind: "act" as const,
        id: sha256(decodeSignedRecord(bytes).body),
        bytes,
      })),
      ...proofs.map((bytes) => ({ kind: "proof" as const, id: sha256(bytes), bytes })),
    ]);
  }

  /** Batches that are here, in causal order; what they are judged by goes before. */
  async #appendBatches(replica: Replica, spans: readonly Span[]): Promise<void> {
    let batches: EngineEntry[] = [];
    for await (const { bytes } of replica.read(spans)) {
      batches.push({ kind: "batch", id: sha256(decodeBatch(bytes).headerBytes), bytes });
      if (batches.length < PAGE) continue;
      await this.record(batches);
      batches = [];
    }
    await this.record(batches);
  }

  async #run(replica: Replica, store: Store): Promise<void> {
    let looks = 0;
    while (!this.#link.isStopped) {
      try {
        looks = (await this.#step(replica)) > 0 ? 0 : looks + 1;
        await this.#lookAfter(replica);
        await this.#keep(store);
      } catch (error) {
        // It is stopped, the replica has failed, which says so itself, or the engine has what nobody can read.
        this.#link.giveUp(error);
        return;
      }
      if (looks === 0) continue;
      await this.#hints.wait(this.#link, looks > BUSY_LOOKS ? IDLE_MS : BUSY_MS, this.#read);
    }
  }

  /** Reads a page and takes it in; resolves with the number of its records. */
  async #step(replica: Replica): Promise<number> {
    if (this.#waiting.isFull) return 0;
    const { engine, space } = this.#link;
    const records = await this.#link.ask(async () => engine.read(space, this.#read, PAGE));
    for (const { id } of records) this.#know(id);
    for (const run of runsOf(records)) {
      await (run[0]?.kind === "batch" ? this.#receive(replica, run) : take(replica, run));
      const last = run.at(-1);
      if (last === undefined) continue;
      this.#read = last.position;
      for (const { position } of run) this.#own.delete(position);
      this.#note(last);
    }
    return records.length;
  }

  async #receive(replica: Replica, records: readonly EngineRecord[]): Promise<void> {
    const outcomes = await Promise.all(
      records.map(async ({ bytes }) => replica.receive(bytes, nobody)),
    );
    for (const [i, { kind }] of outcomes.entries()) {
      const record = records[i];
      if (record === undefined || kind === "accepted" || kind === "refused") continue;
      // One that was held before is a duplicate, too, and so is one that is about to be written.
      await this.#waiting.add(record, replica);
    }
  }

  /** Once a second: what waits, and whether it is still the same log. */
  async #lookAfter(replica: Replica): Promise<void> {
    const nowMs = performance.now();
    if (nowMs - this.#lookedMs < LOOK_AFTER_MS) return;
    this.#lookedMs = nowMs;
    await this.#waiting.look(replica, this.#read);
    if (await this.#isSame(this.#anchor)) return;
    this.#link.sayReplaced();
    this.#waiting.clear();
    this.#known.clear();
    this.#own.clear();
    this.#read = 0;
    this.#head = 0;
    this.#anchor = undefined;
    await this.#appendRecords(replica);
    await this.#appendBatches(replica, spansOf(replica));
  }

  async #keep(store: Store, isDue = false): Promise<void> {
    const position = this.#applied;
    const nowMs = performance.now();
    if (!isDue && (position === this.#kept || nowMs - this.#keptMs < KEEP_EVERY_MS)) return;
    this.#keptMs = nowMs;
    this.#kept = position;
    await writePosition(store, { position, anchor: this.#anchor });
  }

  /** Waits for the following to end; stop the link before. */
  async stop(): Promise<void> {
    this.#hints.stop();
    await this.#following;
    this.#stopListening();
  }
}

/** All that a replica has, what does not count with it. */
const spansOf = (replica: Replica): readonly Span[] =>
  replica.chains().map(({ replica: device, incarnation, seq, void: others }) => ({
    replica: device,
    incarnation,
    from: 1,
    to: seq + others,
  }));

/** Takes in acts, proofs or headers, which are of one kind. */
async function take(replica: Replica, records: readonly EngineRecord[]): Promise<void> {
  const bytes = records.map((record) => record.bytes);
  switch (records[0]?.kind) {
    case "act":
      await replica.addRecords({ acts: bytes });
      return;
    case "proof":
      await replica.addRecords({ proofs: bytes });
      return;
    case "header":
      await replica.addHeaders(bytes);
      return;
    case "batch":
    case undefined:
  }
}

/** Records of one kind that follow each other. */
function runsOf(records: readonly EngineRecord[]): EngineRecord[][] {
  const runs: EngineRecord[][] = [];
  for (const record of records) {
    const last = runs.at(-1);
    if (last?.[0]?.kind === record.kind) last.push(record);
    else runs.push([record]);
  }
  return runs;
}

/** Entries in parts that an engine takes. */
function* inCalls(entries: readonly EngineEntry[]): Generator<readonly EngineEntry[]> {
  let part: EngineEntry[] = [];
  let bytes = 0;
  for (const entry of entries) {
    bytes += entry.bytes.length;
    if (part.length >= LIMITS.engineEntries || bytes > LIMITS.engineBytes) {
      yield part;
      part = [];
      bytes = entry.bytes.length;
    }
    part.push(entry);
  }
  if (part.length > 0) yield part;
}
