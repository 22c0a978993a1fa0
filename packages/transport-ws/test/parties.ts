// SPDX-License-Identifier: Apache-2.0
/** Hubs and agents on loopback for tests. */
import { createPrivateKey, createPublicKey, randomBytes, sign, verify } from "node:crypto";
import type { Server } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type {
  Channel,
  DeviceSigner,
  Logger,
  RandomSource,
  SignatureVerifier,
  SpaceId,
  Transport,
} from "@ctxmesh/model";
import { parseSpaceId, toHex } from "@ctxmesh/model";
import { waitFor } from "@ctxmesh/testing";
import type { WsClientOptions, WsServerOptions } from "@ctxmesh/transport-ws";
import { createWsClient, createWsServer } from "@ctxmesh/transport-ws";

const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");
const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");
const BOUND_MS = 15_000;

export const SPACE: SpaceId = parseSpaceId("5a".repeat(32));
export const random: RandomSource = { bytes: (length) => new Uint8Array(randomBytes(length)) };

/** Accepts every device. */
export const anyone = (): boolean => true;

/** A device key; `key` is the public one, hex. */
export interface Device extends DeviceSigner {
  readonly key: string;
  /** The private one. */
  readonly seed: Uint8Array;
}

/** A fresh device. */
export function newDevice(): Device {
  const seed = new Uint8Array(randomBytes(32));
  const der = Buffer.concat([PKCS8_PREFIX, seed]);
  const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const spki = createPublicKey(privateKey).export({ format: "der", type: "spki" });
  const publicKey = new Uint8Array(spki.subarray(-32));
  return {
    publicKey,
    seed,
    key: toHex(publicKey),
    sign: (message) => new Uint8Array(sign(null, message, privateKey)),
  };
}

export const verifier: SignatureVerifier = {
  verify(publicKey, message, signature) {
    const der = Buffer.concat([SPKI_PREFIX, publicKey]);
    const key = createPublicKey({ key: der, format: "der", type: "spki" });
    return verify(null, message, key, signature);
  },
};

/** A logger that keeps what it is told at `info` and above. */
export interface RecordingLogger extends Logger {
  readonly events: { readonly event: string; readonly fields: Readonly<Record<string, unknown>> }[];
}

export function recordingLogger(): RecordingLogger {
  const events: RecordingLogger["events"] = [];
  const record = (event: string, fields: Readonly<Record<string, unknown>> = {}): void => {
    events.push({ event, fields });
  };
  return { events, debug: () => undefined, info: record, warn: record, error: record };
}

/** A started transport, the channels it has announced, and which of them are still open. */
export interface Party extends AsyncDisposable {
  readonly device: Device;
  readonly transport: Transport;
  readonly channels: Channel[];
  readonly open: Set<Channel>;
  readonly received: string[];
  readonly logger: RecordingLogger;
}

async function startParty(
  transport: Transport,
  device: Device,
  logger: RecordingLogger,
  read: boolean,
): Promise<Party> {
  const party = {
    device,
    transport,
    logger,
    channels: [] as Channel[],
    open: new Set<Channel>(),
    received: [] as string[],
    [Symbol.asyncDispose]: (): Promise<void> => transport.stop(),
  };
  await transport.start((channel) => {
    party.channels.push(channel);
    party.open.add(channel);
    if (read) void readAll(channel, party);
  });
  return party;
}

async function readAll(channel: Channel, party: Party): Promise<void> {
  for await (const message of channel.receive()) {
    party.received.push(new TextDecoder().decode(message));
  }
  party.open.delete(channel);
}

/** A hub with its HTTP server. */
export interface Hub extends Party {
  readonly server: Server;
  readonly port: number;
  readonly url: string;
}

/** Starts a hub on a server that listens on a port of 127.0.0.1. */
export async function startHubOn(
  server: Server,
  options: Partial<Omit<WsServerOptions, "device" | "logger">> & { readonly device?: Device } = {},
): Promise<Party> {
  const logger = recordingLogger();
  const device = options.device ?? newDevice();
  const base = { server, space: SPACE, isMember: anyone, verifier, random };
  const transport = createWsServer({ isHub: () => false, ...base, ...options, device, logger });
  return await startParty(transport, device, logger, true);
}

/** Starts a hub on a free port, or on the given one. */
export async function startHub(
  options: Partial<Omit<WsServerOptions, "device" | "logger">> & {
    readonly device?: Device;
    readonly port?: number;
    readonly read?: boolean;
  } = {},
): Promise<Hub> {
  const server = createServer((_, response) => response.writeHead(404).end());
  await new Promise<void>((resolve) => {
    server.listen(options.port ?? 0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  const logger = recordingLogger();
  const device = options.device ?? newDevice();
  const base = { server, space: SPACE, isMember: anyone, verifier, random };
  const transport = createWsServer({ isHub: () => false, ...base, ...options, device, logger });
  const party = await startParty(transport, device, logger, options.read ?? true);
  return Object.assign(party, {
    server,
    port,
    url: `ws://127.0.0.1:${String(port)}`,
    [Symbol.asyncDispose]: async () => {
      await transport.stop();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

/** Starts an agent. */
export async function startAgent(
  options: Partial<Omit<WsClientOptions, "device" | "logger">> & {
    readonly urls: readonly string[];
    readonly device?: Device;
    readonly read?: boolean;
  },
): Promise<Party> {
  const logger = recordingLogger();
  const device = options.device ?? newDevice();
  const base = { space: SPACE, hubs: anyone, verifier, random, clock: Date };
  const transport = createWsClient({ ...base, ...options, device, logger });
  return await startParty(transport, device, logger, options.read ?? true);
}

/** Waits, with a bound, until a condition holds. */
export function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  return waitFor(condition, { timeoutMs: BOUND_MS, what });
}

/** The first channel a party got. */
export function firstChannel(party: Party): Channel {
  const [channel] = party.channels;
  if (channel === undefined) throw new Error("no channel yet");
  return channel;
}

/** The bytes of a text. */
export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
