// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the leaf in C is a member like any other: what it writes is everywhere, it has what the others have, and nothing that it
 * acknowledged is lost, whenever it is killed.
 * Method: two whole agents in a mesh, the program as it is built, over the real link.
 */
import { createDeviceSigner } from "@ctxmesh/crypto";
import { createAgent } from "@ctxmesh/edge-agent";
import type { Agent } from "@ctxmesh/edge-agent";
import { createSpace, issueGrant, revokeDevice } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { encodeSignedRecord } from "@ctxmesh/codec";
import { fromHex, parseDeviceKey, parseDocumentName, toHex } from "@ctxmesh/model";
import type { DeviceKey, DeviceSigner } from "@ctxmesh/model";
import { systemClock, systemRandom } from "@ctxmesh/service";
import { createRecordingLogger, tempDir, waitFor } from "@ctxmesh/testing";
import type { RecordingLogger, TempDir } from "@ctxmesh/testing";
import { leafPsk } from "@ctxmesh/transport-tcp";
import { join } from "node:path";
import process from "node:process";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Leaf, buildLeaf } from "./leaf/program.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const build = buildLeaf();
const isMissing = build.missing !== undefined;
if (isMissing) process.stderr.write(`the leaf is not tested: ${build.missing}`);

const DOC = parseDocumentName("line-2/press-7");
const SECRET = new Uint8Array(32).fill(3);
const [PARENT, OTHER, THIRD] = [1, 2, 4] as const;
const seedOf = (n: number): Uint8Array => new Uint8Array(32).fill(n);
const deviceOf = (n: number): DeviceSigner & { readonly key: DeviceKey } => {
  const signer = createDeviceSigner(seedOf(n));
  return { ...signer, key: parseDeviceKey(toHex(signer.publicKey)) };
};
const creator = deviceOf(100);
const now = (): number => systemClock.now();
const grantTo = (space: Space, device: DeviceKey): Space =>
  issueGrant(space, creator, {
    device,
    service: "agent",
    role: "write",
    notBefore: now() - 60_000,
    now: now(),
  });

let dir: TempDir;
let cleanup: AsyncDisposableStack;
let space: Space;
let leaf: Leaf;
beforeEach(async () => {
  if (isMissing) return;
  dir = await tempDir();
  cleanup = new AsyncDisposableStack();
  cleanup.defer(async () => dir.remove());
  leaf = cleanup.use(new Leaf(build.binary));
  const empty = createSpace({ name: "plant", creator, now: now(), random: systemRandom });
  const devices = [PARENT, OTHER, THIRD].map((n) => deviceOf(n).key);
  space = [...devices, parseDeviceKey(leaf.device)].reduce(grantTo, empty);
});
afterEach(async () => cleanup?.disposeAsync());

interface Started {
  readonly agent: Agent;
  readonly logger: RecordingLogger;
  readonly n: number;
}

async function start(n: number, peers: readonly string[] = []): Promise<Started> {
  const logger = createRecordingLogger();
  const agent = await createAgent(
    {
      version: "0.0.0",
      space,
      deviceSeed: seedOf(n),
      storePath: join(dir.path, `store-${String(n)}`),
      socketPath: join(dir.path, `${String(n)}.sock`),
      mesh: { listen: ["/ip4/127.0.0.1/tcp/0"], peers },
      hubs: [],
      sources: [],
      leaves: { host: "127.0.0.1", port: 0, secret: SECRET },
    },
    { clock: systemClock, random: systemRandom, logger },
  );
  cleanup.defer(async () => agent.stop());
  return { agent, logger, n };
}

/** Makes an agent the leaf's parent, from its next start on. */
function adopt({ agent, n }: Started, more = ""): void {
  const [address = ""] = agent.leafAddresses();
  leaf.configure(
    space.id,
    {
      device: deviceOf(n).key,
      address: new URL(address).host,
      psk: toHex(leafPsk(SECRET, fromHex(leaf.device))),
    },
    more,
  );
}

const until = async (what: string, condition: () => boolean | Promise<boolean>): Promise<void> =>
  waitFor(condition, { timeoutMs: 20_000, what });
const areLike = async (...agents: readonly Started[]): Promise<boolean> => {
  const frontier = await leaf.frontier();
  const others = await Promise.all(agents.map(async ({ agent }) => agent.service.status()));
  return others.every((status) => status.frontier === frontier);
};
const valueAt = ({ agent }: Started, key: string): unknown => agent.service.get(DOC, key)?.value;
const complaints = ({ logger }: Started): unknown[] =>
  logger.entries.filter(
    ({ event, level }) => /violation|useless|refused/u.test(event) || level === "error",
  );

test.skipIf(isMissing)(
  "two agents and a leaf come together, and what each writes reaches the others",
  async () => {
    const parent = await start(PARENT);
    const other = await start(OTHER, parent.agent.addresses());
    await parent.agent.service.put(DOC, [{ key: "parent", value: 1, confidence: 0.9 }]);
    await other.agent.service.put(DOC, [{ key: "other", value: 2 }]);
    adopt(parent);
    await leaf.start();
    const client = await leaf.client();
    expect(await client.ask(`put ${DOC} leaf 3`)).toEqual(["ok 1"]);
    await until("all to be equal", async () => areLike(parent, other));
    for (const at of [parent, other]) expect(valueAt(at, "leaf")).toBe(3);
    const [text = ""] = await client.ask(`get ${DOC} parent`);
    expect(JSON.parse(text)).toMatchObject({ value: 1, confidence: 0.9, candidates: 1 });
    expect(text).toContain(`"confidence":0.9,`);

    await client.ask(`put ${DOC} leaf 4`, `put ${DOC} leaf 5`, `put ${DOC} parent 7`);
    await other.agent.service.put(DOC, [{ key: "other", value: "6" }]);
    await until("all to be equal again", async () => areLike(parent, other));
    expect([valueAt(other, "leaf"), valueAt(other, "parent")]).toEqual([5, 7]);
    expect(JSON.parse((await client.ask(`get ${DOC} other`))[0] ?? "")).toMatchObject({
      value: "6",
    });
    await until(
      "the leaf to be in step",
      async () => (await client.ask("status"))[0]?.includes('"inSync":true') ?? false,
    );
    expect([...complaints(parent), ...complaints(other)]).toEqual([]);
    expect(await leaf.end()).toBe(0);
  },
);

test.skipIf(isMissing)(
  "a leaf that is killed and started again, over and over, loses nothing that it acknowledged",
  async () => {
    const parent = await start(PARENT);
    const other = await start(OTHER, parent.agent.addresses());
    adopt(parent);
    let acknowledged = 0;
    for (let life = 0; life < 5; life++) {
      await leaf.start();
      const client = await leaf.client();
      await other.agent.service.put(DOC, [{ key: `other-${String(life)}`, value: life }]);
      const answers = await client.ask(
        ...Array.from(
          { length: 20 },
          (_, i) => `put ${DOC} leaf-${String(acknowledged + i)} ${String(i)}`,
        ),
      );
      expect(answers.every((line) => line.startsWith("ok "))).toBe(true);
      acknowledged += answers.length;
      // And some of which nobody waits for the end.
      client.send(`put ${DOC} last ${String(life)}\nput ${DOC} last-${String(life)} 1\n`);
      await leaf.end("SIGKILL");
    }
    await leaf.start();
    await until("all to be equal", async () => areLike(parent, other));
    for (let i = 0; i < acknowledged; i++) expect(valueAt(other, `leaf-${String(i)}`)).toBe(i % 20);
    for (let life = 0; life < 5; life++) {
      const [text = ""] = await leaf.ask(`get ${DOC} other-${String(life)}`);
      expect(JSON.parse(text)).toMatchObject({ value: life });
    }
    expect([...complaints(parent), ...complaints(other)]).toEqual([]);
  },
);

test.skipIf(isMissing)(
  "each start begins a chain of its own once it writes, so that a folder that was copied never forks one",
  async () => {
    leaf.configure(space.id);
    const chains = async (): Promise<unknown> =>
      (JSON.parse((await leaf.ask("status"))[0] ?? "{}") as { readonly chains: unknown }).chains;
    await leaf.start();
    expect(await leaf.ask("put a k 1")).toEqual(["ok 1"]);
    expect(await leaf.end()).toBe(0);
    await leaf.start();
    expect(await chains()).toBe(1);
    expect(await leaf.ask("put a k 2", "get a k")).toEqual([
      "ok 1",
      expect.stringContaining('"value":2'),
    ]);
    expect(await leaf.ask("put a k 3")).toEqual(["ok 2"]);
    await leaf.end("SIGKILL");
    await leaf.start();
    expect(await leaf.ask("put a k 4", "get a k")).toEqual([
      "ok 1",
      expect.stringContaining('"value":4'),
    ]);
    expect(await chains()).toBe(3);
  },
);

test.skipIf(isMissing)(
  "what was revoked while the leaf was away goes from it, with what it said",
  async () => {
    const parent = await start(PARENT);
    const third = await start(THIRD, parent.agent.addresses());
    await third.agent.service.put(DOC, [{ key: "third", value: 1 }]);
    adopt(parent);
    await leaf.start();
    await until("all to be equal", async () => areLike(parent, third));
    expect(await leaf.ask(`get ${DOC} third`)).not.toEqual(["null"]);
    await leaf.end();
    const revoked = revokeDevice(space, creator, {
      device: deviceOf(THIRD).key,
      heads: [],
      reason: "stolen",
      now: now(),
    });
    await parent.agent.service.addActs(
      revoked.acts.map(({ record }) => encodeSignedRecord(record)),
    );
    await leaf.start();
    await until("the leaf to hear of it", async () => areLike(parent));
    expect(await leaf.ask(`get ${DOC} third`)).toEqual(["null"]);
  },
);

test.skipIf(isMissing)(
  "a log over its limit is compacted while the leaf runs, and what it knows stays",
  async () => {
    const parent = await start(PARENT);
    adopt(parent, "log-limit 65536\n");
    await leaf.start();
    const client = await leaf.client();
    const value = JSON.stringify(
      "x".repeat(1_000).replaceAll("x", () => "abcdef"[Math.floor(Math.random() * 6)] ?? "a"),
    );
    for (let i = 0; i < 300; i++) await client.ask(`put ${DOC} k${String(i % 20)} ${value}`);
    await until("the log to be compacted", async () => {
      const [text = "{}"] = await client.ask("status");
      return (JSON.parse(text) as { readonly logBytes: number }).logBytes < 65_536;
    });
    await until("all to be equal", async () => areLike(parent));
    const before = await client.ask("digest");
    await leaf.end("SIGKILL");
    await leaf.start();
    expect(await leaf.ask("digest")).toEqual(before);
    await leaf.ask(`put ${DOC} after 1`);
    await until("what came after to arrive", () => valueAt(parent, "after") === 1);
    await until("all to be equal again", async () => areLike(parent));
  },
);
