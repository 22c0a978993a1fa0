// SPDX-License-Identifier: Apache-2.0
/** Random histories of a few replicas: writes, forks, clones, revocations by managers who may be removed themselves, renewed grants, restarts. */
import { encodeSignedRecord } from "@ctxmesh/codec";
import { issueGrant, revokeDevice } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { MeshError, parseDocumentName, toHex } from "@ctxmesh/model";
import type { DocumentName, Store } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { createMemoryStore, createSeededRandom, createVirtualClock } from "@ctxmesh/testing";
import type { VirtualClock } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { DAY_MS, START_MS, creator, deviceOf, open, spaceWith } from "./mesh.ts";
import type { Device } from "./mesh.ts";

export const DEVICES: readonly Device[] = [1, 2, 3, 4].map(deviceOf);
const SPACE = spaceWith(DEVICES.map((device, i) => [device, i < 2 ? "manage" : "write"] as const));

/** A store that can be closed and opened again. */
export interface ReopenableStore extends Store {
  reopen(): Promise<ReopenableStore>;
}

/** One of the replicas. */
export interface Node<S extends ReopenableStore> {
  readonly device: Device;
  readonly store: S;
  replica: Replica;
}

/** One step of a history. */
export type Action =
  | { readonly do: "put" | "edit"; readonly who: number; readonly doc: number; readonly n: number }
  | { readonly do: "tell"; readonly who: number; readonly whom: number; readonly n: number }
  | { readonly do: "records"; readonly who: number; readonly whom: number }
  | {
      readonly do: "revoke";
      readonly who: number;
      readonly whom: number;
      readonly creator: boolean;
      /** Nothing of the device is let stand. */
      readonly all: boolean;
    }
  | { readonly do: "grant"; readonly who: number; readonly whom: number }
  | { readonly do: "clone"; readonly who: number }
  | { readonly do: "restart"; readonly who: number };

const who = fc.nat(DEVICES.length - 1);
/** Any step. */
export const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      do: fc.constantFrom("put" as const, "edit" as const),
      who,
      doc: fc.nat(1),
      n: fc.nat(9),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({ do: fc.constant("tell" as const), who, whom: who, n: fc.nat(20) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("records" as const), who, whom: who }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("revoke" as const),
      who,
      whom: who,
      creator: fc.boolean(),
      all: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("grant" as const), who, whom: who }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("clone" as const), who }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("restart" as const), who }) },
);

/** A write that was acknowledged. */
export interface AcknowledgedPut {
  readonly device: Device;
  readonly doc: DocumentName;
  readonly key: string;
  readonly value: number;
}

/** One of two documents. */
export const docOf = (n: number): DocumentName => parseDocumentName(n === 0 ? "a" : "b");

/** A history under way. */
export class Upheaval<S extends ReopenableStore> {
  /** Stands still: a rebuild that took time would have records wait for time to pass. */
  readonly clock: VirtualClock = createVirtualClock(START_MS);
  readonly nodes: Node<S>[] = [];
  /** Every batch ever written, in the order of writing. */
  readonly written: Uint8Array[] = [];
  /** The last acknowledged write of each device to each key. */
  readonly acknowledged = new Map<string, AcknowledgedPut>();
  #seed: number;

  /** `seed` makes all that is random. */
  constructor(seed: number) {
    this.#seed = seed;
  }

  /** Opens a replica, whose local batches are gathered. */
  async open<T extends ReopenableStore>(
    device: Device,
    store: T,
    seed: number = ++this.#seed,
  ): Promise<Node<T>> {
    const random = createSeededRandom(seed);
    const replica = await open({ device, store, clock: this.clock, random, space: SPACE });
    const node = { device, store, replica };
    this.#collect(node);
    return node;
  }

  #collect({ replica }: Node<ReopenableStore>): void {
    replica.onApplied(({ bytes, origin }) => {
      if (origin === "local") this.written.push(bytes);
    });
  }

  /** Takes a step. */
  async run(step: Action): Promise<void> {
    const node = this.nodes[step.who];
    if (node === undefined) return;
    try {
      await this.#run(step, node);
    } catch (error) {
      // A revoked device is told that it can't write.
      if (!(error instanceof MeshError) || error.code !== "POLICY_REFUSED") throw error;
    }
  }

  async #run(step: Action, node: Node<S>): Promise<void> {
    const { replica } = node;
    switch (step.do) {
      case "put":
        await this.#put(node, docOf(step.doc), `k${String(step.n)}`);
        return;
      case "edit":
        await replica.edit(docOf(step.doc), (roots) => {
          const text = roots.text("notes");
          const at = Math.min(step.n, text.length);
          if (step.n % 3 === 0 && text.length > at) text.delete(at, 1);
          else text.insert(at, `${String(step.n)}.`);
        });
        return;
      case "tell":
        for (const bytes of this.written.slice(-3 * step.n)) {
          await this.nodes[step.whom]?.replica.receive(bytes);
        }
        return;
      case "records": {
        const other = this.nodes[step.whom]?.replica;
        if (other !== undefined) await replica.addRecords(other.readRecords(replica.recordIds()));
        return;
      }
      case "revoke":
        return this.#revoke(step, node);
      case "grant":
        return this.#grant(step, node);
      case "clone": {
        // A copy of the running process goes on writing in the same incarnation, from an empty store.
        const copy = await this.open(node.device, createMemoryStore(), 10_000 + step.who);
        await copy.replica.put(docOf(0), [{ key: "clone", value: step.who }]);
        await copy.replica.edit(docOf(0), (roots) => roots.text("notes").insert(0, "clone "));
        await copy.replica.close();
        return;
      }
      case "restart": {
        await replica.close();
        const store = (await node.store.reopen()) as S;
        this.nodes[step.who] = await this.open(node.device, store);
      }
    }
  }

  async #put({ replica, device }: Node<S>, doc: DocumentName, key: string): Promise<void> {
    const value = this.written.length;
    await replica.put(doc, [{ key, value }]);
    this.acknowledged.set(`${device.key} ${doc} ${key}`, { device, doc, key, value });
  }

  async #submit({ replica }: Node<S>, change: (space: Space) => Space): Promise<void> {
    const before = replica.space;
    const known = new Set(before.acts.map(({ id }) => id));
    const acts = change(before)
      .acts.filter(({ id }) => !known.has(id))
      .map(({ record }) => encodeSignedRecord(record));
    await replica.addRecords({ acts });
  }

  async #revoke(step: Action & { readonly do: "revoke" }, node: Node<S>): Promise<void> {
    const target = DEVICES[step.whom];
    if (target === undefined) return;
    const author = step.creator ? creator : node.device;
    const heads = step.all
      ? []
      : node.replica
          .heads()
          .filter(({ replica }) => replica === target.key)
          .map(({ incarnation, seq, hash }) => ({ incarnation, seq, hash }));
    await this.#submit(node, (space) =>
      revokeDevice(space, author.signer, {
        device: target.key,
        heads,
        reason: "x",
        now: this.clock.now(),
      }),
    );
  }

  async #grant(step: Action & { readonly do: "grant" }, node: Node<S>): Promise<void> {
    const target = DEVICES[step.whom];
    if (target === undefined) return;
    await this.#submit(node, (space) =>
      issueGrant(space, node.device.signer, {
        device: target.key,
        service: "agent",
        role: "manage",
        notBefore: START_MS - DAY_MS,
        now: this.clock.now(),
      }),
    );
  }

  #progress(): string {
    const each = this.nodes.map(({ replica }) => [stateOf(replica), replica.missing(0)]);
    return JSON.stringify([this.written.length, each]);
  }

  /** Gives everything to everybody until nothing moves. */
  async heal(): Promise<void> {
    for (let round = 0; round < 40; round++) {
      const before = this.#progress();
      for (const { replica } of this.nodes) {
        for (const { replica: other } of this.nodes) {
          await replica.addRecords(other.readRecords(replica.recordIds()));
          for (const hash of replica.missing(0)) {
            await replica.addHeaders(await other.signedHeaders(hash));
          }
        }
        for (const bytes of this.written) await replica.receive(bytes);
        replica.retryTimed();
        await replica.addRecords({});
      }
      if (this.#progress() === before) return;
    }
    throw new Error("it does not come to rest");
  }
}

/** What replicas with the same batches and records agree on. */
export const stateOf = (replica: Replica): Readonly<Record<string, unknown>> => ({
  frontier: toHex(replica.frontierDigest()),
  records: toHex(replica.recordsDigest()),
  leaves: replica.snapshot().leaves,
});

/** All that can be read of a replica, but for how its log is kept. */
export const readsOf = (replica: Replica): unknown => ({
  ...stateOf(replica),
  heads: replica.heads(),
  // Why something is void is worked out when it becomes so, and not again when there is another reason besides.
  chains: replica.chains().map(({ seq, limit, void: rest }) => [seq, limit, rest]),
  list: replica.list({}).map(({ ageMs: _ageMs, ...fact }) => fact),
  content: [0, 1].map((n) => replica.content(docOf(n))),
  candidates: replica.list({}).map(({ doc, key }) => replica.candidates(doc, key)),
});
