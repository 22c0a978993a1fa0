// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: this version opens the stores of every released format, and gives back what was written.
 * Method: stores that were made once, with the programs of their time (scripts/make-golden.ts). A copy is opened,
 * read, written, and opened again.
 */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { chmod, cp } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createDeviceVerifier, createSigner, parsePrivateKey, toPublicKey } from "@ctxmesh/crypto";
import { Sealer } from "@ctxmesh/hub";
import { contentRoot, createTrustRoot, verifyBundle } from "@ctxmesh/ledger";
import { parseSpaceFile } from "@ctxmesh/membership";
import { fromHex, parseDocumentName, toHex } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import { openReplica, systemRandom } from "@ctxmesh/service";
import type { OpenReplica, StoreOptions } from "@ctxmesh/service";
import { STORE_FORMAT } from "@ctxmesh/store-level";
import { createVirtualClock, silentLogger, tempDir } from "@ctxmesh/testing";
import type { TempDir, VirtualClock } from "@ctxmesh/testing";
import { fileKeyProvider } from "@ctxmesh/vault";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

interface GoldenAgent {
  readonly nowMs: number;
  readonly digest: string;
  readonly frontier: string;
  readonly records: string;
  readonly chains: number;
  readonly facts: Readonly<Record<string, JsonValue>>;
  readonly notes: number;
}

interface Golden {
  readonly format: string;
  readonly seeds: { readonly agent: string; readonly hub: string };
  readonly plain: GoldenAgent;
  readonly encrypted: GoldenAgent;
  readonly hub: {
    readonly nowMs: number;
    readonly digest: string;
    readonly seals: number;
    readonly keys: readonly string[];
    readonly origin: string;
  };
}

const verifier = createDeviceVerifier();
const DOC = parseDocumentName("later/news");
const DAY_MS = 86_400_000;
const ROOT = fileURLToPath(new URL("golden-stores", import.meta.url));
const formats = readdirSync(ROOT).filter((name) => existsSync(join(ROOT, name, "golden.json")));

test("there are golden stores of the format that is written now", () => {
  expect(formats).toContain(STORE_FORMAT);
});

describe.each(formats)("stores of format %s", (format) => {
  const golden = JSON.parse(readFileSync(join(ROOT, format, "golden.json"), "utf8")) as Golden;
  const space = parseSpaceFile(readFileSync(join(ROOT, format, "space.json"), "utf8"), verifier);
  let dir: TempDir;
  let stack: AsyncDisposableStack;

  beforeEach(async () => {
    dir = await tempDir();
    stack = new AsyncDisposableStack();
    await cp(join(ROOT, format), join(dir.path, "golden"), { recursive: true });
    await chmod(join(dir.path, "golden", "store.key"), 0o600);
  });

  afterEach(async () => {
    await stack.disposeAsync();
    await dir.remove();
  });

  const optionsOf = (store: "plain" | "encrypted" | "hub"): StoreOptions => {
    const path = join(dir.path, "golden");
    const keyProvider = fileKeyProvider(join(path, "store.key"), { create: false });
    return {
      space,
      deviceSeed: fromHex(store === "hub" ? golden.seeds.hub : golden.seeds.agent),
      storePath: join(path, store),
      ...(store === "plain" ? {} : { keyProvider }),
    };
  };

  async function open(
    store: "plain" | "encrypted" | "hub",
    clock: VirtualClock,
  ): Promise<OpenReplica> {
    // Whoever opens a store of its own with damage heals it: here that would be a failure.
    const logger = {
      ...silentLogger,
      error: (event: string, fields?: unknown) => {
        throw new Error(`${event} ${JSON.stringify(fields)}`);
      },
    };
    return openReplica(optionsOf(store), { clock, random: systemRandom, logger }, stack);
  }

  test.each(["plain", "encrypted"] as const)("of an agent, %s", async (store) => {
    const { nowMs, facts, notes, ...digests } = golden[store];
    const clock = createVirtualClock(nowMs);
    const first = await open(store, clock);
    const found = first.replica.list({}).map(({ doc, key, value }) => [`${doc} ${key}`, value]);
    expect(Object.fromEntries(found)).toEqual(facts);
    const { leaves } = first.replica.snapshot();
    expect(leaves.filter((leaf) => leaf.includes("press 7 runs"))).toHaveLength(notes);
    expect({
      digest: toHex(contentRoot(leaves)),
      frontier: toHex(first.replica.frontierDigest()),
      records: toHex(first.replica.recordsDigest()),
      chains: first.replica.heads().length,
    }).toEqual(digests);
    expect(await first.store.scrub()).toMatchObject({ damaged: 0, complete: true });

    await first.replica.put(DOC, [{ key: "n", value: 1 }]);
    await stack.disposeAsync();
    stack = new AsyncDisposableStack();
    const again = await open(store, clock);
    expect(again.replica.get(DOC, "n")?.value).toBe(1);
    expect(again.replica.list({})).toHaveLength(found.length + 1);
  });

  test("of a hub, whose seals verify, and whose log goes on", async () => {
    const { nowMs, seals, keys, origin, digest } = golden.hub;
    const clock = createVirtualClock(nowMs);
    const [seal, ed25519, mldsa44] = keys.map((text) => parsePrivateKey(text));
    if (!seal || !ed25519 || !mldsa44) throw new Error("three keys are kept");
    const parts = await open("hub", clock);
    expect(toHex(contentRoot(parts.replica.snapshot().leaves))).toBe(digest);
    const signers = { ed25519: createSigner(ed25519), mldsa44: createSigner(mldsa44) };
    const sealer = await Sealer.open({
      ...parts,
      clock,
      random: systemRandom,
      logger: silentLogger,
      signer: createSigner(seal),
      log: { origin, signers },
    });
    expect(sealer.count).toBe(seals);
    await sealer.seal();
    const root = createTrustRoot({
      version: 1,
      issued: 0,
      spaces: [space.id],
      expires: nowMs + DAY_MS,
      keys: [{ role: "snapshot", key: toPublicKey(seal) }],
      logs: [{ origin, ed25519: toPublicKey(ed25519), mldsa44: toPublicKey(mldsa44) }],
    });
    for (let sequence = 1; sequence <= seals + 1; sequence++) {
      const verdict = verifyBundle(await sealer.bundle(sequence), root, { now: clock.now() });
      expect(verdict).toMatchObject({ valid: true, statement: { sequence } });
    }
    await sealer.close();
  });
});
