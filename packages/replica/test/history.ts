// SPDX-License-Identifier: Apache-2.0
/** Random histories of a few replicas, with the invariants that hold after every step. */
import assert from "node:assert/strict";
import { parseDocumentName, toHex } from "@ctxmesh/model";
import type { DocumentName, FactInput, JsonValue } from "@ctxmesh/model";
import type { Space } from "@ctxmesh/membership";
import type { Replica } from "@ctxmesh/replica";
import { createMemoryStore, createSeededRandom, createVirtualClock } from "@ctxmesh/testing";
import type { MemoryStore, VirtualClock } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { START_MS, deviceOf, open, spaceWith, unaccounted } from "./mesh.ts";
import type { Device } from "./mesh.ts";

const DOCS = ["a", "b/c"].map(parseDocumentName);
const KEYS = ["t", "u", "v"];

/** One step of a random history; `node` is taken modulo the number of nodes. */
type Step =
  | {
      readonly kind: "put";
      readonly node: number;
      readonly doc: number;
      readonly facts: FactInput[];
    }
  | { readonly kind: "delete"; readonly node: number; readonly doc: number; readonly key: number }
  | { readonly kind: "restart"; readonly node: number }
  | { readonly kind: "clock"; readonly node: number; readonly ms: number }
  | { readonly kind: "deliver"; readonly node: number; readonly batches: readonly number[] };

const node = fc.nat(4);
const fact: fc.Arbitrary<FactInput> = fc.record(
  {
    key: fc.constantFrom(...KEYS),
    value: fc.jsonValue({ maxDepth: 1 }).filter(isPlain) as fc.Arbitrary<JsonValue>,
    confidence: fc.constantFrom(0, 0.25, 0.5, 1, -0),
    ttlMs: fc.integer({ min: 1, max: 20_000 }),
    source: fc.constantFrom({ model: "m" }, { model: "m", version: "2", instance: "i" }),
    tags: fc.array(fc.constantFrom("x", "y"), { maxLength: 2 }),
  },
  { requiredKeys: ["key", "value"], noNullPrototype: true },
);
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("put" as const),
      node,
      doc: fc.nat(1),
      facts: fc.array(fact, { minLength: 1, maxLength: 3 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("delete" as const),
      node,
      doc: fc.nat(1),
      key: fc.nat(KEYS.length - 1),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const), node }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("clock" as const),
      node,
      ms: fc.integer({ min: -20_000, max: 20_000 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("deliver" as const),
      node,
      batches: fc.array(fc.nat(), { minLength: 1, maxLength: 6 }),
    }),
  },
);

function isPlain(value: unknown): boolean {
  return !/__proto__|constructor|prototype/u.test(JSON.stringify(value));
}

/** One replica with what it stands on. */
export interface Node {
  readonly device: Device;
  readonly clock: VirtualClock;
  store: MemoryStore;
  replica: Replica;
}

/** A few replicas, the batches that any of them announced, and the invariants checked after every step. */
export class Mesh {
  readonly #space: Space;
  readonly #random = createSeededRandom(7);
  readonly nodes: Node[] = [];
  /** Every local batch, in order of making. */
  readonly made: Uint8Array[] = [];
  readonly #leavesByFrontier = new Map<string, string>();

  private constructor(space: Space) {
    this.#space = space;
  }

  /** `count` nodes, of which the last may only read. */
  static async create(count: number): Promise<Mesh> {
    const devices = Array.from({ length: count }, (_, i) => deviceOf(10 + i));
    const mesh = new Mesh(
      spaceWith(devices.map((device, i) => [device, i === count - 1 ? "read" : "write"] as const)),
    );
    for (const device of devices) {
      const clock = createVirtualClock(START_MS);
      const store = createMemoryStore();
      mesh.nodes.push({ device, clock, store, replica: await mesh.#open(device, clock, store) });
    }
    return mesh;
  }

  async #open(device: Device, clock: VirtualClock, store: MemoryStore): Promise<Replica> {
    const replica = await open({ device, clock, store, space: this.#space, random: this.#random });
    replica.onApplied(({ bytes, origin }) => {
      if (origin === "local") this.made.push(bytes);
    });
    return replica;
  }

  async run(next: Step): Promise<void> {
    const at = this.nodes[next.node % this.nodes.length];
    if (at === undefined) return;
    switch (next.kind) {
      case "put":
        await writeOrRefuse(
          at,
          this.#canWrite(at),
          (doc) => at.replica.put(doc, next.facts),
          next.doc,
        );
        break;
      case "delete":
        await writeOrRefuse(
          at,
          this.#canWrite(at),
          (doc) => at.replica.delete(doc, [KEYS[next.key] ?? ""]),
          next.doc,
        );
        break;
      case "restart":
        await this.#restart(at);
        break;
      case "clock":
        at.clock.advance(next.ms);
        break;
      case "deliver":
        await this.deliver(
          at,
          next.batches.flatMap((n) => this.made.slice(n % (this.made.length + 1)).slice(0, 1)),
        );
        break;
    }
    this.check(at);
  }

  #canWrite(at: Node): boolean {
    return at !== this.nodes.at(-1);
  }

  async #restart(at: Node): Promise<void> {
    const { incarnation } = at.replica;
    await at.replica.close();
    const before = [toHex(at.replica.frontierDigest()), at.replica.snapshot().leaves];
    at.store = await at.store.reopen();
    at.replica = await this.#open(at.device, at.clock, at.store);
    assert.deepEqual([toHex(at.replica.frontierDigest()), at.replica.snapshot().leaves], before);
    assert.notEqual(at.replica.incarnation, incarnation);
  }

  /** Hands batches over at the same time. */
  async deliver(at: Node, batches: readonly Uint8Array[]): Promise<void> {
    const outcomes = await Promise.all(batches.map((bytes) => at.replica.receive(bytes)));
    assert.deepEqual(
      outcomes.filter(({ kind }) => kind === "refused" || kind === "dropped"),
      [],
    );
  }

  /** I1 (equal frontier, equal leaves) and I13 (every batch accounted for). */
  check(at: Node): void {
    const frontier = toHex(at.replica.frontierDigest());
    const leaves = at.replica.snapshot().leaves.join("\n");
    assert.deepEqual(leaves, this.#leavesByFrontier.get(frontier) ?? leaves);
    this.#leavesByFrontier.set(frontier, leaves);
    const counters = at.replica.counters();
    assert.deepEqual(unaccounted(counters), 0);
    assert.ok(counters.held >= 0);
  }
}

async function writeOrRefuse(
  at: Node,
  allowed: boolean,
  write: (doc: DocumentName) => Promise<unknown>,
  doc: number,
): Promise<void> {
  const made = write(DOCS[doc] ?? parseDocumentName("a"));
  if (allowed) {
    await made;
    return;
  }
  await assert.rejects(made, { code: "POLICY_REFUSED" });
  assert.ok(at.replica.heads().every(({ replica }) => replica !== at.device.key));
}

/** A number of nodes, what they do, and an order to deliver in. */
export const history: fc.Arbitrary<{
  readonly count: number;
  readonly steps: readonly Step[];
  readonly order: fc.Stream<number>;
}> = fc.record({
  count: fc.integer({ min: 2, max: 5 }),
  steps: fc.array(anyStep, { minLength: 5, maxLength: 60 }),
  order: fc.infiniteStream(fc.nat()),
});
