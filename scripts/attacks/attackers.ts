// SPDX-License-Identifier: Apache-2.0
/** Hostile members, and strangers, each on a real transport. */
import { randomBytes } from "node:crypto";
import { createDeviceVerifier } from "@ctxmesh/crypto";
import { LIMITS, parseDocumentName, parseHeaderHash, toHex } from "@ctxmesh/model";
import type { Channel, HeaderHash, Logger } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import { systemClock, systemRandom } from "@ctxmesh/service";
import { encodeMessage } from "@ctxmesh/sync";
import type { SyncMessage } from "@ctxmesh/sync";
import { createMemoryStore } from "@ctxmesh/testing";
import { createLibp2pTransport } from "@ctxmesh/transport-libp2p";
import type { Libp2pTransport } from "@ctxmesh/transport-libp2p";
import { seedOf, signerOf, spaceOf } from "./cast.ts";
import type { Cast } from "./cast.ts";

/** What an attacker does once it has a channel. */
export type AttackKind = "silent" | "flood" | "invalid" | "junk" | "held";

/** What an attacker is started with. */
export interface AttackerOptions {
  readonly n: number;
  readonly cast: Cast;
  readonly kind: AttackKind;
  /** Multiaddrs of whom it attacks. */
  readonly peers: readonly string[];
}

/** A running attacker. */
export interface Attacker extends AsyncDisposable {
  readonly addresses: readonly string[];
  /** Channels that were opened to it, or by it, and bytes that it has sent. */
  report(): { readonly channels: number; readonly sentBytes: number };
}

const SILENCE: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
const DOC = parseDocumentName("line-2/press-7");
const HELD = 1_500;
const PAUSE_MS = 5;

const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });

/** Batches of its own that an attacker may sign. */
async function ownBatches({ n, cast }: AttackerOptions, count: number): Promise<Uint8Array[]> {
  const replica = await Replica.open({
    store: createMemoryStore(),
    space: spaceOf(cast),
    signer: signerOf(n),
    verifier: createDeviceVerifier(),
    clock: systemClock,
    random: systemRandom,
    logger: SILENCE,
  });
  const batches: Uint8Array[] = [];
  replica.onApplied(({ bytes }) => batches.push(bytes));
  for (let i = 0; i < count; i++) await replica.put(DOC, [{ key: `own-${String(i)}`, value: i }]);
  await replica.close();
  return batches;
}

/** A batch with some bytes changed. */
function spoiled(batch: Uint8Array): Uint8Array {
  const copy = batch.slice();
  const [a = 0, b = 0, flip = 0] = randomBytes(3);
  copy[(a * 256 + b) % copy.length] = flip;
  return copy;
}

const randomHash = (): HeaderHash => parseHeaderHash(toHex(randomBytes(32)));
const randomHead = () => ({
  replica: toHex(randomBytes(32)) as never,
  incarnation: toHex(randomBytes(16)) as never,
  seq: 7,
  hash: toHex(randomBytes(16)),
});

/** Messages that are all within the rules, and make work. */
function* busywork(): Generator<SyncMessage> {
  const digest = new Uint8Array(16);
  for (;;) {
    yield { type: "want", hashes: Array.from({ length: 64 }, randomHash) };
    yield { type: "have", heads: Array.from({ length: 256 }, randomHead) };
    yield { type: "digest", digest, records: digest, asks: true };
  }
}

/** What it sends after its greeting; undefined: a rest. */
async function* messagesOf(options: AttackerOptions): AsyncGenerator<SyncMessage | undefined> {
  const { kind } = options;
  if (kind === "flood") yield* busywork();
  if (kind === "invalid") {
    const batches = await ownBatches(options, 8);
    for (let i = 0; ; i++) {
      const batch = batches[i % batches.length] ?? new Uint8Array();
      yield { type: "push", batch: spoiled(batch) };
      yield undefined;
    }
  }
  if (kind === "held") {
    // Without the first, all others wait.
    for (const batch of (await ownBatches(options, HELD)).slice(1)) yield { type: "push", batch };
  }
}

/** Reads everything, and does nothing about it. */
async function drain(channel: Channel): Promise<number> {
  let read = 0;
  for await (const bytes of channel.receive()) read += bytes.length;
  return read;
}

/** Greets, takes everything, and attacks until the channel ends. */
async function attack(
  channel: Channel,
  options: AttackerOptions,
  sent: (bytes: number) => void,
): Promise<void> {
  const space = spaceOf(options.cast).id;
  const digest = new Uint8Array(16);
  const say = async (message: SyncMessage): Promise<void> => {
    const bytes = encodeMessage(message);
    sent(bytes.length);
    await channel.send(bytes);
  };
  const reading = drain(channel);
  await say({ type: "hello", space, digest, records: digest });
  await pause(PAUSE_MS * 20);
  for await (const message of messagesOf(options)) {
    if (message === undefined) await pause(PAUSE_MS);
    else await say(message);
  }
  await reading;
}

/** Gossips what nobody wants. */
function startGossip(transport: Libp2pTransport, sent: (bytes: number) => void): NodeJS.Timeout {
  return setInterval(() => {
    const junk = randomBytes(LIMITS.gossipBytes / 4);
    // As a batch, and as an announcement.
    junk[0] = (junk[1] ?? 0) % 2 === 0 ? 0x82 : 0x83;
    sent(junk.length);
    transport.broadcast(junk).catch(() => undefined);
  }, PAUSE_MS);
}

/** Starts an attacker, granted by the cast or not. */
export async function startAttacker(options: AttackerOptions): Promise<Attacker> {
  const { n, cast, kind, peers } = options;
  const transport = createLibp2pTransport({
    seed: seedOf(n),
    listen: ["/ip4/127.0.0.1/tcp/0"],
    peers,
    space: spaceOf(cast).id,
    isMember: () => true,
    clock: systemClock,
    logger: SILENCE,
  });
  let [channels, sentBytes] = [0, 0];
  const sent = (bytes: number): void => {
    sentBytes += bytes;
  };
  transport.onBroadcast(() => Promise.resolve("ignore"));
  await transport.start((channel) => {
    channels++;
    attack(channel, options, sent).catch(() => undefined);
  });
  const gossip = kind === "junk" ? startGossip(transport, sent) : undefined;
  return {
    addresses: transport.addresses(),
    report: () => ({ channels, sentBytes }),
    [Symbol.asyncDispose]: async () => {
      clearInterval(gossip);
      await transport.stop();
    },
  };
}
