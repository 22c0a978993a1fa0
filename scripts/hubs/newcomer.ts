// SPDX-License-Identifier: Apache-2.0
/** A hub with an empty store comes to an engine whose log is long. */
import { join } from "node:path";
import { decodeBatch } from "@ctxmesh/codec";
import {
  createDeviceSigner,
  createDeviceVerifier,
  createSigner,
  generatePrivateKey,
  generateSeed,
  sha256,
} from "@ctxmesh/crypto";
import { openPostgresEngine } from "@ctxmesh/engine-postgres";
import { createHub } from "@ctxmesh/hub";
import type { HubOptions, SealKeys } from "@ctxmesh/hub";
import { createSpace, issueGrant } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { parseDeviceKey, parseDocumentName, toHex } from "@ctxmesh/model";
import type { Engine, EngineEntry } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import { systemClock, systemRandom } from "@ctxmesh/service";
import { createMemoryStore, silentLogger, tempDir } from "@ctxmesh/testing";
import { say, startPostgres } from "./trial.ts";
import type { Trial } from "./trial.ts";

/** Facts of a batch, of a thousand keys in ten documents that are overwritten again and again. */
const FACTS = 50;
const KEYS = 100;
const DOCS = 10;
/** Batches that are appended at a time. */
const APPENDED = 256;
const deps = { clock: systemClock, random: systemRandom, logger: silentLogger };

/** A space for one hub and one agent, who has founded it. */
function found(agentSeed: Uint8Array, hubSeed: Uint8Array): Space {
  const now = systemClock.now();
  const creator = createDeviceSigner(agentSeed);
  let space = createSpace({ name: "trial", creator, now, random: systemRandom });
  for (const [service, seed] of [
    ["agent", agentSeed],
    ["hub", hubSeed],
  ] as const) {
    const device = parseDeviceKey(toHex(createDeviceSigner(seed).publicKey));
    space = issueGrant(space, creator, { device, service, role: "write", notBefore: now - 1 });
  }
  return space;
}

/** Makes that many batches of an agent, and appends them to an engine's log; resolves with their bytes. */
async function fill(
  engine: Engine,
  space: Space,
  seed: Uint8Array,
  count: number,
): Promise<number> {
  const [signer, verifier] = [createDeviceSigner(seed), createDeviceVerifier()];
  const store = createMemoryStore();
  const replica = await Replica.open({ ...deps, store, space, signer, verifier });
  for (let i = 0; i < count; i++) {
    const facts = Array.from({ length: FACTS }, (_, j) => ({
      key: `reading/${String((Math.floor(i / DOCS) * FACTS + j) % KEYS)}`,
      value: i + j / FACTS,
    }));
    await replica.put(parseDocumentName(`line-${String(i % DOCS)}`), facts);
  }
  let bytes = 0;
  let entries: EngineEntry[] = [];
  const spans = replica.chains().map(({ seq, ...chain }) => ({ ...chain, from: 1, to: seq }));
  for await (const batch of replica.read(spans)) {
    bytes += batch.bytes.length;
    const id = sha256(decodeBatch(batch.bytes).headerBytes);
    entries.push({ kind: "batch", id, bytes: batch.bytes });
    if (entries.length < APPENDED) continue;
    await engine.append(space.id, entries);
    entries = [];
  }
  await engine.append(space.id, entries);
  await replica.close();
  return bytes;
}

/** Keys for seals, which nobody makes here. */
const sealKeys = (): SealKeys => ({
  signer: createSigner(generatePrivateKey("ML-DSA-65-Ed25519", systemRandom)),
  log: {
    origin: "log.test/trial",
    signers: {
      ed25519: createSigner(generatePrivateKey("Ed25519", systemRandom)),
      mldsa44: createSigner(generatePrivateKey("ML-DSA-44", systemRandom)),
    },
  },
});

/** Starts a hub and stops it; resolves with how long it took to be ready, and how many batches it then had. */
async function start(
  options: Omit<HubOptions, "engine">,
  url: string,
): Promise<{ readonly tookMs: number; readonly batches: number }> {
  const sinceMs = performance.now();
  const hub = await createHub({ ...options, engine: await openPostgresEngine({ url }) }, deps);
  const tookMs = Math.round(performance.now() - sinceMs);
  const { engine } = await hub.service.status();
  await hub.stop();
  return { tookMs, batches: (engine?.applied ?? 0) - options.space.acts.length };
}

export const newcomer: Trial = {
  name: "newcomer",
  what: "a hub with an empty store comes to a database with a long log and reads all of it; then it is started again",
  counts: `batches of ${String(FACTS)} facts`,
  count: 20_000,
  run: async (count) => {
    await using dir = await tempDir();
    await using server = await startPostgres();
    const [agentSeed, hubSeed] = [generateSeed(systemRandom), generateSeed(systemRandom)];
    const space = found(agentSeed, hubSeed);
    const engine = await openPostgresEngine({ url: server.url });
    const bytes = await fill(engine, space, agentSeed, count);
    await engine.close();
    say(`${String(count)} batches of ${String(bytes)} bytes are in the log`);
    const options = {
      version: "0.0.0",
      space,
      deviceSeed: hubSeed,
      storePath: join(dir.path, "store"),
      socketPath: join(dir.path, "hub.sock"),
      listen: { host: "127.0.0.1", port: 0 },
      seal: sealKeys(),
    };
    const first = await start(options, server.url);
    const second = await start(options, server.url);
    const facts = count * FACTS;
    return {
      isSound: first.batches === count && second.batches === count,
      figures: {
        batches: count,
        facts,
        bytes,
        firstStartMs: first.tookMs,
        factsPerSecond: Math.round((facts * 1_000) / first.tookMs),
        secondStartMs: second.tookMs,
        rssMiB: Math.round(process.memoryUsage().rss / 1_048_576),
      },
    };
  },
};
