// SPDX-License-Identifier: Apache-2.0
/** Devices, listeners and connections on loopback for tests. */
import { randomBytes } from "node:crypto";
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import type { Channel, DeviceSigner, RandomSource, SpaceId, Transport } from "@ctxmesh/model";
import { parseSpaceId, toHex } from "@ctxmesh/model";
import { createRecordingLogger, waitFor } from "@ctxmesh/testing";
import type { RecordingLogger } from "@ctxmesh/testing";
import { connectLink, createLinkServer, Handshake, leafPsk } from "@ctxmesh/transport-tcp";
import type {
  LinkChannel,
  LinkClientOptions,
  LinkServerOptions,
  Role,
} from "@ctxmesh/transport-tcp";
import type { HandshakeVector } from "./vectors.ts";

export const SPACE: SpaceId = parseSpaceId("5a".repeat(32));
export const random: RandomSource = { bytes: (length) => new Uint8Array(randomBytes(length)) };
export const verifier = createDeviceVerifier();
const BOUND_MS = 15_000;

/** A device key; `key` is the public one, hex. */
export interface Device extends DeviceSigner {
  readonly key: string;
}

/** A fresh device, or that of a seed. */
export function newDevice(seed: Uint8Array = random.bytes(32)): Device {
  const signer = createDeviceSigner(seed);
  return { ...signer, key: toHex(signer.publicKey) };
}

/** One end of a handshake as a vector has it. */
export const endOf = (role: Role, { at }: HandshakeVector): Handshake =>
  new Handshake({
    role,
    device: newDevice(at(`${role}Seed`)),
    space: parseSpaceId(toHex(at("space"))),
    psk: (device) => (role === "client" ? at("psk") : leafPsk(at("serverSecret"), device)),
    accepts: () => true,
    verifier,
    random: { bytes: () => at(`${role}Scalar`) },
  });

/** A listener, the channels it has announced, and what it has logged. */
export interface Parent extends AsyncDisposable {
  readonly device: Device;
  readonly secret: Uint8Array;
  readonly transport: Transport;
  readonly port: number;
  readonly channels: Channel[];
  readonly logger: RecordingLogger;
}

/** Starts a listener on a free port. */
export async function startParent(options: Partial<LinkServerOptions> = {}): Promise<Parent> {
  const device = newDevice();
  const secret = random.bytes(32);
  const logger = createRecordingLogger();
  const base = {
    host: "127.0.0.1",
    port: 0,
    secret,
    device,
    space: SPACE,
    verifier,
    random,
    logger,
  };
  const transport = createLinkServer({ ...base, isMember: () => true, ...options });
  const channels: Channel[] = [];
  await transport.start((channel) => channels.push(channel));
  const [address = ""] = transport.addresses();
  return {
    device,
    secret,
    transport,
    port: Number(new URL(address).port),
    channels,
    logger,
    [Symbol.asyncDispose]: async () => transport.stop(),
  };
}

/** Connects a leaf to a listener. */
export async function connectTo(
  { device: parent, secret, port }: Parent,
  options: Partial<LinkClientOptions> = {},
): Promise<LinkChannel> {
  const { device = newDevice() } = options;
  return connectLink({
    host: "127.0.0.1",
    port,
    device,
    space: SPACE,
    parent: parent.key,
    psk: leafPsk(secret, device.publicKey),
    verifier,
    random,
    ...options,
  });
}

/** Waits, with a bound, until a condition holds. */
export const until = async (what: string, condition: () => boolean): Promise<void> =>
  waitFor(condition, { timeoutMs: BOUND_MS, what });
