// SPDX-License-Identifier: Apache-2.0
/** Floods below our own protocol, by a bare libp2p node with the key of a granted device. */
import { randomBytes } from "node:crypto";
import { noise } from "@chainsafe/libp2p-noise";
import { generateKeyPairFromSeed } from "@libp2p/crypto/keys";
import type { Libp2p, Stream } from "@libp2p/interface";
import { tcp } from "@libp2p/tcp";
import { yamux } from "@libp2p/yamux";
import { multiaddr } from "@multiformats/multiaddr";
import { createLibp2p } from "libp2p";
import type { Attacker } from "./attackers.ts";
import { seedOf } from "./cast.ts";

/** What is sent: gossipsub's subscriptions, requests for messages, and frames that claim to be too large. */
export type RawFloodKind = "subscriptions" | "iwant" | "giant-frames";

const GOSSIP = "/meshsub/1.1.0";
const SYNC = "/ctxmesh/sync/3.0.0";
const REST_MS = 50;

const rest = (): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, REST_MS);
  });

/** An unsigned number as protocol buffers have it. */
function varint(value: number): number[] {
  const bytes: number[] = [];
  let left = value;
  while (left > 127) {
    bytes.push((left % 128) + 128);
    left = Math.floor(left / 128);
  }
  return [...bytes, left];
}

/** A field with bytes: its number, wire type 2, length, and content. */
const field = (number: number, content: Uint8Array): Uint8Array =>
  Buffer.concat([Uint8Array.from([number * 8 + 2, ...varint(content.length)]), content]);

const framed = (message: Uint8Array): Uint8Array =>
  Buffer.concat([Uint8Array.from(varint(message.length)), message]);

/** `RPC { subscriptions: [ { subscribe: true, topicid } ... ] }` */
const subscriptions = (): Uint8Array =>
  framed(
    Buffer.concat(
      Array.from({ length: 64 }, () =>
        field(
          1,
          Buffer.concat([
            Uint8Array.of(8, 1),
            field(2, Buffer.from(randomBytes(120).toString("hex"))),
          ]),
        ),
      ),
    ),
  );

/** `RPC { control: { iwant: [ { messageIDs } ] } }` */
const iwant = (): Uint8Array =>
  framed(
    field(3, field(2, Buffer.concat(Array.from({ length: 512 }, () => field(1, randomBytes(32)))))),
  );

/** A length of 2 GB, and some of what it promises. */
const giant = (isSync: boolean): Uint8Array =>
  Buffer.concat([
    isSync ? Uint8Array.of(0x7f, 0xff, 0xff, 0xff) : Uint8Array.from(varint(2 ** 31)),
    randomBytes(65_536),
  ]);

function payloadOf(
  kind: RawFloodKind,
  turn: number,
): readonly [protocol: string, bytes: Uint8Array] {
  switch (kind) {
    case "subscriptions":
      return [GOSSIP, subscriptions()];
    case "iwant":
      return [GOSSIP, iwant()];
    case "giant-frames":
      return turn % 2 === 0 ? [SYNC, giant(true)] : [GOSSIP, giant(false)];
  }
}

/** Sends as fast as the stream takes it, until it ends. */
async function pour(
  stream: Stream,
  next: () => Uint8Array,
  sent: (bytes: number) => void,
): Promise<void> {
  while (stream.status === "open") {
    const bytes = next();
    sent(bytes.length);
    if (!stream.send(bytes)) await stream.onDrain({ signal: AbortSignal.timeout(1_000) });
    // The other side shares our processors.
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
}

/** Starts a flood that connects again whenever it was cut. */
export async function startRawFlood(
  n: number,
  kind: RawFloodKind,
  peers: readonly string[],
): Promise<Attacker> {
  const node: Libp2p = await createLibp2p({
    privateKey: await generateKeyPairFromSeed("Ed25519", seedOf(n)),
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
  });
  let [channels, sentBytes] = [0, 0];
  const stopped = new AbortController();
  const flood = async (address: string): Promise<void> => {
    for (let turn = 0; !stopped.signal.aborted; turn++) {
      const [protocol] = payloadOf(kind, turn);
      try {
        const stream = await node.dialProtocol(multiaddr(address), protocol, {
          signal: AbortSignal.timeout(2_000),
        });
        channels++;
        await pour(
          stream,
          () => payloadOf(kind, turn)[1],
          (bytes) => {
            sentBytes += bytes;
            if (stopped.signal.aborted) stream.abort(new Error("stopped"));
          },
        );
      } catch {
        await rest();
      }
    }
  };
  const floods = peers.map(flood);
  return {
    addresses: [],
    report: () => ({ channels, sentBytes }),
    [Symbol.asyncDispose]: async () => {
      stopped.abort();
      await node.stop();
      await Promise.all(floods);
    },
  };
}
