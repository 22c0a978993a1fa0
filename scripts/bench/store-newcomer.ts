// SPDX-License-Identifier: Apache-2.0
/** What a newcomer costs to a space that was overwritten many times: by the base of a hub, beside the hub's log. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import { issueGrant } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { LIMITS, parseDeviceKey, parseDocumentName, toHex } from "@ctxmesh/model";
import type { Channel, DeviceKey, Remote } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import { openReplica, startSync, systemClock, systemRandom } from "@ctxmesh/service";
import { createChannelPair, createMemoryStore, silentLogger } from "@ctxmesh/testing";
import { fileKeyProvider } from "@ctxmesh/vault";
import { measured } from "./figure.ts";
import type { BenchOptions, Report } from "./figure.ts";
import { foundSpace } from "./space.ts";
import { RowSource } from "./store-rows.ts";

/** Live facts, of ten documents. */
const KEYS = 1_000;
const DOCS = 10;
const SIZE = 50;
const POLL_MS = 5;

/** A replica in a folder, encrypted as an agent's is, with the sync node that drives it. */
interface Node extends AsyncDisposable {
  readonly device: DeviceKey;
  readonly replica: Replica;
  readonly run: (channel: Channel) => Promise<void>;
}

async function openNode(
  space: Space,
  seed: Uint8Array,
  folder: string,
  relay: "push" | "tell",
): Promise<Node> {
  await using stack = new AsyncDisposableStack();
  const deps = { clock: systemClock, random: systemRandom, logger: silentLogger };
  const keyProvider = fileKeyProvider(`${folder}.key`, { create: true });
  const parts = await openReplica(
    { space, deviceSeed: seed, storePath: folder, keyProvider },
    deps,
    stack,
  );
  const { replica } = parts;
  const { sync, stop } = startSync(replica, deps, { relay, admits: () => true });
  stack.defer(stop);
  const open = stack.move();
  return {
    device: replica.device,
    replica,
    run: async (channel) => sync.run(channel),
    [Symbol.asyncDispose]: async () => open.disposeAsync(),
  };
}

/** A channel that counts what is sent over it. */
function metered(channel: Channel, count: (bytes: number) => void): Channel {
  return {
    remote: channel.remote,
    get bufferedBytes() {
      return channel.bufferedBytes;
    },
    send: async (message) => {
      count(message.length);
      await channel.send(message);
    },
    receive: () => channel.receive(),
    close: async (reason) => channel.close(reason),
  };
}

const remoteOf = (device: DeviceKey, role: Remote["role"]): Remote => ({
  device,
  address: "memory",
  direction: "inbound",
  role,
});

/** Milliseconds and bytes until a newcomer has what the hub has. */
async function bring(
  hub: Node,
  newcomer: Node,
  signal: AbortSignal,
): Promise<{ readonly ms: number; readonly bytes: number }> {
  const pair = createChannelPair({
    a: remoteOf(newcomer.device, "agent"),
    b: remoteOf(hub.device, "hub"),
  });
  let bytes = 0;
  const started = performance.now();
  const ended = Promise.all([
    hub.run(
      metered(pair.a, (sent) => {
        bytes += sent;
      }),
    ),
    newcomer.run(pair.b),
  ]);
  const wanted = toHex(hub.replica.frontierDigest());
  while (toHex(newcomer.replica.frontierDigest()) !== wanted) {
    signal.throwIfAborted();
    await sleep(POLL_MS);
  }
  const ms = performance.now() - started;
  pair.cut();
  await ended;
  return { ms, bytes };
}

/** Overwrites the facts in batches of one put each: as a writer made them, and the hub received them, many with one sync. */
async function overwrite(
  hub: Node,
  space: Space,
  seed: Uint8Array,
  count: number,
  signal: AbortSignal,
): Promise<void> {
  const writer = await Replica.open({
    store: createMemoryStore(),
    space,
    signer: createDeviceSigner(seed),
    verifier: createDeviceVerifier(),
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
  });
  let batches: Uint8Array[] = [];
  writer.onApplied(({ bytes }) => batches.push(bytes));
  const deliver = async (): Promise<void> => {
    await Promise.all(batches.map(async (bytes) => hub.replica.receive(bytes)));
    batches = [];
  };
  const source = new RowSource(DOCS, KEYS);
  for (let left = count; left > 0; left -= SIZE) {
    signal.throwIfAborted();
    const { doc, rows } = source.take(SIZE);
    const facts = rows.map(({ key, value }) => ({ key, value }));
    await writer.put(parseDocumentName(doc), facts);
    if (batches.length >= LIMITS.batchesPerGroup) await deliver();
  }
  await deliver();
  await writer.close();
}

/** Part four of `store`. Writes into `folder`. */
export async function measureNewcomer(
  folder: string,
  { quick, signal, progress }: BenchOptions,
): Promise<Report> {
  const { space: founded, seeds } = foundSpace(4);
  const [hubSeed, bySeed, logSeed, writerSeed] = seeds as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ];
  const creator = createDeviceSigner(hubSeed);
  const space = issueGrant(founded, creator, {
    device: parseDeviceKey(toHex(creator.publicKey)),
    service: "hub",
    role: "write",
    notBefore: systemClock.now() - 1,
  });
  const overwrites = quick ? 200_000 : 1_000_000;
  const times = overwrites.toLocaleString("en-US");
  const what = `newcomer to ${KEYS.toLocaleString("en-US")} facts after ${times} overwrites in puts of ${String(SIZE)}, by base`;
  progress(`${times} overwrites, then a newcomer`);
  await using hub = await openNode(space, hubSeed, join(folder, "hub"), "push");
  await overwrite(hub, space, writerSeed, overwrites, signal);
  await using newcomer = await openNode(space, bySeed, join(folder, "by-base"), "tell");
  const base = await bring(hub, newcomer, signal);
  // Who asks for a base and is told that there is none reads the log.
  Object.defineProperty(hub.replica.bases, "offer", { value: async () => undefined });
  await using reader = await openNode(space, logSeed, join(folder, "by-log"), "tell");
  const log = await bring(hub, reader, signal);
  return {
    figures: [
      measured(what, { value: base.ms, baseline: log.ms }, "ms", "lower"),
      measured(what, { value: base.bytes, baseline: log.bytes }, "bytes", "lower"),
    ],
    notes: [
      "A newcomer's baseline is the hub's log, batch by batch. The base is made while the newcomer waits; in the next minutes it is there.",
    ],
  };
}
