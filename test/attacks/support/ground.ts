// SPDX-License-Identifier: Apache-2.0
/** What every attack is made on: a space, honest content in it, and a replica that has it. */
import { decodeBatch } from "@ctxmesh/codec";
import { createDeviceVerifier } from "@ctxmesh/crypto";
import type { HeaderHash, SignatureVerifier } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import {
  createMemoryStore,
  createSeededRandom,
  createVirtualClock,
  silentLogger,
} from "@ctxmesh/testing";
import type { VirtualClock } from "@ctxmesh/testing";
import { DAY_MS, DOC, OTHER_DOC, START_MS, deviceOf } from "./forge.ts";
import type { Device } from "./forge.ts";
import { foundSpace } from "./membership.ts";
import type { Space } from "./membership.ts";

export const creator: Device = deviceOf(255);
/** The device of the replica that is attacked, and one whose content it has. */
export const [us, honest]: readonly [Device, Device] = [deviceOf(1), deviceOf(2)];
/** Members that attack: with the role `write`, and with less. */
export const mallory: Device = deviceOf(3);
export const appender: Device = deviceOf(4);
export const reader: Device = deviceOf(5);
/** A member whose grant ended a day ago, and one whose grant begins tomorrow. */
export const expired: Device = deviceOf(6);
export const early: Device = deviceOf(7);
/** A member with the role `manage`. */
export const manager: Device = deviceOf(10);
/** Nobody gave it a grant. */
export const stranger: Device = deviceOf(8);
/** A member that is revoked by some attacks. */
export const removed: Device = deviceOf(9);

/** Characters that the honest device typed into its transcript. */
export const TRANSCRIPT_LENGTH = 5_000;
/** Clocks of the honest device's client in {@link DOC}; what stands where is said at {@link writeContent}. */
export const HONEST_CLOCKS = 12;

/** What attacks are built from. */
export interface Ground {
  readonly space: Space;
  /** Another space with the same members. */
  readonly otherSpace: Space;
  /** The honest batches that the attacked replica has, and what comes next. */
  readonly base: readonly Uint8Array[];
  readonly next: readonly Uint8Array[];
  /** Their Yjs client id. */
  readonly honestClient: number;
  readonly honestHead: HeaderHash;
}

const spaceOf = (seed: number): Space =>
  foundSpace(creator.signer, START_MS, seed, [
    ...([us, honest, mallory, removed] as const).map(({ key }) => ({
      device: key,
      role: "write" as const,
      notBefore: START_MS - DAY_MS,
    })),
    { device: manager.key, role: "manage", notBefore: START_MS - DAY_MS },
    { device: appender.key, role: "append", notBefore: START_MS - DAY_MS },
    { device: reader.key, role: "read", notBefore: START_MS - DAY_MS },
    {
      device: expired.key,
      role: "write",
      notBefore: START_MS - 9 * DAY_MS,
      notAfter: START_MS - DAY_MS,
    },
    { device: early.key, role: "write", notBefore: START_MS + DAY_MS },
  ]);

/** How a replica is opened; everything has a default. */
export interface OpenOptions {
  readonly verifier?: SignatureVerifier;
  readonly clock?: VirtualClock;
  readonly seed?: number;
  readonly rest?: () => Promise<void>;
}

const VERIFIER = createDeviceVerifier();

/** Opens an empty replica in memory. */
export const openReplica = (
  space: Space,
  { signer }: Device,
  { verifier = VERIFIER, clock = createVirtualClock(START_MS), seed = 1, rest }: OpenOptions = {},
): Promise<Replica> =>
  Replica.open({
    store: createMemoryStore(),
    space,
    signer,
    verifier,
    clock,
    random: createSeededRandom(seed),
    logger: silentLogger,
    ...(rest === undefined ? {} : { rest }),
  });

/**
 * Clocks in {@link DOC}: 0-4 "hello" in text:notes; 5-6 the list [1, 2] in list:items; 7 a map as entry m
 * of map:plan; 8 the entry k of that map; 9 a text as entry 2 of list:items, 10-11 "hi" in it.
 */
async function writeContent(replica: Replica): Promise<void> {
  await replica.put(DOC, [
    { key: "pressure", value: 4.5 },
    { key: "state", value: { on: true, seals: [1, 2] } },
  ]);
  await replica.edit(DOC, (roots) => {
    roots.text("notes").insert(0, "hello");
    const items = roots.list("items");
    items.insert(0, [1, 2]);
    roots.map("plan").setNew("m", "map").set("k", 1);
    items.insertNew(2, "text").insert(0, "hi");
  });
  await replica.edit(OTHER_DOC, (roots) => {
    roots.text("transcript").insert(0, "a".repeat(TRANSCRIPT_LENGTH));
  });
}

/** New content in every document, on every root that an attack may have touched. */
async function writeMore(replica: Replica): Promise<void> {
  await replica.put(DOC, [{ key: "pressure", value: 5 }]);
  await replica.edit(DOC, (roots) => {
    roots.text("notes").insert(5, " there");
    roots.list("items").delete(0, 1);
    roots.map("plan").set("done", false);
  });
  await replica.edit(OTHER_DOC, (roots) => {
    roots.text("transcript").delete(1, 2);
  });
}

/** Makes the space, and has the honest device write. */
export async function prepareGround(): Promise<Ground> {
  const space = spaceOf(1);
  const replica = await openReplica(space, honest);
  const sent: Uint8Array[] = [];
  replica.onApplied(({ bytes }) => sent.push(bytes));
  await writeContent(replica);
  const base = [...sent];
  const honestHead = replica.heads()[0]?.hash;
  if (honestHead === undefined) throw new Error("the honest device wrote nothing");
  await writeMore(replica);
  await replica.close();
  const { client } = decodeBatch(base[1] ?? new Uint8Array()).header;
  return {
    space,
    otherSpace: spaceOf(2),
    base,
    next: sent.slice(base.length),
    honestClient: client,
    honestHead,
  };
}
