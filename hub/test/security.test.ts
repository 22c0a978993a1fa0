// SPDX-License-Identifier: Apache-2.0
/** Goal: a hub's door is as its settings say, its status tells what protects whom, and tokens open no more than the hub may do itself. */
import { writeFile } from "node:fs/promises";
import { get } from "node:https";
import { join } from "node:path";
import { createDevIssuer } from "@ctxmesh/auth";
import { encodeSignedRecord } from "@ctxmesh/codec";
import { createAgent } from "@ctxmesh/edge-agent";
import { createHub } from "@ctxmesh/hub";
import type { Hub, HubOptions } from "@ctxmesh/hub";
import { createSpace, issueGrant, revokeDevice } from "@ctxmesh/membership";
import { parseDeviceKey, toHex } from "@ctxmesh/model";
import type { Channel, DocumentName, MeshErrorCode } from "@ctxmesh/model";
import { systemClock, systemRandom } from "@ctxmesh/service";
import {
  createRecordingLogger,
  createSeededRandom,
  createTestCertificate,
  silentLogger,
  tempDir,
  waitFor,
} from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { createWsClient } from "@ctxmesh/transport-ws";
import { afterEach, beforeEach, expect, test } from "vitest";
import { HUB_SEED, hubDevice, sealKeys, spaceOf, verifier, writerDevice } from "./fixture.ts";

const deps = { clock: systemClock, random: systemRandom, logger: silentLogger };
const plant = spaceOf(1, systemClock.now());
const authority = createTestCertificate({ name: "authority", isAuthority: true });
const door = createTestCertificate({ name: "localhost", issuer: authority });
const WRITER_SEED = new Uint8Array(32).fill(2);
const AUDIENCE = "https://hub.example.org";

let dir: TempDir;
let cleanup: AsyncDisposableStack;
beforeEach(async () => {
  dir = await tempDir();
  cleanup = new AsyncDisposableStack();
  cleanup.defer(async () => dir.remove());
});
afterEach(async () => cleanup.disposeAsync());

async function start(changes: Partial<HubOptions>): Promise<Hub> {
  const hub = await createHub(
    {
      version: "0.0.0",
      space: plant,
      deviceSeed: HUB_SEED,
      storePath: join(dir.path, "store"),
      socketPath: join(dir.path, "hub.sock"),
      listen: { host: "127.0.0.1", port: 0 },
      seal: sealKeys,
      ...changes,
    },
    deps,
  );
  cleanup.defer(async () => hub.stop());
  return hub;
}

test("an agent comes in over TLS, and status and links say with which key exchange", async () => {
  const hub = await start({ tls: { cert: door.cert, key: door.key, requirePq: true } });
  const [url = ""] = hub.addresses();
  expect(url).toMatch(/^wss:\/\/127\.0\.0\.1:\d+\/v1\/sync$/u);
  const agent = await createAgent(
    {
      version: "0.0.0",
      space: plant,
      deviceSeed: WRITER_SEED,
      storePath: join(dir.path, "agent"),
      socketPath: join(dir.path, "agent.sock"),
      mesh: { listen: [], peers: [], relays: [], security: "prefer-pq", mdns: false },
      hubs: [url],
      hubTls: { ca: authority.cert, requirePq: true },
      sources: [],
    },
    deps,
  );
  cleanup.defer(async () => agent.stop());
  const areLinked = (): boolean =>
    [hub, agent].every(({ service }) => service.links().length === 1);
  await waitFor(areLinked, { timeoutMs: 15_000, what: "the link" });
  const security = { protocol: "TLS 1.3", keyExchange: "X25519MLKEM768" };
  expect(hub.service.links()).toMatchObject([{ security }]);
  expect(agent.service.links()).toMatchObject([{ security }]);
  expect((await hub.service.status()).peers).toMatchObject([{ security }]);
  const probe = new URL("/livez", url.replace("wss:", "https:"));
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
  get(probe, { ca: authority.cert, agent: false }, (response) => {
    response.resume();
    resolve(response.statusCode);
  }).on("error", reject);
  expect(await promise).toBe(200);
});

test("a token opens what it names, as long as the space lets the hub do it", async () => {
  const now = systemClock.now() - 1_000;
  const hubKey = parseDeviceKey(toHex(hubDevice.publicKey));
  const random = createSeededRandom(3);
  const founded = createSpace({ name: "plant", creator: writerDevice, now, random });
  const grant = { device: hubKey, service: "hub", role: "write", notBefore: now } as const;
  const space = issueGrant(founded, writerDevice, grant);
  const query = { space: space.id, document: "line-2/press" as DocumentName };
  const role = { space: space.id, prefix: "line-2/", access: "write" } as const;
  const issuer = await createDevIssuer(AUDIENCE, systemClock);
  const auth = { issuer: issuer.issuer, keys: issuer.keys, audience: AUDIENCE };
  const hub = await start({ space, auth });
  const bearer = await issuer.issue({ subject: "alice", tenant: "acme", roles: [role] });
  const { authorizer } = hub;
  if (authorizer === undefined) throw new Error("no authorizer");
  const authorization = await authorizer.authorize(bearer, query);
  expect(authorization).toMatchObject({ subject: "alice", tenant: "acme", access: "write" });
  const ends: string[] = [];
  authorizer.hold(authorization, (reason) => ends.push(reason));
  const revoked = revokeDevice(space, writerDevice, {
    device: hubKey,
    heads: [],
    reason: "lost",
    now: systemClock.now(),
  });
  const acts = revoked.acts.filter(({ act }) => act.kind === "revoke");
  await hub.service.addActs(acts.map(({ record }) => encodeSignedRecord(record)));
  await waitFor(() => ends.length === 1, { timeoutMs: 15_000, what: "the end of the session" });
  await expect(authorizer.authorize(bearer, query)).rejects.toMatchObject({
    code: "POLICY_REFUSED",
  });
});

test("without settings for tokens there is nobody who would take one", async () => {
  expect((await start({})).authorizer).toBeUndefined();
});

const BROKEN: readonly (readonly [string, MeshErrorCode, () => Promise<Partial<HubOptions>>])[] = [
  [
    "a key that is not its certificate's",
    "KEY_INVALID",
    () => Promise.resolve({ tls: { cert: door.cert, key: authority.key } }),
  ],
  [
    "no keys of the issuer",
    "FILE_UNAVAILABLE",
    () =>
      Promise.resolve({
        auth: { issuer: "x", audience: AUDIENCE, keys: { location: join(dir.path, "none.json") } },
      }),
  ],
  [
    "a list of revoked tokens that is none",
    "CONFIG_INVALID",
    async () => {
      const revocations = join(dir.path, "revoked.json");
      await writeFile(revocations, "[]");
      const { issuer, keys } = await createDevIssuer(AUDIENCE, systemClock);
      return { auth: { issuer, keys, audience: AUDIENCE, revocations } };
    },
  ],
];

test.each(BROKEN)(
  "with %s a hub does not start, and does with it put right",
  async (_, code, make) => {
    await expect(start(await make())).rejects.toMatchObject({ code });
    await start({});
  },
);

/** The lines of a text in the format of Prometheus, as far as it is well-formed. */
function samplesOf(text: string): ReadonlyMap<string, number> {
  const samples = new Map<string, number>();
  const families = new Set<string>();
  for (const line of text.split("\n").slice(0, -1)) {
    const [, type] = /^# TYPE ([a-z_]+) (?:counter|gauge)$/u.exec(line) ?? [];
    if (type !== undefined) families.add(type);
    if (line.startsWith("#")) continue;
    const sample =
      /^(?<name>[a-z_]+)(?<labels>\{[a-z_]+="[a-z-]+"(?:,[a-z_]+="[a-z-]+")*\})? (?<value>[0-9.e-]+)$/u.exec(
        line,
      );
    const { name = "", labels = "", value = "" } = sample?.groups ?? {};
    expect(families, line).toContain(name);
    samples.set(name + labels, Number(value));
  }
  return samples;
}

test("metrics tell of the node, and name nobody", async () => {
  const hub = await start({});
  const base = (hub.addresses()[0] ?? "").replace("ws:", "http:");
  const response = await fetch(new URL("/metrics", base));
  const text = await response.text();
  const samples = samplesOf(text);
  expect(samples.get("ctxmesh_ready")).toBe(1);
  expect(samples.get('ctxmesh_links{role="agent"}')).toBe(0);
  expect(samples.get('ctxmesh_batches_total{outcome="accepted"}')).toBe(0);
  expect(samples.get('ctxmesh_batches_total{outcome="refused",reason="signature"}')).toBe(0);
  expect(samples.get("ctxmesh_seals_total")).toBe(0);
  expect(text).not.toMatch(/[0-9a-f]{16}/u);
});

test("a hub is ready once it has started, and asks who is there when it stops to come back", async () => {
  const hub = await start({});
  const [url = ""] = hub.addresses();
  const logger = createRecordingLogger();
  const agent = createWsClient({
    ...deps,
    logger,
    urls: [url],
    device: writerDevice,
    space: plant.id,
    hubs: (device) => device === toHex(hubDevice.publicKey),
    verifier,
  });
  cleanup.defer(async () => agent.stop());
  const channels: Channel[] = [];
  await agent.start((channel) => channels.push(channel));
  await waitFor(() => channels.length === 1, { timeoutMs: 15_000, what: "the channel" });
  const probe = async (path: string): Promise<number> =>
    (await fetch(new URL(path, url.replace("ws:", "http:")))).status;
  expect([await probe("/readyz"), await probe("/startupz")]).toEqual([200, 200]);
  await hub.stop();
  const closes = (): unknown[] =>
    logger.entries
      .filter(({ event }) => event === "channel.closed")
      .map(({ fields }) => fields?.["reason"]);
  await waitFor(() => closes().length === 1, { timeoutMs: 15_000, what: "the close" });
  expect(closes()[0]).toMatch(/^the hub stops; come back in \d+ ms \(code 1012\)$/u);
});
