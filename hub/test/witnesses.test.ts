// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a hub's log can be read and checked by anybody, and others vouch that it shows everybody the same; nothing waits for them.
 * Method: hubs over real sockets that witness each other; one stops and comes back; a log that shows two trees.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { createDeviceSigner, createSigner, generatePrivateKey } from "@ctxmesh/crypto";
import type { PrivateKey } from "@ctxmesh/crypto";
import { createHub } from "@ctxmesh/hub";
import type { Hub, HubOptions } from "@ctxmesh/hub";
import {
  createTrustRoot,
  formatAddCheckpoint,
  openLog,
  openTileLog,
  parseCheckpoint,
  parseTreeSize,
  snapshotEntry,
  verifyCheckpoint,
  verifyBundle,
  verifyConsistency,
} from "@ctxmesh/ledger";
import type { FetchTile, LogKeys, WitnessKey } from "@ctxmesh/ledger";
import { issueGrant } from "@ctxmesh/membership";
import { LIMITS, parseDeviceKey, toHex } from "@ctxmesh/model";
import { SEALS_UNCERTAIN, systemClock, systemRandom } from "@ctxmesh/service";
import { openLevelStore } from "@ctxmesh/store-level";
import {
  MemoryEngineData,
  createMemoryEngine,
  createMemoryStore,
  silentLogger,
  tempDir,
  waitFor,
} from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { hubDevice, rootFor, sealKeys, spaceOf } from "./fixture.ts";

const deps = { clock: systemClock, random: systemRandom, logger: silentLogger };
const seedOf = (index: number): Uint8Array => new Uint8Array(32).fill(60 + index);
const now = systemClock.now();
const space = [0, 1, 2].reduce(
  (known, index) =>
    issueGrant(known, hubDevice, {
      device: parseDeviceKey(toHex(createDeviceSigner(seedOf(index)).publicKey)),
      service: "hub",
      role: "write",
      notBefore: now - 86_400_000,
    }),
  spaceOf(1, now - 1_000),
);
const root = rootFor(space, now + 86_400_000);
const log: LogKeys = {
  origin: sealKeys.log.origin,
  ed25519: sealKeys.log.signers.ed25519.key,
  mldsa44: sealKeys.log.signers.mldsa44.key,
};
const witnessed = [{ origin: log.origin, keys: [log.ed25519, log.mldsa44] }];

/** A hub as a witness, under a name of its own. */
interface OneWitness {
  readonly name: string;
  readonly key: PrivateKey;
  readonly keys: readonly WitnessKey[];
}
const witnessOf = (name: string): OneWitness => {
  const key = generatePrivateKey("ML-DSA-44", systemRandom);
  return { name, key, keys: [{ name, key }] };
};
const [first, second] = [witnessOf("w1.test"), witnessOf("w2.test")];
const known = [...first.keys, ...second.keys];
/** A root whose verifiers want the lines of both witnesses. */
const strict = createTrustRoot({
  ...root,
  witnesses: [first, second].map(({ name, key }) => ({ name, mldsa44: key })),
  witnessThreshold: 2,
});

let dir: TempDir;
let cleanup: AsyncDisposableStack;

beforeEach(async () => {
  dir = await tempDir();
  cleanup = new AsyncDisposableStack();
  cleanup.defer(async () => dir.remove());
});
afterEach(async () => cleanup.disposeAsync());

async function startHub(index: number, changes: Partial<HubOptions> = {}): Promise<Hub> {
  const hub = await createHub(
    {
      version: "0.0.0",
      space,
      deviceSeed: seedOf(index),
      storePath: join(dir.path, `hub-${String(index)}`),
      socketPath: join(dir.path, `hub-${String(index)}.sock`),
      listen: { host: "127.0.0.1", port: 0 },
      seal: sealKeys,
      ...changes,
    },
    deps,
  );
  cleanup.defer(async () => hub.stop());
  return hub;
}

/** A hub that seals nothing and looks after the log of the others. */
const startWitness = async (index: number, { name, key }: OneWitness, port = 0): Promise<Hub> =>
  startHub(index, {
    asWitness: { name, signers: [createSigner(key)], logs: witnessed },
    listen: { host: "127.0.0.1", port },
  });

const urlOf = (hub: Hub): URL => new URL((hub.addresses()[0] ?? "").replace(/^ws/u, "http"));
const at = (hub: Hub, path: string): string => new URL(path, urlOf(hub)).href;
const asked = (hub: Hub, { keys }: OneWitness): { url: string; keys: readonly WitnessKey[] } => ({
  url: at(hub, "/witness"),
  keys,
});
const textAt = async (hub: Hub, path: string): Promise<string> =>
  (await fetch(at(hub, path))).text();
const fetchFrom =
  (hub: Hub): FetchTile =>
  async (path) => {
    const response = await fetch(at(hub, `/log/${path}`));
    return response.ok ? new Uint8Array(await response.arrayBuffer()) : undefined;
  };
const cosignedBy = async (hub: Hub): Promise<readonly string[]> =>
  verifyCheckpoint(await textAt(hub, "/log/checkpoint"), log, known).cosignedBy;
const until = async (what: string, holds: () => Promise<boolean>): Promise<void> =>
  waitFor(holds, { timeoutMs: 20_000, what });

/** What a response says of itself. */
const keeping = ({ headers }: Response): (string | null)[] =>
  ["content-type", "cache-control"].map((name) => headers.get(name));
const ask = async (
  hub: Hub,
  oldSize: number,
  checkpoint: string,
  proof: Uint8Array[],
): Promise<Response> =>
  fetch(at(hub, "/witness/add-checkpoint"), {
    method: "POST",
    body: formatAddCheckpoint({ oldSize, proof, checkpoint }),
  });

describe("the log at a hub's door", () => {
  test("is readable by its tiles alone, and each page can be kept for ever but the checkpoint", async () => {
    const hub = await startHub(0);
    expect((await fetch(at(hub, "/log/checkpoint"))).status).toBe(404);
    for (let i = 0; i < 3; i++) await hub.sealing.seal();
    const older = parseCheckpoint(await textAt(hub, "/log/checkpoint"));
    for (let i = 0; i < 2; i++) await hub.sealing.seal();
    const { head } = verifyCheckpoint(await textAt(hub, "/log/checkpoint"), log);
    const tiles = await openTileLog(fetchFrom(hub), head);
    const [size1, size2] = [older.size, head.size];
    const proof = await tiles.consistency(size1);
    expect([size1, size2]).toEqual([3, 5]);
    const claim = { size1, size2, root1: older.root, root2: head.root, proof };
    expect(verifyConsistency(claim)).toBe(true);
    expect((await tiles.entries(0)).length).toBe(5);
    const checkpoint = await fetch(at(hub, "/log/checkpoint"));
    const tile = await fetch(at(hub, "/log/tile/0/000.p/5"));
    expect(keeping(checkpoint)).toEqual(["text/plain; charset=utf-8", "no-cache"]);
    expect(keeping(tile)).toEqual([
      "application/octet-stream",
      "public, max-age=31536000, immutable",
    ]);
    for (const { url, headers } of [checkpoint, tile]) {
      const tag = headers.get("etag") ?? "";
      const again = await fetch(url, { headers: { "if-none-match": `"x", W/${tag}` } });
      expect([again.status, await again.text()]).toEqual([304, ""]);
      expect((await fetch(url, { headers: { "if-none-match": '"x"' } })).status).toBe(200);
    }
  });

  test("has one address for each page, and nothing else", async () => {
    const hub = await startHub(0);
    await hub.sealing.seal();
    for (const path of [
      "/log/",
      "/log/checkpoint?x",
      "/log/checkpoint/",
      "/log//checkpoint",
      "/log/%63heckpoint",
      "/log/tile/0/%30%30%30.p/1",
      "/log/tile/0/000",
      "/log/tile/0/000.p/2",
      "/log/tile/00/000.p/1",
      "/log/tile/0/x000/000.p/1",
      "/log/tile/entries/000",
      "/log/c",
    ]) {
      const response = await fetch(at(hub, path));
      expect([path, response.status]).toEqual([path, 404]);
      expect(response.headers.get("content-type")).toBe("application/problem+json");
    }
    expect((await fetch(at(hub, "/log/checkpoint"), { method: "POST" })).status).toBe(404);
    expect((await fetch(at(hub, "/witness/add-checkpoint"), { method: "POST" })).status).toBe(404);
  });
});

describe("witnesses", () => {
  test("cosign each seal; one that is away comes in later, and holds nothing up", async () => {
    const one = await startWitness(1, first);
    let two = await startWitness(2, second);
    const port = Number(urlOf(two).port);
    const witnesses = [asked(one, first), asked(two, second)];
    let hub = await startHub(0, { seal: { ...sealKeys, witnesses } });
    await hub.sealing.seal();
    const bundle = await hub.sealing.bundle();
    const policy = { now: systemClock.now() };
    expect(verifyBundle(bundle, strict, policy).failed).toBeUndefined();
    expect(await cosignedBy(hub)).toEqual(["w1.test", "w2.test"]);
    await two.stop();
    for (let i = 0; i < 2; i++) await hub.sealing.seal();
    await until("the one that is there", async () => (await cosignedBy(hub)).join() === "w1.test");
    const half = await hub.sealing.bundle();
    expect(verifyBundle(half, root, policy).valid).toBe(true);
    expect(verifyBundle(half, strict, policy).failed?.code).toBe("POLICY_REFUSED");
    // The hub stops and starts between the seal and the missing witness.
    await hub.stop();
    two = await startWitness(2, second, port);
    hub = await startHub(0, { seal: { ...sealKeys, witnesses } });
    await until("both", async () => (await cosignedBy(hub)).length === 2);
    // What was sealed before has them, too.
    for (let sequence = 1; sequence <= 3; sequence++) {
      const again = await hub.sealing.bundle(sequence);
      expect(verifyBundle(again, strict, policy).failed).toBeUndefined();
      const text = (JSON.parse(new TextDecoder().decode(again)) as { proof: string }).proof;
      const { cosignedBy: names, head } = verifyCheckpoint(
        text.slice(text.indexOf("\n\n") + 2),
        log,
        known,
      );
      expect([names, head.size]).toEqual([["w1.test", "w2.test"], 3]);
    }
    const originHash = createHash("sha256").update(log.origin).digest("hex");
    const monitored = await textAt(two, `/witness/${originHash}/checkpoint`);
    expect(verifyCheckpoint(monitored, log, known)).toMatchObject({ cosignedBy: ["w2.test"] });
  });

  test("refuse a second tree, which who has both checkpoints can show", async () => {
    const one = await startWitness(1, first);
    const two = await startWitness(2, second);
    // The log's keys make two histories, and show each witness another one.
    const shown: string[] = [];
    for (const [branch, hub] of [one, two].entries()) {
      const forged = await openLog({
        store: createMemoryStore(),
        prefix: new Uint8Array([1]),
        clock: systemClock,
        ...sealKeys.log,
      });
      for (let i = 0; i < 4; i++)
        await forged.append(snapshotEntry(Uint8Array.of(i === 3 ? branch : 9, i)));
      shown.push(forged.checkpoint ?? "");
      expect((await ask(hub, 0, shown[branch] ?? "", [])).status).toBe(200);
    }
    const conflict = await ask(one, 0, shown[1] ?? "", []);
    expect([conflict.status, conflict.headers.get("content-type")]).toEqual([
      409,
      "text/x.tlog.size",
    ]);
    expect(parseTreeSize(await conflict.text())).toBe(4);
    expect((await ask(one, 4, shown[1] ?? "", [])).status).toBe(422);
    expect((await ask(two, 4, shown[0] ?? "", [])).status).toBe(422);
    const [a, b] = shown.map((text) => verifyCheckpoint(text, log).head);
    if (a === undefined || b === undefined) throw new Error("nothing was shown");
    const claim = { size1: a.size, size2: b.size, root1: a.root, root2: b.root, proof: [] };
    expect(verifyConsistency(claim)).toBe(false);
  });

  test("take a request of any media type, and none that is too long", async () => {
    const one = await startWitness(1, first);
    const url = at(one, "/witness/add-checkpoint");
    const types = ["application/json", "text/plain", "application/x-anything", undefined];
    for (const type of types) {
      const headers = type === undefined ? {} : { "content-type": type };
      const body = Buffer.from("{");
      const { status } = await fetch(url, { method: "POST", headers, body });
      expect([type, status]).toEqual([type, 400]);
    }
    expect((await fetch(url, { method: "POST" })).status).toBe(400);
    const body = "x".repeat(LIMITS.checkpointBytes + 1);
    const { status, headers } = await fetch(url, { method: "POST", body });
    expect([status, headers.get("content-type")]).toEqual([413, "application/problem+json"]);
    expect((await fetch(at(one, `/witness/${"0".repeat(64)}/checkpoint`))).status).toBe(404);
  });

  test("are none while they may have forgotten what they cosigned", async () => {
    const one = await startWitness(1, first);
    await one.stop();
    const store = await openLevelStore({ path: join(dir.path, "hub-1") });
    await store.write([SEALS_UNCERTAIN]);
    await store.close();
    const again = await startWitness(1, first);
    const url = at(again, "/witness/add-checkpoint");
    expect((await fetch(url, { method: "POST", body: "old 0\n" })).status).toBe(503);
    expect((await fetch(at(again, "/log/checkpoint"))).status).toBe(404);
  });

  test("cosign what hubs seal that share an engine, whichever seals", async () => {
    const one = await startWitness(2, first);
    const data = new MemoryEngineData();
    const seal = { ...sealKeys, witnesses: [asked(one, first)] };
    const start = async (index: number): Promise<Hub> =>
      startHub(index, { seal, engine: createMemoryEngine(data, systemClock) });
    const [hub, other] = [await start(0), await start(1)];
    await until("a sealer", async () =>
      hub.sealing.seal().then(
        () => true,
        () => false,
      ),
    );
    for (const each of [hub, other]) {
      await until("the witness", async () => (await cosignedBy(each)).join() === "w1.test");
    }
    await hub.stop();
    await until("another sealer", async () =>
      other.sealing.seal().then(
        () => true,
        () => false,
      ),
    );
    await until("the witness", async () => {
      const text = await textAt(other, "/log/checkpoint");
      const { cosignedBy: names, head } = verifyCheckpoint(text, log, known);
      return names.length === 1 && head.size === 2;
    });
    const tiles = await openTileLog(
      fetchFrom(other),
      parseCheckpoint(await textAt(other, "/log/checkpoint")),
    );
    expect((await tiles.entries(0)).length).toBe(2);
    expect(
      verifyBundle(await other.sealing.bundle(1), root, { now: systemClock.now() }).valid,
    ).toBe(true);
  });
});
