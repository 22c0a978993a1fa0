// SPDX-License-Identifier: Apache-2.0
/**
 * Bugs to plant, one for each checker: a part of a node is replaced by one that is subtly wrong, and the checker of the invariant
 * has to find it. Nothing of the product knows of them.
 */
import { decodeAct, decodeSignedRecord } from "@ctxmesh/codec";
import { decodeFrame } from "@ctxmesh/facts";
import type { Candidate, Store } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { SEALS_UNCERTAIN } from "@ctxmesh/service";
import type { SyncReplica } from "@ctxmesh/sync";
import type { Collaborators, FaultKind, Invariant, Plan, PlannedEvent } from "@ctxmesh/simulator";
import { randomBytes } from "node:crypto";

/** A bug, and runs in which it can show. */
export interface Plant {
  readonly invariant: Invariant;
  /** What is wrong. */
  readonly bug: string;
  readonly faults: readonly FaultKind[];
  readonly hours: number;
  /** Default: as without a bug. */
  readonly hubs?: number;
  /** Steps that these runs have besides. */
  readonly steps?: (plan: Plan) => readonly PlannedEvent[];
  /** The wrong parts, for one run. */
  readonly wrap: () => Collaborators;
}

/** The object with other members in place of some; its own are called on it, since they are private to it. */
function replaced<T extends object>(target: T, members: Partial<T>): T {
  return new Proxy(target, {
    get(_, name) {
      if (Object.hasOwn(members, name)) return Reflect.get(members, name) as unknown;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}

const isHub = (node: string): boolean => node.startsWith("h");
const at = (node: string, wanted: string): boolean => node.split("#")[0] === wanted;
const hasTag = (key: Uint8Array, ...tags: readonly number[]): boolean => tags.includes(key[0] ?? 0);

const forgetsTombstones = (): Collaborators => ({
  replica(node, replica) {
    if (!at(node, "a2")) return replica;
    const snapshot = replica.snapshot.bind(replica);
    replica.snapshot = () => {
      const { leaves, ...rest } = snapshot();
      return { ...rest, leaves: leaves.filter((leaf) => !leaf.includes('"deleted":true')) };
    };
    return replica;
  },
});

const acknowledgesEarly = (): Collaborators => ({
  store: (_, store) =>
    replaced(store, {
      async write(changes) {
        store.write(changes).catch(() => undefined);
        return Promise.resolve();
      },
    }),
});

const HASH_TAG = 4;
const FALSE_ONE_IN = 2;
/** As a filter in front of an index would: now and then it says that a batch is there which is not. */
const findsWhatIsNotThere = (): Collaborators => ({
  store(_, store) {
    let last: Uint8Array | undefined;
    return replaced(store, {
      async write(changes) {
        last = changes.findLast(({ key }) => hasTag(key, HASH_TAG))?.value ?? last;
        return store.write(changes);
      },
      async get(key) {
        const found = await store.get(key);
        const isFalse = hasTag(key, HASH_TAG) && (key[1] ?? 0) % FALSE_ONE_IN === 0;
        return found ?? (isFalse ? last : undefined);
      },
    });
  },
});

/** A cache that nobody tells of changes. */
const answersFromCache = (): Collaborators => ({
  replica(_, replica) {
    const cached = new Map<string, ReturnType<Replica["get"]>>();
    const get = replica.get.bind(replica);
    replica.get = (doc, key) => {
      const place = `${doc}\n${key}`;
      const fact = cached.get(place) ?? get(doc, key);
      cached.set(place, fact);
      return fact;
    };
    return replica;
  },
});

/** Remembers the last value of each writer, and is not told of deletes. */
const remembersDeleted = (): Collaborators => ({
  replica(node, replica) {
    if (!at(node, "a3")) return replica;
    const values = new Map<string, Candidate>();
    const candidates = replica.candidates.bind(replica);
    replica.candidates = (doc, key) =>
      candidates(doc, key).map((candidate) => {
        const name = `${doc}\n${key}\n${candidate.writer}`;
        if (!candidate.deleted) values.set(name, candidate);
        return values.get(name) ?? candidate;
      });
    return replica;
  },
});

/** The leaves are made anew only when a chain begins. */
const sealsOldLeaves = (): Collaborators => ({
  replica(node, replica) {
    if (!isHub(node)) return replica;
    const cached = new Map<number, readonly string[]>();
    const snapshot = replica.snapshot.bind(replica);
    replica.snapshot = () => {
      const { leaves, ...rest } = snapshot();
      const known = cached.get(rest.heads.length) ?? leaves;
      cached.set(rest.heads.length, known);
      return { ...rest, leaves: known };
    };
    return replica;
  },
});

const nameOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

const LOG_TAGS = [0x20, 0x21];
/** What belongs to the log of seals reaches the disk with the seal after it. */
const holdsLogBack = (): Collaborators => ({
  store(node, store) {
    if (!isHub(node)) return store;
    type Changes = Parameters<Store["write"]>[0];
    let pending: Changes = [];
    return replaced(store, {
      async write(changes) {
        if (!changes.some(({ key }) => hasTag(key, ...LOG_TAGS))) return store.write(changes);
        const before = pending;
        pending = changes;
        return store.write(before);
      },
      async get(key) {
        const own = pending.findLast((change) => nameOf(change.key) === nameOf(key));
        return own === undefined ? store.get(key) : own.value;
      },
      async *scan(range) {
        const [from, to] = [nameOf(range.gte), nameOf(range.lt)];
        const own = pending.filter(({ key }) => from <= nameOf(key) && nameOf(key) < to);
        const held = new Set(own.map(({ key }) => nameOf(key)));
        for await (const entry of store.scan(range)) if (!held.has(nameOf(entry[0]))) yield entry;
        for (const { key, value } of own) if (value !== undefined) yield [key, value] as const;
      },
    });
  },
});

/** A restored hub goes on as if it had all of its seals. */
const trustsOldBackups = (): Collaborators => ({
  store: (_, store) =>
    replaced(store, {
      get: async (key) => (hasTag(key, ...SEALS_UNCERTAIN.key) ? undefined : store.get(key)),
    }),
});

const takesRecords = (
  node: string,
  taken: (records: Parameters<SyncReplica["addRecords"]>[0]) => typeof records,
): Collaborators => ({
  syncReplica: (id, replica) =>
    at(id, node)
      ? replaced(replica, { addRecords: async (records) => replica.addRecords(taken(records)) })
      : replica,
});

const dropsProofs = (): Collaborators =>
  takesRecords("a4", ({ acts = [] }) => ({ acts, proofs: [] }));

const isRevocation = (record: Uint8Array): boolean =>
  decodeAct(decodeSignedRecord(record).body).kind === "revoke";

const dropsRevocations = (): Collaborators =>
  takesRecords("a4", ({ acts = [], proofs = [] }) => ({
    acts: acts.filter((act) => !isRevocation(act)),
    proofs,
  }));

const JOURNAL_BYTES = 32_768;
/** Every write leaves something behind that nobody removes. */
const leaksDisk = (): Collaborators => {
  let entries = 0;
  return {
    store: (_, store) =>
      replaced(store, {
        async write(changes) {
          entries += 1;
          const key = Buffer.from(`7f${entries.toString(16).padStart(8, "0")}`, "hex");
          return store.write([...changes, { key, value: new Uint8Array(JOURNAL_BYTES) }]);
        },
      }),
  };
};

/** Peers seem to have the same, so nobody asks for what was missed. */
const neverDiffers = (): Collaborators => ({
  syncReplica: (_, replica) => replaced(replica, { frontierDigest: () => new Uint8Array(32) }),
});

/** What came before is answered by a quick path that does not count. */
const skipsCounting = (): Collaborators => ({
  replica(_, replica) {
    const seen = new Set<string>();
    const receive = replica.receive.bind(replica);
    replica.receive = async (bytes, source) => {
      const name = nameOf(bytes);
      if (seen.has(name)) return { kind: "duplicate" };
      const outcome = await receive(bytes, source);
      if (outcome.kind === "accepted") seen.add(name);
      return outcome;
    };
    return replica;
  },
});

const drawsRealRandomness = (): Collaborators => ({
  random: () => ({ bytes: (length) => new Uint8Array(randomBytes(length)) }),
});

/** Whoever asks for a strong write gets it. */
const decidesBlindly = (): Collaborators => ({
  replica(node, replica) {
    if (!isHub(node)) return replica;
    const { proposals } = replica;
    const value = replaced(proposals, {
      async makeFor(proposer, doc, bytes, condition) {
        const key = decodeFrame(bytes).records[0]?.key ?? "";
        const expected = replica.get(doc, key)?.version ?? null;
        return proposals.makeFor(proposer, doc, bytes, { ...condition, expected });
      },
    });
    return Object.defineProperty(replica, "proposals", { value });
  },
});

const restoreOfHub = ({ safetyMs }: Plan): readonly PlannedEvent[] => [
  { do: "backup", node: "h1", atMs: Math.round(safetyMs * 0.2) },
  { do: "restore", node: "h1", downMs: 5_000, atMs: Math.round(safetyMs * 0.6) },
];

const forksOfRogues = ({ hostile, safetyMs }: Plan): readonly PlannedEvent[] =>
  hostile.map((device) => ({
    do: "hostile",
    kind: "equivocator",
    device,
    targets: ["a1", "a3", "h1"],
    forMs: 10_000,
    atMs: Math.round(safetyMs / 2),
  }));

/** What a revoked device wrote before, and its revocation, by which nothing of that stands. */
const revocationOfRogues = ({ hostile, safetyMs }: Plan): readonly PlannedEvent[] =>
  hostile.flatMap((device): PlannedEvent[] => [
    {
      do: "hostile",
      kind: "back-dater",
      device,
      targets: ["a2", "a4"],
      forMs: 5_000,
      atMs: Math.round(safetyMs / 2),
    },
    {
      do: "revoke",
      node: "a1",
      device,
      by: "creator",
      keep: false,
      atMs: Math.round(safetyMs * 0.9),
    },
  ]);

/** One bug for each invariant. */
export const PLANTS: readonly Plant[] = [
  {
    invariant: "I1",
    bug: "a node's content leaves out what was deleted",
    faults: ["partition"],
    hours: 0.3,
    wrap: forgetsTombstones,
  },
  {
    invariant: "I2",
    bug: "a store acknowledges what is not durable",
    faults: ["crash"],
    hours: 0.3,
    wrap: acknowledgesEarly,
  },
  {
    invariant: "I3",
    bug: "an index finds batches that are not there",
    faults: ["partition", "network", "crash"],
    hours: 0.3,
    wrap: findsWhatIsNotThere,
  },
  {
    invariant: "I4",
    bug: "nodes answer from a cache that nobody tells of changes",
    faults: ["network"],
    hours: 0.5,
    wrap: answersFromCache,
  },
  {
    invariant: "I5",
    bug: "a node remembers what was deleted",
    faults: ["network"],
    hours: 0.3,
    wrap: remembersDeleted,
  },
  {
    invariant: "I6",
    bug: "a hub seals old leaves under its newest frontier",
    faults: ["crash"],
    hours: 0.5,
    wrap: sealsOldLeaves,
  },
  {
    invariant: "I7",
    bug: "a hub's log is not durable when a seal is told",
    faults: ["crash"],
    hours: 0.5,
    wrap: holdsLogBack,
  },
  {
    invariant: "I8",
    bug: "a restored hub does not ask which seals it made since",
    faults: [],
    hours: 0.5,
    steps: restoreOfHub,
    wrap: trustsOldBackups,
  },
  {
    invariant: "I9",
    bug: "a node takes no proofs of forks from others",
    faults: ["hostile"],
    hours: 0.2,
    steps: forksOfRogues,
    wrap: dropsProofs,
  },
  {
    invariant: "I10",
    bug: "a node takes no revocations",
    faults: ["hostile"],
    hours: 0.2,
    steps: revocationOfRogues,
    wrap: dropsRevocations,
  },
  {
    invariant: "I11",
    bug: "every write leaves something on the disk",
    faults: ["network"],
    hours: 0.5,
    wrap: leaksDisk,
  },
  {
    invariant: "I12",
    bug: "peers seem to have the same, whatever they have",
    faults: ["partition", "crash"],
    hours: 0.2,
    wrap: neverDiffers,
  },
  {
    invariant: "I13",
    bug: "a quick path for what came before does not count",
    faults: ["crash", "partition"],
    hours: 0.2,
    wrap: skipsCounting,
  },
  {
    invariant: "I14",
    bug: "incarnations come from the machine's own randomness",
    faults: [],
    hours: 0.05,
    wrap: drawsRealRandomness,
  },
  {
    invariant: "I15",
    bug: "a hub makes strong writes whatever version they expect",
    faults: ["partition", "network"],
    hours: 0.2,
    hubs: 1,
    wrap: decidesBlindly,
  },
];

/** The bug planted for an invariant. */
export const plantOf = (invariant: string): Plant | undefined =>
  PLANTS.find((plant) => plant.invariant === invariant);
