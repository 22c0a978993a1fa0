// SPDX-License-Identifier: Apache-2.0
/** Transports on loopback for tests. */
import { createPrivateKey, createPublicKey, randomBytes } from "node:crypto";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import type { Channel, Logger, SpaceId } from "@ctxmesh/model";
import { parseSpaceId, toHex } from "@ctxmesh/model";
import type { Libp2pTransport, Libp2pTransportOptions } from "@ctxmesh/transport-libp2p";
import { createLibp2pTransport } from "@ctxmesh/transport-libp2p";
import { waitFor } from "@ctxmesh/testing";

const PKCS8_ED25519_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");
const BOUND_MS = 15_000;

export const SPACE: SpaceId = parseSpaceId("5a".repeat(32));

/** A device: its seed and its key, hex. */
export interface Device {
  readonly seed: Uint8Array;
  readonly key: string;
}

/** A fresh device. */
export function newDevice(seed: Uint8Array = randomBytes(32)): Device {
  const der = Buffer.concat([PKCS8_ED25519_PREFIX, seed]);
  const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const spki = createPublicKey(privateKey).export({ format: "der", type: "spki" });
  return { seed, key: toHex(spki.subarray(-32)) };
}

/** Two fresh devices, the one with the lower key first. */
export function newDevices(): [lower: Device, higher: Device] {
  const pair: [Device, Device] = [newDevice(), newDevice()];
  return pair[0].key < pair[1].key ? pair : [pair[1], pair[0]];
}

/** A loopback port that was free just now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => {
    server.close(() => {
      resolve();
    });
  });
  return port;
}

/** A logger that keeps what it is told. */
export interface RecordingLogger extends Logger {
  readonly events: { readonly event: string; readonly fields: Readonly<Record<string, unknown>> }[];
}

export function recordingLogger(): RecordingLogger {
  const events: RecordingLogger["events"] = [];
  const record = (event: string, fields: Readonly<Record<string, unknown>> = {}): void => {
    events.push({ event, fields });
  };
  return { events, debug: record, info: record, warn: record, error: record };
}

/** A started transport, the channels it has announced, and which of them are still open. */
export interface Node extends AsyncDisposable {
  readonly device: Device;
  readonly transport: Libp2pTransport;
  readonly channels: Channel[];
  readonly open: Set<Channel>;
  readonly received: string[];
  readonly logger: RecordingLogger;
}

/** Starts a transport that reads its channels, unless `read` is false. */
export async function startNode(
  options: Partial<Libp2pTransportOptions> & { readonly device: Device; readonly read?: boolean },
): Promise<Node> {
  const logger = recordingLogger();
  const transport = createLibp2pTransport({
    listen: ["/ip4/127.0.0.1/tcp/0"],
    peers: [],
    space: SPACE,
    isMember: () => true,
    clock: Date,
    logger,
    ...options,
    seed: options.device.seed,
  });
  const channels: Channel[] = [];
  const open = new Set<Channel>();
  const received: string[] = [];
  const read = async (channel: Channel): Promise<void> => {
    for await (const message of channel.receive()) received.push(new TextDecoder().decode(message));
    open.delete(channel);
  };
  await transport.start((channel) => {
    channels.push(channel);
    open.add(channel);
    if (options.read !== false) void read(channel);
  });
  const dispose = (): Promise<void> => transport.stop();
  return {
    device: options.device,
    transport,
    channels,
    open,
    received,
    logger,
    [Symbol.asyncDispose]: dispose,
  };
}

/** The first address of a node. */
export function addressOf(node: Node): string {
  const [address] = node.transport.addresses();
  if (address === undefined) throw new Error("the node has no address");
  return address;
}

/** Waits, with a bound, until a condition holds. */
export function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  return waitFor(condition, { timeoutMs: BOUND_MS, what });
}

/** The bytes of a text. */
export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
