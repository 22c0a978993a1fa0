// SPDX-License-Identifier: Apache-2.0
/**
 * Writes golden stores of the current format, for the tests of every later version to open (test/golden-stores.test.ts):
 * `node --conditions=@ctxmesh/source scripts/make-golden.ts`, then `npx oxfmt`. Never over those of a released format: run
 * it once for each. In `test/golden-stores/<format>/`:
 *
 * ```
 * plain, encrypted   stores of one agent, that has what two wrote
 * hub                the store of a hub with two seals, encrypted
 * store.key          the key of both
 * space.json         the space
 * golden.json        keys, times, and what the stores are to give back
 * ```
 */
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import {
  createDeviceSigner,
  createSigner,
  formatPrivateKey,
  generatePrivateKey,
} from "@ctxmesh/crypto";
import type { PrivateKey } from "@ctxmesh/crypto";
import { Sealer } from "@ctxmesh/hub";
import { contentRoot } from "@ctxmesh/ledger";
import { createSpace, encodeSpaceFile, issueGrant } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { parseDeviceKey, parseDocumentName, toHex } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { openReplica, systemRandom } from "@ctxmesh/service";
import type { OpenReplica } from "@ctxmesh/service";
import { STORE_FORMAT } from "@ctxmesh/store-level";
import { createVirtualClock, silentLogger } from "@ctxmesh/testing";
import { fileKeyProvider } from "@ctxmesh/vault";

const START_MS = Date.UTC(2026, 0, 2, 3, 4, 5);
const ORIGIN = "log.test/golden";
const PRESS = parseDocumentName("line-2/press-7");
const NOTES = parseDocumentName("shift/notes");
const SEEDS = { agent: 1, other: 2, hub: 3, creator: 9 } as const;
const folder = fileURLToPath(new URL(`../test/golden-stores/${STORE_FORMAT}`, import.meta.url));
const clock = createVirtualClock(START_MS);
const deps = { clock, random: systemRandom, logger: silentLogger };

const seedOf = (name: keyof typeof SEEDS): Uint8Array => new Uint8Array(32).fill(SEEDS[name]);
const deviceOf = (name: keyof typeof SEEDS): string =>
  toHex(createDeviceSigner(seedOf(name)).publicKey);

function foundSpace(): Space {
  const creator = createDeviceSigner(seedOf("creator"));
  const founded = createSpace({ name: "golden", creator, now: START_MS, random: systemRandom });
  return (["agent", "other", "hub"] as const).reduce(
    (space, name) =>
      issueGrant(space, creator, {
        device: parseDeviceKey(deviceOf(name)),
        service: name === "hub" ? "hub" : "agent",
        role: "manage",
        notBefore: START_MS - 1_000,
      }),
    founded,
  );
}

const space = foundSpace();

/** Opens a store of the golden folder, or, for the device that is not kept, beside it. */
async function open(
  store: string,
  device: keyof typeof SEEDS,
  isEncrypted: boolean,
  stack: AsyncDisposableStack,
): Promise<OpenReplica> {
  // A store remembers where its key is; that of this checkout is nobody's business.
  const keyProvider = fileKeyProvider("store.key", { create: true });
  const options = { space, deviceSeed: seedOf(device), storePath: join(folder, store) };
  return openReplica({ ...options, ...(isEncrypted ? { keyProvider } : {}) }, deps, stack);
}

async function bring(from: Replica, to: Replica): Promise<void> {
  const spans = from.heads().map((head) => ({ ...head, from: 1, to: head.seq }));
  for await (const { bytes } of from.read(spans)) await to.receive(bytes);
}

/** One life of the device, then another, with everything that a document can hold. */
async function write(replica: Replica, life: number): Promise<void> {
  for (let n = 0; n < 20; n++) {
    clock.advance(1_000);
    await replica.put(PRESS, [
      { key: `temperature/${String(n % 5)}`, value: 20 + n + life * 100, confidence: 0.9 },
      {
        key: `state/${String(life)}`,
        value: { mode: "auto", Grüße: ["a", null, true, 1.5] },
        source: { model: "thermo-1", version: "1.2" },
        tags: ["calibrated"],
      },
    ]);
  }
  await replica.put(PRESS, [
    { key: "short", value: 1, ttlMs: 5_000 },
    { key: "long", value: 2, ttlMs: 86_400_000 },
    { key: "gone", value: 3 },
  ]);
  await replica.delete(PRESS, ["gone"]);
  await replica.edit(NOTES, (roots) => {
    roots.text("text").insert(0, `life ${String(life)}: press 7 runs. `);
  });
}

const answers = (replica: Replica): Record<string, unknown> =>
  Object.fromEntries(replica.list({}).map(({ doc, key, value }) => [`${doc} ${key}`, value]));

async function makeAgent(store: string, isEncrypted: boolean): Promise<Record<string, unknown>> {
  for (const life of [1, 2]) {
    await using stack = new AsyncDisposableStack();
    const { replica } = await open(store, "agent", isEncrypted, stack);
    const { replica: other } = await open(`.other-${store}`, "other", false, stack);
    await write(replica, life);
    await bring(replica, other);
    await other.put(PRESS, [{ key: "temperature/0", value: 7 }]);
    await other.retract(PRESS, "temperature/1", replica.device, "sensor 1 is broken");
    await bring(other, replica);
  }
  await rm(join(folder, `.other-${store}`), { recursive: true });
  await using stack = new AsyncDisposableStack();
  const { replica } = await open(store, "agent", isEncrypted, stack);
  clock.advance(60_000);
  return {
    nowMs: clock.now(),
    digest: toHex(contentRoot(replica.snapshot().leaves)),
    frontier: toHex(replica.frontierDigest()),
    records: toHex(replica.recordsDigest()),
    chains: replica.heads().length,
    facts: answers(replica),
    notes: replica.snapshot().leaves.filter((leaf) => leaf.includes("press 7 runs")).length,
  };
}

async function makeHub(): Promise<Record<string, unknown>> {
  const made: readonly PrivateKey[] = (["ML-DSA-65-Ed25519", "Ed25519", "ML-DSA-44"] as const).map(
    (alg) => generatePrivateKey(alg, systemRandom),
  );
  const [seal, ed25519, mldsa44] = made.map((key) => createSigner(key));
  if (!seal || !ed25519 || !mldsa44) throw new Error("three keys were made");
  const log = { origin: ORIGIN, signers: { ed25519, mldsa44 } };
  await using stack = new AsyncDisposableStack();
  const parts = await open("hub", "hub", true, stack);
  const { replica: agent } = await open("encrypted", "agent", true, stack);
  await bring(agent, parts.replica);
  const sealer = await Sealer.open({ ...deps, ...parts, signer: seal, log });
  for (let n = 0; n < 2; n++) {
    clock.advance(1_000);
    await sealer.seal();
  }
  return {
    nowMs: clock.now(),
    digest: toHex(contentRoot(parts.replica.snapshot().leaves)),
    seals: sealer.count,
    keys: made.map((key) => formatPrivateKey(key)),
    origin: ORIGIN,
  };
}

/** What says where and when a process had the store. */
const OF_THE_PROCESS = ["LOCK", "LOG", "LOG.old"];

await rm(folder, { recursive: true, force: true });
await mkdir(folder, { recursive: true });
process.chdir(folder);
const plain = await makeAgent("plain", false);
const encrypted = await makeAgent("encrypted", true);
const hub = await makeHub();
for (const store of ["plain", "encrypted", "hub"]) {
  for (const name of await readdir(join(folder, store))) {
    if (OF_THE_PROCESS.includes(name)) await rm(join(folder, store, name));
  }
}
const seeds = Object.fromEntries(
  (["agent", "hub"] as const).map((name) => [name, toHex(seedOf(name))]),
);
const golden = { format: STORE_FORMAT, seeds, plain, encrypted, hub };
await writeFile(join(folder, "golden.json"), `${JSON.stringify(golden, null, 2)}\n`);
await writeFile(join(folder, "space.json"), encodeSpaceFile(space));
