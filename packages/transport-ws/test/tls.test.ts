// SPDX-License-Identifier: Apache-2.0
/** Goal: what is said of a connection is what protects it, and a client certificate binds a connection to the device that it names. */
import { createPrivateKey } from "node:crypto";
import { createHealthServer } from "@ctxmesh/api";
import type { DoorTls } from "@ctxmesh/api";
import { createTestCertificate, silentLogger } from "@ctxmesh/testing";
import type { TestCertificate } from "@ctxmesh/testing";
import { createDeviceCertificate, createWsClient, deviceIdentity } from "@ctxmesh/transport-ws";
import type { HubTls, WsServerOptions } from "@ctxmesh/transport-ws";
import nodeTls, { connect } from "node:tls";
import type { ConnectionOptions } from "node:tls";
import { expect, describe, test } from "vitest";
import { groupOfSession } from "../src/tls.ts";
import {
  SPACE,
  anyone,
  firstChannel,
  newDevice,
  random,
  recordingLogger,
  startAgent,
  startHubOn,
  until,
  verifier,
} from "./parties.ts";
import type { Device, Party } from "./parties.ts";

const authority = createTestCertificate({ name: "authority", isAuthority: true });
const stranger = createTestCertificate({ name: "stranger", isAuthority: true });
const door = createTestCertificate({ name: "localhost", issuer: authority });
const ca = authority.cert;

interface TlsHub extends Party {
  readonly url: string;
  readonly port: number;
}

async function startTlsHub(
  changes: Partial<DoorTls> = {},
  options: Pick<WsServerOptions, "clientCertificate"> = {},
): Promise<TlsHub> {
  const settings = { cert: door.cert, key: door.key, ...changes };
  const health = createHealthServer({ ready: () => true, tls: settings, logger: silentLogger });
  const { port } = await health.listen("127.0.0.1", 0);
  const party = await startHubOn(health.server, options);
  return Object.assign(party, {
    port,
    url: `wss://localhost:${String(port)}`,
    [Symbol.asyncDispose]: async () => {
      await party.transport.stop();
      health.server.closeAllConnections();
      await health.close();
    },
  });
}

const agentOf = (hub: TlsHub, tls: HubTls, device: Device = newDevice()): Promise<Party> =>
  startAgent({ urls: [hub.url], tls, device });

/** A certificate of a device's key. */
function certificateOf(device: Device, issuer?: TestCertificate): TestCertificate {
  const prefix = Buffer.from("302e020100300506032b657004220420", "hex");
  const der = Buffer.concat([prefix, device.seed]);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const pem = key.export({ type: "pkcs8", format: "pem" }).toString();
  return createTestCertificate({
    name: "device",
    key: pem,
    ...(issuer === undefined ? {} : { issuer }),
  });
}

const reasons = (party: Party, event: string): unknown[] =>
  party.logger.events
    .filter((entry) => entry.event === event)
    .map(({ fields }) => fields["reason"]);

/** Connects, and says which group came of it, or why none did. */
async function groupWith(port: number, options: ConnectionOptions): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = connect({ host: "localhost", port, ca, ...options }, () => {
    const info = socket.getEphemeralKeyInfo() as { readonly name?: string } | null;
    resolve(info?.name ?? "unknown");
  });
  socket.on("error", ({ message }) => resolve(message));
  const group = await promise;
  socket.destroy();
  return group;
}

const dialInPlainText = () =>
  createWsClient({
    urls: ["ws://127.0.0.1:1"],
    tls: { requirePq: true },
    device: newDevice(),
    space: SPACE,
    hubs: anyone,
    verifier,
    random,
    clock: Date,
    logger: recordingLogger(),
  });

const showing = (device: Device, issuer?: TestCertificate): HubTls => {
  const own = (): string => createDeviceCertificate(device.seed);
  const cert = issuer === undefined ? own() : certificateOf(device, issuer).cert;
  return { ca, identity: deviceIdentity(cert, device.seed) };
};

const sessionWith = (...number: readonly number[]): Uint8Array =>
  Uint8Array.of(0x30, number.length + 4, 0xb3, number.length + 2, 0x02, number.length, ...number);

describe("a connection over TLS", () => {
  test.each([
    ["X25519MLKEM768", nodeTls.DEFAULT_ECDH_CURVE],
    ["X25519", "X25519"],
  ] as const)(
    "with the group %s is reported as that at both ends",
    async (keyExchange, offered) => {
      await using hub = await startTlsHub();
      const before = nodeTls.DEFAULT_ECDH_CURVE;
      // Of the client alone: the door names its groups.
      nodeTls.DEFAULT_ECDH_CURVE = offered;
      const ours = await agentOf(hub, { ca });
      await until("the channel", () => hub.channels.length === 1 && ours.channels.length === 1);
      nodeTls.DEFAULT_ECDH_CURVE = before;
      const security = { protocol: "TLS 1.3", keyExchange };
      expect(firstChannel(hub).remote.security).toEqual(security);
      expect(firstChannel(ours).remote.security).toEqual(security);
      expect(hub.transport.addresses()).toEqual([`wss://127.0.0.1:${String(hub.port)}/v1/sync`]);
      await ours.transport.stop();
    },
  );

  test("has no older version, and with requirePq no classical group", async () => {
    await using lenient = await startTlsHub();
    await using strict = await startTlsHub({ requirePq: true });
    expect(await groupWith(lenient.port, {})).toBe("X25519MLKEM768");
    expect(await groupWith(lenient.port, { ecdhCurve: "X25519" })).toBe("X25519");
    expect(await groupWith(strict.port, {})).toBe("X25519MLKEM768");
    expect(await groupWith(strict.port, { ecdhCurve: "X25519" })).toMatch(/handshake failure/u);
    expect(await groupWith(lenient.port, { maxVersion: "TLSv1.2" })).toMatch(/protocol version/u);
  });

  test("is none with a hub that nobody vouches for", async () => {
    await using hub = await startTlsHub();
    const strangers = await agentOf(hub, { ca: stranger.cert });
    await until("the failure", () => strangers.logger.events.length > 0);
    expect(reasons(strangers, "hub.unavailable")[0]).toMatch(/certificate/u);
    expect(hub.channels).toEqual([]);
    await strangers.transport.stop();
  });

  test("is asked for by who requires a hybrid group, before anything is dialled", () => {
    expect(dialInPlainText).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }) as Error);
  });

  test("needs a key that belongs to its certificate", () => {
    const tls = { cert: door.cert, key: stranger.key };
    const make = () => createHealthServer({ ready: () => true, tls, logger: silentLogger });
    expect(make).toThrow(expect.objectContaining({ code: "KEY_INVALID" }) as Error);
  });
});

describe("a client certificate", () => {
  test.each([
    ["own", undefined, {}],
    ["authorized", authority, { clientCa: authority.cert }],
  ] as const)("of the device's key lets it in (%s)", async (clientCertificate, issuer, tls) => {
    await using hub = await startTlsHub(tls, { clientCertificate });
    const device = newDevice();
    const agent = await agentOf(hub, showing(device, issuer), device);
    await until("the channel", () => hub.channels.length === 1);
    expect(firstChannel(hub).remote.device).toBe(device.key);
    await agent.transport.stop();
  });

  test.each([undefined, "own"] as const)("of another device lets nobody in (%s)", async (how) => {
    await using hub = await startTlsHub({}, how === undefined ? {} : { clientCertificate: how });
    const [device, other] = [newDevice(), newDevice()];
    const agent = await agentOf(hub, showing(other), device);
    await until("the refusal", () => reasons(hub, "peer.refused").length > 0);
    expect(reasons(hub, "peer.refused")[0]).toBe(`not a member: ${device.key}`);
    expect(hub.channels).toEqual([]);
    await agent.transport.stop();
  });

  test("of a key that no device can have lets nobody in", async () => {
    await using hub = await startTlsHub();
    const { cert, key } = createTestCertificate({ name: "x", issuer: authority });
    const agent = await agentOf(hub, { ca, identity: { cert, key } });
    await until("the refusal", () => reasons(hub, "peer.refused").length > 0);
    expect(hub.channels).toEqual([]);
    await agent.transport.stop();
  });

  test("that nobody vouches for is refused where somebody has to", async () => {
    await using hub = await startTlsHub(
      { clientCa: authority.cert },
      { clientCertificate: "authorized" },
    );
    const device = newDevice();
    const agent = await agentOf(hub, showing(device, stranger), device);
    const bare = await agentOf(hub, { ca });
    const both = (): boolean => new Set(reasons(hub, "peer.refused")).size === 2;
    await until("both refusals", both);
    expect(new Set(reasons(hub, "peer.refused"))).toEqual(
      new Set(["nobody vouches for its certificate", "no client certificate"]),
    );
    expect(hub.channels).toEqual([]);
    await agent.transport.stop();
    await bare.transport.stop();
  });

  test("is taken only with its own key", () => {
    const { cert } = certificateOf(newDevice());
    for (const text of [cert, "no certificate"]) {
      expect(() => deviceIdentity(text, newDevice().seed)).toThrow(
        expect.objectContaining({ code: "KEY_INVALID" }) as Error,
      );
    }
  });
});

test("a session without a group that is known, or no session, says nothing", () => {
  expect(groupOfSession(sessionWith(0x11, 0xec))).toBe("X25519MLKEM768");
  expect(groupOfSession(sessionWith(0x1d))).toBe("X25519");
  for (const other of [
    sessionWith(0x17),
    sessionWith(),
    Uint8Array.of(0x30, 0x7f),
    new Uint8Array(),
    undefined,
  ]) {
    expect(groupOfSession(other)).toBeUndefined();
  }
});
