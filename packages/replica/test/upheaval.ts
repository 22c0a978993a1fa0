// SPDX-License-Identifier: Apache-2.0
/**
 * Random histories of a few replicas: writes, forks anywhere in a chain, and so many that their device is out, clones,
 * revocations by managers who may be removed themselves and cuts at forks, grants of all roles that may be struck, restarts.
 */
import { decodeBatch, encodeSignedRecord } from "@ctxmesh/codec";
import type { Role } from "@ctxmesh/codec";
import { issueGrant, revokeDevice } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { LIMITS, MeshError, fromHex, parseDocumentName, toHex } from "@ctxmesh/model";
import type { DocumentName, IncarnationId, RandomSource, Store } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { createMemoryStore, createSeededRandom, createVirtualClock } from "@ctxmesh/testing";
import type { VirtualClock } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { encodeProof } from "../src/evidence.ts";
import {
  DAY_MS,
  START_MS,
  creator,
  deviceOf,
  forge,
  hlcAt,
  incarnationOf,
  open,
  spaceWith,
} from "./mesh.ts";
import type { Device } from "./mesh.ts";

export const DEVICES: readonly Device[] = [1, 2, 3, 4].map(deviceOf);
/** What the creator lets them do; managers may let them do more. */
const ROLES: readonly Role[] = ["manage", "manage", "write", "append"];
const SPACE = spaceWith(DEVICES.map((device, i) => [device, ROLES[i] ?? "read"] as const));

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
  | { readonly do: "grant"; readonly who: number; readonly whom: number; readonly role: Role }
  | { readonly do: "clone"; readonly who: number }
  /** A copy with everything that the process has writes the next batch of the chain, and another one hears of it first. */
  | { readonly do: "fork"; readonly who: number; readonly whom: number; readonly n: number }
  /** A manager lets a device do more, it does, somebody builds on it, and somebody who knows nothing of all that removes the manager. */
  | { readonly do: "strike"; readonly who: number; readonly whom: number; readonly third: number }
  | { readonly do: "fork-out"; readonly who: number; readonly whom: number; readonly n: number }
  | { readonly do: "restart"; readonly who: number };

const who = fc.nat(DEVICES.length - 1);
/** Any step. */
export const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 100,
    arbitrary: fc.record({
      do: fc.constantFrom("put" as const, "edit" as const),
      who,
      doc: fc.nat(1),
      n: fc.nat(9),
    }),
  },
  {
    weight: 80,
    arbitrary: fc.record({ do: fc.constant("tell" as const), who, whom: who, n: fc.nat(20) }),
  },
  { weight: 20, arbitrary: fc.record({ do: fc.constant("records" as const), who, whom: who }) },
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant("revoke" as const),
      who,
      whom: who,
      creator: fc.boolean(),
      all: fc.boolean(),
    }),
  },
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant("grant" as const),
      who,
      whom: who,
      role: fc.constantFrom("write" as const, "manage" as const),
    }),
  },
  { weight: 8, arbitrary: fc.record({ do: fc.constant("clone" as const), who }) },
  {
    weight: 12,
    arbitrary: fc.record({ do: fc.constant("fork" as const), who, whom: who, n: fc.nat(2) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("strike" as const),
      who: fc.nat(1),
      whom: who,
      third: who,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("fork-out" as const), who, whom: who, n: fc.nat(60) }),
  },
  { weight: 10, arbitrary: fc.record({ do: fc.constant("restart" as const), who }) },
);

/** A write that was acknowledged. */
export interface AcknowledgedPut {
  readonly device: Device;
  readonly doc: DocumentName;
  readonly key: string;
  readonly value: number;
}

/** Draws an incarnation first, and then by seed. */
function startingAs(incarnation: IncarnationId, seed: number): RandomSource {
  const random = createSeededRandom(seed);
  let drawn = 0;
  return { bytes: (length) => (drawn++ === 0 ? fromHex(incarnation) : random.bytes(length)) };
}

/** A store with the same records. */
async function copyOf(store: Store): Promise<ReopenableStore> {
  const copy = createMemoryStore();
  const changes: { key: Uint8Array; value: Uint8Array }[] = [];
  for await (const [key, value] of store.scan({ gte: Uint8Array.of(0), lt: Uint8Array.of(255) })) {
    changes.push({ key, value });
  }
  await copy.write(changes);
  return copy;
}

const knownProofs = new Map<Device, readonly Uint8Array[]>();

/** Proofs of forks in more chains of a device than it may have. */
function proofsOf(device: Device): readonly Uint8Array[] {
  const known = knownProofs.get(device);
  if (known !== undefined) return known;
  const proofs = Array.from({ length: LIMITS.proofsPerDevice + 60 }, (_, n) => {
    const [one, other] = [1, 2].map((ms) =>
      forge({ space: SPACE, device, incarnation: incarnationOf(9000 + n), hlc: hlcAt(ms) }),
    );
    if (one === undefined || other === undefined) throw new Error("no batches");
    return encodeProof(decodeBatch(one.bytes), decodeBatch(other.bytes));
  });
  knownProofs.set(device, proofs);
  return proofs;
}

/** One of two documents. */
export const docOf = (n: number): DocumentName => parseDocumentName(n === 0 ? "a" : "b");

/** The randomness of a device's first process, and of clones of it. */
export const firstRandom = (index: number): RandomSource => createSeededRandom(10_000 + index);

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
    random: RandomSource = createSeededRandom(++this.#seed),
  ): Promise<Node<T>> {
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
        const copy = await this.open(node.device, createMemoryStore(), firstRandom(step.who));
        await copy.replica.put(docOf(0), [{ key: "clone", value: step.who }]);
        await copy.replica.edit(docOf(0), (roots) => roots.text("notes").insert(0, "clone "));
        await copy.replica.close();
        return;
      }
      case "fork":
        return this.#fork(step, node);
      case "strike":
        return this.#strike(step, node);
      case "fork-out":
        // Each of the two hears of forks of which the other does not.
        await replica.addRecords({ proofs: proofsOf(DEVICES[step.whom] ?? creator).slice(step.n) });
        await this.nodes[(step.who + 1) % DEVICES.length]?.replica.addRecords({
          proofs: proofsOf(DEVICES[step.whom] ?? creator)
            .toReversed()
            .slice(step.n),
        });
        return;
      case "restart": {
        await replica.close();
        const store = (await node.store.reopen()) as S;
        this.nodes[step.who] = await this.open(node.device, store);
      }
    }
  }

  async #fork({ n, whom }: Action & { readonly do: "fork" }, node: Node<S>): Promise<void> {
    const { device, replica, store } = node;
    const other = this.nodes[whom]?.replica;
    const random = startingAs(replica.incarnation, ++this.#seed);
    const copy = await this.open(device, await copyOf(store), random);
    const before = this.written.length;
    for (let i = 0; i <= n; i++) {
      await copy.replica.edit(docOf(0), (roots) =>
        roots.text("notes").insert(0, `fork${String(i)} `),
      );
    }
    await copy.replica.close();
    if (other === undefined || other === replica) return;
    for (const bytes of this.written.slice(before)) await other.receive(bytes);
    if (n === 0) return;
    // What builds on one branch, and a cut at the other.
    await other.edit(docOf(0), (roots) =>
      roots.text("notes").insert(Math.min(2, roots.text("notes").length), "on a branch "),
    );
    await replica.edit(docOf(0), (roots) => roots.text("notes").insert(0, "the other branch "));
  }

  async #strike(step: Action & { readonly do: "strike" }, node: Node<S>): Promise<void> {
    const last = DEVICES.length - 1;
    const raised = this.nodes[last]?.replica;
    const other = this.nodes[step.whom]?.replica;
    const third = this.nodes[step.third];
    if (raised === undefined || other === undefined || third === undefined) return;
    await other.edit(docOf(0), (roots) => roots.text("notes").insert(0, "to go "));
    await this.#grant({ do: "grant", who: step.who, whom: last, role: "write" }, node);
    for (const replica of [raised, other]) {
      await replica.addRecords(node.replica.readRecords(replica.recordIds()));
    }
    for (const bytes of this.written) await raised.receive(bytes);
    await raised.edit(docOf(0), (roots) => {
      const text = roots.text("notes");
      if (text.length > 0) text.delete(0, Math.min(3, text.length));
      text.insert(0, "raised ");
    });
    for (const bytes of this.written) await other.receive(bytes);
    await other.edit(docOf(0), (roots) =>
      roots.text("notes").insert(Math.min(3, roots.text("notes").length), "upon it "),
    );
    await this.#revoke(
      { do: "revoke", who: step.third, whom: step.who, creator: true, all: false },
      third,
    );
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
        role: step.role,
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
