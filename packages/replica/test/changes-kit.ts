// SPDX-License-Identifier: Apache-2.0
/** Replicas to which anything happens, those who follow their changes, and what these should come to. */
import { decodeBatch, decodeBody } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { decodeFrame } from "@ctxmesh/facts";
import type { FactRecord } from "@ctxmesh/facts";
import type { Space } from "@ctxmesh/membership";
import { MeshError, hlcToMs, parseDocumentName, toHex } from "@ctxmesh/model";
import type { DocumentName, EventQuery, FactInput, Priority } from "@ctxmesh/model";
import { isBegins, isRejudged } from "@ctxmesh/replica";
import type { ChangeItem, FactChange, Replica, TailItem } from "@ctxmesh/replica";
import { createMemoryStore } from "@ctxmesh/testing";
import type { MemoryStore, VirtualClock } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { deviceOf, open, spaceWith, us } from "./mesh.ts";
import type { Device } from "./mesh.ts";

export const DOCS: readonly DocumentName[] = ["a", "b/c"].map(parseDocumentName);
export const KEYS: readonly string[] = ["t", "u/v"];
export const DEVICES: readonly Device[] = [10, 11, 12].map(deviceOf);
export const SPACE: Space = spaceWith(DEVICES.map((device) => [device, "manage"] as const));

/** What happens. */
export type Step =
  | {
      readonly kind: "put";
      readonly at: number;
      readonly writes: readonly { readonly doc: number; readonly facts: FactInput[] }[];
      readonly priority: Priority;
    }
  | { readonly kind: "delete"; readonly at: number; readonly doc: number; readonly key: number }
  | {
      readonly kind: "retract";
      readonly at: number;
      readonly doc: number;
      readonly key: number;
      readonly writer: number;
    }
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "checkpoint"; readonly at: number }
  | { readonly kind: "deliver"; readonly at: number; readonly from: number };

const at = fc.nat(DEVICES.length - 1);
const [doc, key] = [fc.nat(1), fc.nat(1)];
const factOf = (ttls: boolean): fc.Arbitrary<FactInput> =>
  fc.record(
    {
      key: fc.constantFrom(...KEYS),
      value: fc.nat(9),
      confidence: fc.constantFrom(0.25, 0.5, 1),
      source: fc.constantFrom({ model: "m", version: "2" }, { model: "n" }),
      targets: fc.constantFrom(["x"], ["x", "y"]),
      ...(ttls ? { ttlMs: fc.integer({ min: 1, max: 3_000 }) } : {}),
    },
    { requiredKeys: ["key", "value"], noNullPrototype: true },
  );
const kind = <K extends string>(name: K): fc.Arbitrary<K> => fc.constant(name);
const stepOf = (ttls: boolean): fc.Arbitrary<Step> =>
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        kind: kind("put"),
        at,
        writes: fc.array(
          fc.record({ doc, facts: fc.array(factOf(ttls), { minLength: 1, maxLength: 3 }) }),
          { minLength: 1, maxLength: 3 },
        ),
        priority: fc.constantFrom<Priority>("high", "normal", "low"),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: kind("delete"), at, doc, key }) },
    { weight: 1, arbitrary: fc.record({ kind: kind("retract"), at, doc, key, writer: at }) },
    { weight: 2, arbitrary: fc.record({ kind: kind("wait"), ms: fc.nat(2_000) }) },
    { weight: 1, arbitrary: fc.record({ kind: kind("checkpoint"), at }) },
    { weight: 3, arbitrary: fc.record({ kind: kind("deliver"), at, from: at }) },
  );

/** A fact that reached a replica. */
interface Said {
  readonly doc: string;
  readonly writer: string;
  readonly hash: string;
  readonly section: number;
  readonly priority: string;
  readonly record: FactRecord;
}

function saidIn(bytes: Uint8Array): Said[] {
  const { header, headerBytes, bodies } = decodeBatch(bytes);
  const hash = toHex(sha256(headerBytes));
  const { replica: writer, lane: priority = "normal" } = header;
  return header.sections.flatMap(({ doc: name }, section) =>
    decodeFrame(decodeBody(bodies[section] ?? new Uint8Array())).records.map((record) => ({
      doc: name,
      writer,
      hash,
      section,
      priority,
      record,
    })),
  );
}

/** The visible value of a key at a time by the plain reading of the rules for `latest`. */
function shownOf(known: readonly Said[], ms: number): string | undefined {
  const rulings = known.flatMap(({ record }) => record.retract ?? []);
  const newest = new Map<string, Said>();
  for (const each of known) {
    if (each.record.retract !== undefined) continue;
    const other = newest.get(each.writer);
    if (other === undefined || other.record.hlc < each.record.hlc) newest.set(each.writer, each);
  }
  const [winner] = [...newest.values()]
    .filter(({ record }) => record.ttlMs === undefined || hlcToMs(record.hlc) + record.ttlMs > ms)
    .filter(
      ({ writer, record }) =>
        !rulings.some((ruling) => ruling.writer === writer && record.hlc <= ruling.upTo),
    )
    .toSorted((a, b) => b.record.hlc - a.record.hlc || (a.writer < b.writer ? 1 : -1));
  return winner?.record.valueJson;
}

/** What the list of all that was said comes to, change by change. */
export function expectedOf(said: readonly Said[]): unknown[] {
  return said.map((each, i) => {
    const { doc: name, record } = each;
    const before = said.slice(0, i).filter((e) => e.doc === name && e.record.key === record.key);
    const ms = hlcToMs(record.hlc);
    return { ...each, previous: shownOf(before, ms), current: shownOf([...before, each], ms) };
  });
}

/** Changes as {@link expectedOf} has them. */
export const told = (changes: readonly FactChange[]): unknown[] =>
  changes.map((change) => {
    const { doc: name, writer, hash, section, priority, record } = change;
    const { previousJson: previous, currentJson: current } = change;
    return { doc: name, writer, hash, section, priority, record, previous, current };
  });

/** Whether an item is a change. */
export const isChange = (item: ChangeItem): item is FactChange =>
  !isRejudged(item) && !isBegins(item);

/** All changes of a query that there are. */
export async function read(replica: Replica, query: EventQuery = {}): Promise<FactChange[]> {
  const changes: FactChange[] = [];
  for await (const part of replica.changes.read(query)) changes.push(...part.filter(isChange));
  return changes;
}

/** Somebody who follows. */
export interface Follower {
  readonly items: TailItem[];
  /** The position behind which it began. */
  readonly began: () => string | undefined;
  /** Resolves once it is in place; rejects when the query is refused. */
  readonly ready: Promise<void>;
  /** Resolves once it has so many items. */
  readonly has: (count: number) => Promise<void>;
  readonly stop: () => void;
  /** How it ended. */
  readonly ended: Promise<unknown>;
}

/** Begins to follow. */
export function follow(replica: Replica, query: EventQuery = {}): Follower {
  const end = new AbortController();
  const items: TailItem[] = [];
  let began: string | undefined;
  const ready = Promise.withResolvers<void>();
  let heard = Promise.withResolvers<void>();
  const listen = async (): Promise<void> => {
    const how = { follow: true, signal: end.signal };
    for await (const part of replica.changes.read(query, how)) {
      items.push(...part.filter((item): item is TailItem => !isBegins(item)));
      began ??= part.find(isBegins)?.position;
      ready.resolve();
      heard.resolve();
      heard = Promise.withResolvers();
    }
  };
  const ended = listen().catch((error: unknown) => {
    ready.reject(error);
    return error;
  });
  ready.promise.catch(() => undefined);
  return {
    items,
    began: () => began,
    ready: ready.promise,
    ended,
    stop: () => end.abort(new MeshError("ABORTED", "enough")),
    has: async (count) => {
      while (items.length < count) await heard.promise;
    },
  };
}

/** A replica with all that reached it, in order. */
export interface Node {
  readonly store: MemoryStore;
  readonly replica: Replica;
  readonly said: Said[];
  readonly made: Uint8Array[];
  readonly follower: Follower;
}

/** Opens one of them, which is followed from its beginning. */
export async function openNode(n: number, clock: VirtualClock): Promise<Node> {
  const [said, made]: [Said[], Uint8Array[]] = [[], []];
  const store = createMemoryStore();
  const replica = await open({ device: DEVICES[n] ?? us, space: SPACE, clock, store });
  replica.onApplied(({ bytes, origin }) => {
    said.push(...saidIn(bytes));
    if (origin === "local") made.push(bytes);
  });
  const follower = follow(replica);
  await follower.ready;
  return { replica, store, said, made, follower };
}

/** Takes a step. */
export async function run(nodes: readonly Node[], clock: VirtualClock, next: Step): Promise<void> {
  if (next.kind === "wait") {
    clock.advance(next.ms);
    return;
  }
  const { replica } = nodes[next.at] as Node;
  if (next.kind === "checkpoint") await replica.checkpoint();
  else if (next.kind === "deliver") {
    for (const bytes of nodes[next.from]?.made ?? []) await replica.receive(bytes);
  } else if (next.kind === "put") {
    // At the same time, so that one batch has several documents.
    await Promise.all(
      next.writes.map(({ doc: name, facts }) =>
        replica.put(DOCS[name] as DocumentName, facts, { priority: next.priority }),
      ),
    );
  } else {
    const [name, about] = [DOCS[next.doc] as DocumentName, KEYS[next.key] ?? ""];
    if (next.kind === "delete") {
      await replica.delete(name, [about]);
      return;
    }
    const whose = DEVICES[next.writer]?.key ?? us.key;
    const known = replica.candidates(name, about);
    if (!known.some((candidate) => candidate.writer === whose)) return;
    await replica.retract(name, about, whose, "why");
  }
}

/** Steps of a run, with or without time to live. */
export const steps = (ttls: boolean): fc.Arbitrary<Step[]> =>
  fc.array(stepOf(ttls), { minLength: 5, maxLength: 40 });
