// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what a replica with a subscription shows of the documents that it wants is what a full one shows, after any history of writes,
 * forks, clones and revocations, in any order of delivery, whole batches or tailored ones, over restarts and checkpoints; and once it has
 * fetched the rest, it is the full one's equal in everything.
 * Method: random histories of full replicas until they agree; then a newcomer with a random subscription is given all of it.
 */
import { Wants, tailored } from "@ctxmesh/replica";
import type { Replica } from "@ctxmesh/replica";
import { createMemoryStore, createSeededRandom } from "@ctxmesh/testing";
import type { MemoryStore } from "@ctxmesh/testing";
import type { Subscription } from "@ctxmesh/model";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { START_MS, deviceOf, open, unaccounted, verifier } from "./mesh.ts";
import { DEVICES, Upheaval, action, docOf, firstRandom, readsOf } from "./upheaval.ts";
import type { Action, Node } from "./upheaval.ts";
import { shuffledBy } from "./rich-support.ts";
import { heldOf } from "./partial-support.ts";

const NEWCOMER = deviceOf(77);

const subscription: fc.Arbitrary<Subscription> = fc.constantFrom<Subscription[]>(
  { docs: ["a"] },
  { docs: ["b"] },
  { docs: ["a", "b"] },
  { keys: ["k1", "k2"] },
  { docs: ["a"], keys: ["k*"] },
  { keys: ["clone"] },
  { docs: ["c"] },
);

/** What removes the right that a batch needed shows in its content alone. */
const steps = fc.array(
  action.filter(({ do: what }) => what !== "strike" && what !== "grant"),
  { minLength: 10, maxLength: 50, size: "max" },
);

const isWantedDoc = ({ docs }: Subscription, n: number): boolean =>
  docs === undefined || docs.includes(docOf(n));

/** What is shown of what a subscription wants. */
function shown(replica: Replica, wanted: Subscription): unknown {
  const wants = new Wants(wanted);
  const docs = [0, 1].filter((n) => isWantedDoc(wanted, n));
  return docs.map((n) => ({
    facts: replica
      .list({ doc: docOf(n) })
      .filter(({ key }) =>
        wants.hasOne({ from: 0, to: 1, records: [{ key, seq: 1, hlc: 1 as never }] }),
      )
      .map(({ ageMs: _ageMs, incomplete: _incomplete, ...fact }) => fact),
    content: replica.content(docOf(n)),
  }));
}

/** All that can be read; but not how much of what does not count was ever stored. */
const equalOf = (replica: Replica): unknown => ({
  ...(readsOf(replica) as object),
  chains: [],
});

/** A replica that is closed and opened again now and then. */
class Newcomer implements Node<MemoryStore> {
  readonly device = NEWCOMER;
  store: MemoryStore = createMemoryStore();
  #replica: Replica | undefined;
  #seed = 900_000;
  readonly #history: Upheaval<MemoryStore>;
  readonly #subscription: Subscription;

  constructor(history: Upheaval<MemoryStore>, wanted: Subscription) {
    this.#history = history;
    this.#subscription = wanted;
  }

  get replica(): Replica {
    if (this.#replica === undefined) throw new Error("not open");
    return this.#replica;
  }

  async start(space: Replica["space"]): Promise<void> {
    this.#replica = await open({
      device: NEWCOMER,
      store: this.store,
      clock: this.#history.clock,
      random: createSeededRandom(++this.#seed),
      space,
      subscription: this.#subscription,
    });
  }

  async restart(withCheckpoint: boolean): Promise<void> {
    const { space } = this.replica;
    if (withCheckpoint) await this.replica.checkpoint();
    await this.replica.close();
    this.store = await this.store.reopen();
    await this.start(space);
  }
}

/** Gives everything to a newcomer, in any order, whole or tailored. */
async function deliver(
  newcomer: Newcomer,
  full: Replica,
  written: readonly Uint8Array[],
  wanted: Subscription,
  numbers: Iterator<number>,
): Promise<void> {
  const number = (): number => (numbers.next() as IteratorYieldResult<number>).value;
  const subscriber = { wants: new Wants(wanted), device: NEWCOMER.key };
  for (const bytes of shuffledBy(written, { [Symbol.iterator]: () => numbers })) {
    const sent = number() % 2 === 0 ? bytes : tailored(bytes, subscriber, START_MS);
    if (sent !== undefined) await newcomer.replica.receive(sent);
    if (number() % 40 === 0) await newcomer.restart(number() % 2 === 0);
    if (number() % 40 === 0) {
      await newcomer.replica.addRecords(full.readRecords(newcomer.replica.recordIds()));
    }
  }
}

async function happen(
  actions: readonly Action[],
  wanted: Subscription,
  seed: number,
  numbers: Iterator<number>,
): Promise<void> {
  const history = new Upheaval<MemoryStore>(seed * 100_000 + 100);
  for (const [i, device] of DEVICES.entries()) {
    history.nodes.push(await history.open(device, createMemoryStore(), firstRandom(i)));
  }
  const [first] = history.nodes;
  const { space } = first?.replica ?? { space: undefined };
  if (space === undefined) throw new Error("no replica");
  for (const step of actions) await history.run(step);
  await history.heal();
  const full = history.nodes[0]?.replica;
  if (full === undefined) throw new Error("no replica");
  const newcomer = new Newcomer(history, wanted);
  await newcomer.start(space);
  await deliver(newcomer, full, history.written, wanted, numbers);
  history.nodes.push(newcomer);
  await history.heal();
  expect(newcomer.replica.frontierDigest()).toEqual(full.frontierDigest());
  expect(shown(newcomer.replica, wanted)).toEqual(shown(full, wanted));
  expect(unaccounted(newcomer.replica.counters())).toBe(0);
  const before = [shown(newcomer.replica, wanted), newcomer.replica.omitted.documents()];
  await newcomer.restart(seed % 2 === 0);
  expect([shown(newcomer.replica, wanted), newcomer.replica.omitted.documents()]).toEqual(before);
  await heldOf(newcomer.replica, full, verifier);
  expect(newcomer.replica.omitted.summary()).toMatchObject({ documents: 0, sections: 0 });
  expect(equalOf(newcomer.replica)).toEqual(equalOf(full));
  await newcomer.restart(seed % 3 === 0);
  expect(equalOf(newcomer.replica)).toEqual(equalOf(full));
}

test("a replica with a subscription shows what a full one does of what it wants, and with the rest fetched is its equal", async () => {
  await fc.assert(
    fc.asyncProperty(steps, subscription, fc.nat(1000), fc.infiniteStream(fc.nat(1000)), happen),
    { numRuns: 12, interruptAfterTimeLimit: 20_000 },
  );
}, 60_000);
