// SPDX-License-Identifier: Apache-2.0
/**
 * I6: a seal never changes, and is what its frontier comes to: a fresh replica that is given the batches of the frontier, as they
 * were written, has the leaves that were sealed.
 */
import { encodeCbor } from "@ctxmesh/codec";
import type { Space } from "@ctxmesh/membership";
import type { HeaderHash } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import { Dice } from "../dice.ts";
import { createSignatures } from "../signatures.ts";
import { VirtualDisk } from "../virtual-disk.ts";
import type { Checker, World } from "../world.ts";
import { chainOf } from "./chronicle.ts";
import type { Chronicle, Written } from "./chronicle.ts";
import { readSeal, sealsOf } from "./seals.ts";
import type { ReadSeal } from "./seals.ts";

/** Acts and proofs under which a hub judged what counts. */
interface RecordSet {
  readonly space: Space;
  readonly proofs: readonly Uint8Array[];
}

/** Record sets of a hub that are remembered with a seal: it may have been made just before the newest came. */
const LAST_SETS = 3;
/** A replica has come to rest when so often nothing more was let out of its hold. */
const STILL = 4;
/** When the fresh replica lives: no clock was ahead of it. */
const LATER_MS = 4_000_000_000_000;

const silent = (): void => undefined;

/** A replica in memory. */
async function freshReplica({ plan }: World, { space, proofs }: RecordSet): Promise<Replica> {
  const signatures = createSignatures(plan.seed, plan.signatures);
  const host = {
    after: (_: number, run: () => void) => {
      queueMicrotask(run);
    },
    nowMs: () => 0,
  };
  const dice = new Dice("fresh replica");
  const replica = await Replica.open({
    store: new VirtualDisk(host, dice).open(),
    space,
    signer: signatures.identity("fresh replica").signer,
    verifier: signatures.verifier,
    clock: { now: () => LATER_MS },
    random: dice,
    logger: { debug: silent, info: silent, warn: silent, error: silent },
  });
  await replica.addRecords({ proofs });
  return replica;
}

/** The batches of a frontier, each after those it names; undefined when some were never seen. */
function batchesOf(chronicle: Chronicle, { frontier }: ReadSeal): readonly Written[] | undefined {
  const batches: Written[] = [];
  for (const head of frontier) {
    for (let hash: HeaderHash | null = head.hash; hash !== null;) {
      const batch = chronicle.get(hash);
      if (batch === undefined) return undefined;
      batches.push(batch);
      hash = batch.header.prev;
    }
  }
  // A clock is above those of all that was known when it was set.
  return batches.toSorted((a, b) => a.header.hlc - b.header.hlc);
}

/** Undefined when one was never seen: nobody applied it. Else signed headers of what batches name and what is behind that, as far as it is not among them: it does not count. Each before those it names. */
function voidBehind(
  chronicle: Chronicle,
  batches: readonly Written[],
): readonly Uint8Array[] | undefined {
  const known = new Set(batches.map(({ hash }) => hash));
  const found: Written[] = [];
  for (const queue = [...batches]; ;) {
    const batch = queue.pop();
    if (batch === undefined) break;
    const { prev, deps } = batch.header;
    for (const hash of prev === null ? deps : [prev, ...deps]) {
      if (known.has(hash)) continue;
      const parent = chronicle.get(hash);
      if (parent === undefined) return undefined;
      known.add(hash);
      found.push(parent);
      queue.push(parent);
    }
  }
  return found
    .toSorted((a, b) => b.header.hlc - a.header.hlc)
    .map(({ headerBytes, signature }) => encodeCbor([headerBytes, signature]));
}

/** Hands a replica batches, and headers of those that they name and that do not count. */
async function replay(
  replica: Replica,
  batches: readonly Written[],
  headers: readonly Uint8Array[],
): Promise<void> {
  await Promise.all(batches.map(async ({ bytes }) => replica.receive(bytes)));
  // What is let out of the hold comes into the same queue, so a batch that is here is answered after it.
  const rest = async (): Promise<void> => {
    for (const { bytes } of batches.slice(0, 1)) await replica.receive(bytes);
  };
  // Each header may bring on a batch that waits for another one.
  let held = -1;
  for (let same = 0; same < STILL; same++) {
    await replica.addHeaders(headers);
    await rest();
    replica.retryTimed();
    await rest();
    if (replica.counters().held !== held) same = 0;
    ({ held } = replica.counters());
  }
}

const headsOf = (heads: ReadSeal["frontier"]): string =>
  heads
    .map(({ replica, incarnation, seq, hash }) =>
      [chainOf(replica, incarnation), String(seq), hash].join(" "),
    )
    .toSorted()
    .join("\n");

/** Whether a fresh replica comes to what was sealed. */
async function comesTo(
  world: World,
  chronicle: Chronicle,
  seal: ReadSeal,
  set: RecordSet,
): Promise<boolean> {
  // Another policy was in force.
  if (set.space.policy.epoch !== seal.policyEpoch) return false;
  const batches = batchesOf(chronicle, seal);
  const headers = batches === undefined ? undefined : voidBehind(chronicle, batches);
  if (batches === undefined || headers === undefined) return true;
  const replica = await freshReplica(world, set);
  await replay(replica, batches, headers);
  const { leaves, heads } = replica.snapshot();
  await replica.close();
  return (
    headsOf(heads) === headsOf(seal.frontier) &&
    leaves.toSorted().join("\n") === seal.leaves.toSorted().join("\n")
  );
}

/** Makes the checker. */
export function createSealContentChecker(chronicle: Chronicle): Checker {
  const setsByHub = new Map<string, readonly RecordSet[]>();
  const envelopes = new Map<string, string>();
  const made = new Map<
    string,
    { readonly seal: ReadSeal; readonly sets: readonly RecordSet[] }[]
  >();

  const remember = (id: string, world: World): void => {
    const node = world.node(id);
    const replica = node?.process?.replica;
    if (node?.kind !== "hub" || replica === undefined) return;
    const { space } = replica;
    const set = { space, proofs: replica.evidence().map(({ proof }) => proof) };
    setsByHub.set(id, [set, ...(setsByHub.get(id) ?? [])].slice(0, LAST_SETS));
  };
  /** The same number never stands for another envelope. */
  const note = (bundle: Uint8Array): ReadSeal => {
    const seal = readSeal(bundle);
    const name = `${seal.hub} ${String(seal.sequence)}`;
    const before = envelopes.get(name);
    if (before !== undefined && before !== seal.envelopeHash) {
      throw new Error(`seal ${String(seal.sequence)} of ${seal.hub.slice(0, 8)} has changed`);
    }
    envelopes.set(name, seal.envelopeHash);
    return seal;
  };
  return {
    name: "I6",
    onEvent(event, world) {
      if (event.type === "opened" || event.type === "records") remember(event.node, world);
      if (event.type !== "sealed") return;
      const seal = note(event.seal.bundle);
      const sets = setsByHub.get(event.node) ?? [];
      made.set(event.node, [...(made.get(event.node) ?? []), { seal, sets }]);
    },
    async atEnd(world) {
      for (const { id } of world.nodes) {
        for (const bundle of await sealsOf(world, id)) note(bundle);
      }
      for (const [hub, list] of made) {
        // One of each hub, another one with another seed: each costs as much as minutes of the run.
        const one = list[new Dice(`${world.plan.seed}/${hub}`).int(0, list.length - 1)];
        if (one === undefined) continue;
        let same = false;
        for (const set of one.sets) same ||= await comesTo(world, chronicle, one.seal, set);
        if (same) continue;
        const name = `seal ${String(one.seal.sequence)} of ${hub}`;
        throw new Error(`${name} is not what the batches of its frontier come to`);
      }
    },
  };
}
