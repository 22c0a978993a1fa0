// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a hub starts whole or not at all, and leaves nothing behind either way.
 * Method: real store, sockets and ports; each step of the start is made to fail, then the hub is started again at once.
 */
import { existsSync } from "node:fs";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo, Server } from "node:net";
import { join } from "node:path";
import { createSigner, generatePrivateKey } from "@ctxmesh/crypto";
import { createHub } from "@ctxmesh/hub";
import type { Hub, HubOptions } from "@ctxmesh/hub";
import { verifyBundle } from "@ctxmesh/ledger";
import type { MeshErrorCode } from "@ctxmesh/model";
import { systemClock, systemRandom } from "@ctxmesh/service";
import { openLevelStore } from "@ctxmesh/store-level";
import { silentLogger, tempDir, waitFor } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { HUB_SEED, rootFor, sealKeys, spaceOf } from "./fixture.ts";

const deps = { clock: systemClock, random: systemRandom, logger: silentLogger };
const space = spaceOf(1, systemClock.now());

let dir: TempDir;
let cleanup: AsyncDisposableStack;
beforeEach(async () => {
  dir = await tempDir();
  cleanup = new AsyncDisposableStack();
  cleanup.defer(async () => dir.remove());
});
afterEach(async () => cleanup.disposeAsync());

const optionsFor = (changes: Partial<HubOptions> = {}): HubOptions => ({
  version: "0.0.0",
  space,
  deviceSeed: HUB_SEED,
  storePath: join(dir.path, "store"),
  socketPath: join(dir.path, "hub.sock"),
  listen: { host: "127.0.0.1", port: 0 },
  seal: sealKeys,
  ...changes,
});

async function start(changes: Partial<HubOptions> = {}): Promise<Hub> {
  const hub = await createHub(optionsFor(changes), deps);
  cleanup.defer(async () => hub.stop());
  return hub;
}

/** A foreign server on a port or socket. */
async function occupy(address: { port: number; host: string } | { path: string }): Promise<Server> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(address, resolve));
  cleanup.defer(async () => new Promise((resolve) => server.close(() => resolve(undefined))));
  return server;
}

/** Numbers of the timers, sockets and servers that keep a process alive, by kind. */
function resources(): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) {
    if (/^(?:Timeout|T|Pipe)/u.test(kind)) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}

/** Waits until there is no more of anything than before. */
const waitForRelease = async (before: ReadonlyMap<string, number>): Promise<void> =>
  waitFor(() => [...resources()].every(([kind, count]) => count <= (before.get(kind) ?? 0)), {
    timeoutMs: 5_000,
    what: `no more than ${JSON.stringify([...before])} to be open`,
  });

type Failure = readonly [
  what: string,
  code: MeshErrorCode,
  prepare: () => Promise<Partial<HubOptions>>,
];

const FAILURES: readonly Failure[] = [
  [
    "a busy port",
    "ADDRESS_UNAVAILABLE",
    async () => {
      const server = await occupy({ host: "127.0.0.1", port: 0 });
      return { listen: { host: "127.0.0.1", port: (server.address() as AddressInfo).port } };
    },
  ],
  [
    "an address of another machine",
    "ADDRESS_UNAVAILABLE",
    async () => Promise.resolve({ listen: { host: "192.0.2.1", port: 0 } }),
  ],
  [
    "a socket that a living process serves",
    "ADDRESS_UNAVAILABLE",
    async () => {
      const path = join(dir.path, "busy.sock");
      await occupy({ path });
      return { socketPath: path };
    },
  ],
  [
    "a socket in a folder that is not there",
    "ADDRESS_UNAVAILABLE",
    async () => Promise.resolve({ socketPath: join(dir.path, "nowhere", "hub.sock") }),
  ],
  [
    "a locked store",
    "STORE_LOCKED",
    async () => {
      const path = join(dir.path, "locked");
      const store = await openLevelStore({ path });
      cleanup.defer(async () => store.close());
      return { storePath: path };
    },
  ],
  [
    "a folder with something else in it",
    "STORE_FORMAT",
    async () => {
      const path = join(dir.path, "other");
      await mkdir(path);
      await writeFile(join(path, "notes.txt"), "mine");
      return { storePath: path };
    },
  ],
  [
    "a log that other keys have signed",
    "KEY_INVALID",
    async () => {
      const hub = await start();
      await hub.sealing.seal();
      await hub.stop();
      const signers = {
        ed25519: createSigner(generatePrivateKey("Ed25519", systemRandom)),
        mldsa44: createSigner(generatePrivateKey("ML-DSA-44", systemRandom)),
      };
      return { seal: { ...sealKeys, log: { ...sealKeys.log, signers } } };
    },
  ],
];

describe("a start that fails", () => {
  test.each(FAILURES)(
    "on %s rejects with %s, and the next one works at once",
    async (_, code, prepare) => {
      const changes = await prepare();
      const before = resources();
      await expect(createHub(optionsFor(changes), deps)).rejects.toMatchObject({
        code,
        message: expect.stringMatching(/./u) as string,
      });
      await waitForRelease(before);
      expect(await readdir(dir.path)).not.toContain("hub.sock");
      const hub = await start();
      expect(await hub.service.status()).toMatchObject({ service: "hub", ready: true });
    },
  );
});

describe("a stop", () => {
  test("releases everything: the same store, socket and port serve again at once", async () => {
    const before = resources();
    const first = await start();
    const addresses = first.addresses();
    const port = Number(new URL(addresses[0] ?? "").port);
    await first.sealing.seal();
    await first.stop();
    await waitForRelease(before);
    expect(await readdir(dir.path)).toEqual(["store"]);
    const again = await start({ listen: { host: "127.0.0.1", port } });
    expect(again.addresses()).toEqual(addresses);
    expect(await again.sealing.seal()).toMatchObject({ sequence: 2, logIndex: 1 });
    const verdict = verifyBundle(
      await again.sealing.bundle(1),
      rootFor(space, systemClock.now() + 60_000),
      { now: systemClock.now() },
    );
    expect(verdict.failed).toBeUndefined();
  });

  test("that is asked for several times ends once, and every caller waits for that end", async () => {
    const hub = await start();
    await Promise.race([hub.stop(), hub.stop()]);
    expect(existsSync(join(dir.path, "hub.sock"))).toBe(false);
    const again = await start();
    expect(await again.service.status()).toMatchObject({ ready: true });
    await Promise.all([hub.stop(), again.stop(), again.stop()]);
  });

  test("finishes the seals that were asked for", async () => {
    const hub = await start();
    const seals = [hub.sealing.seal(), hub.sealing.seal()];
    await hub.stop();
    expect((await Promise.all(seals)).map(({ sequence }) => sequence)).toEqual([1, 2]);
    expect((await (await start()).service.status()).seals).toBe(2);
  });
});
