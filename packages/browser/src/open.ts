// SPDX-License-Identifier: Apache-2.0
/** Opens a replica in a page: the composition root. */
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import { MeshError, toHex } from "@ctxmesh/model";
import type { Logger } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import type { Untyped } from "@ctxmesh/sdk";
import {
  Freshness,
  LiveMembership,
  NodeLevels,
  NodeService,
  keepConfirmations,
  startSync,
} from "@ctxmesh/service";
import type { NodeDeps } from "@ctxmesh/service";
import type { SyncNode } from "@ctxmesh/sync";
import { createPageClient } from "./client.ts";
import type { PageReplica } from "./client.ts";
import { deleteDatabase, openDatabase } from "./database.ts";
import { deviceSeed, scratchOf, spaceOf } from "./identity.ts";
import type { Belonging } from "./identity.ts";
import { assertPolicy } from "./page-policy.ts";
import { pageClock, pageRandom, rest, silentLogger, takeName, wait } from "./platform.ts";
import { IndexedStore } from "./store.ts";
import { createPageTransport } from "./transport.ts";

/** What is opened. */
export interface PageReplicaOptions extends Belonging {
  /** What the replica is called in this browser: 1 to 64 of a-z, 0-9, `-`. Each name is a device and a store of its own. */
  readonly name: string;
  /** What keeps the facts of large documents: `wasm`, the default, where WebAssembly is allowed. */
  readonly factEngine?: "js" | "wasm";
  /** Says nothing by default. */
  readonly logger?: Logger;
}

/** The version that `status` tells. */
const VERSION = "0.1.0";

function checkName(name: string): void {
  if (/^[a-z0-9-]{1,64}$/u.test(name)) return;
  throw new MeshError("INPUT_INVALID", "name has to be 1 to 64 of a-z, 0-9 and -", {
    field: "name",
  });
}

const depsOf = (logger: Logger = silentLogger): NodeDeps => ({
  clock: pageClock,
  random: pageRandom,
  logger,
});

/**
 * The public key of the device that a name is in this browser, 64 hex digits; made when there is none. For a grant that is given before
 * the page is first opened. Throws `INPUT_INVALID`, `STORE_FAILED`.
 */
export async function deviceKey(name: string): Promise<string> {
  checkName(name);
  const database = await openDatabase(name);
  try {
    return toHex(createDeviceSigner(await deviceSeed(database, depsOf())).publicKey);
  } finally {
    database.close();
  }
}

/** Deletes a replica with all that it has written and no hub has, and its device key. Throws `STORE_LOCKED` while it is open, `STORE_FAILED`. */
export async function deleteReplica(name: string): Promise<void> {
  checkName(name);
  const release = await takeName(name);
  try {
    for (const each of [scratchOf(name), name]) await deleteDatabase(each);
  } finally {
    release();
  }
}

/** Asks the browser not to clear the store when it needs room. It may not agree, and workers can't ask; the replica works all the same. */
async function askToPersist(logger: Logger): Promise<void> {
  const { storage } = navigator;
  const persisted = "persist" in storage && (await storage.persist().catch(() => false));
  logger.info("store.persistence", { persisted });
}

const elapsed = (): number => performance.now();

/** What connects, syncs and answers, over an open replica. It ends with the stack. */
async function start(
  replica: Replica,
  store: IndexedStore,
  { urls = [] }: Belonging,
  parts: Pick<Parameters<typeof createPageTransport>[0], "device" | "verifier">,
  deps: NodeDeps,
  stack: AsyncDisposableStack,
): Promise<{
  readonly service: NodeService;
  readonly levels: NodeLevels;
  readonly sync: SyncNode;
}> {
  const membership = new LiveMembership(replica.space, deps.clock);
  const { sync, stop } = startSync(replica, deps, {
    relay: "tell",
    admits: (device) => membership.welcomes(device),
  });
  membership.follow(replica, sync);
  const kept = await keepConfirmations(store, sync.confirmations, deps.logger);
  stack.defer(kept.stop);
  const transport = createPageTransport({
    ...deps,
    ...parts,
    urls,
    space: replica.space.id,
    roleOf: (device) =>
      membership.welcomes(device, "hub")
        ? "hub"
        : membership.welcomes(device, "agent")
          ? "agent"
          : undefined,
  });
  stack.defer(async () => transport.stop());
  stack.defer(stop);
  const service = new NodeService({
    service: "agent",
    version: VERSION,
    replica,
    clock: deps.clock,
    confirmations: sync.confirmations,
    peers: () => sync.peers(),
    links: () => sync.links(),
    addresses: () => [],
  });
  stack.defer(() => {
    service.endWaits();
    service.close();
  });
  const { asker } = sync;
  const freshness = new Freshness({ replica, clock: deps.clock, elapsed, asker });
  stack.defer(() => {
    freshness.stop();
  });
  const levels = new NodeLevels({ ...deps, replica, remotes: { asker, freshness } });
  await transport.start((channel) => {
    void sync.run(channel);
  });
  return { service, levels, sync };
}

/**
 * Opens the replica of a name, and connects it to `urls` for as long as it is open; it needs no connection but for joining. Throws
 * `STORE_LOCKED` while another tab has it open; `INPUT_INVALID` without a space; `STORE_FAILED`, `STORE_CORRUPT` and `STORE_FORMAT` for the
 * browser's store; `CONFIG_INVALID` for a URL, and for a page whose content security policy
 * forbids WebAssembly or `eval`; of an invite `FORMAT_INVALID`, `UNREACHABLE`, `POLICY_REFUSED`, `ABORTED`.
 */
export async function openReplica<Types = Untyped>(
  options: PageReplicaOptions,
): Promise<PageReplica<Types>> {
  await using opening = new AsyncDisposableStack();
  const { name } = options;
  checkName(name);
  const deps = depsOf(options.logger);
  const release = await takeName(name);
  opening.defer(release);
  assertPolicy();
  const database = await openDatabase(name);
  const store = new IndexedStore(database);
  opening.defer(async () => store.close());
  const seed = await deviceSeed(database, deps);
  const device = createDeviceSigner(seed);
  const verifier = createDeviceVerifier();
  const space = await spaceOf(database, options, { name, seed, verifier }, deps);
  const parts = { store, space, signer: device, verifier, rest, wait };
  const { factEngine = "wasm" } = options;
  const replica = await Replica.open({ ...deps, ...parts, factEngine });
  opening.defer(async () => replica.close());
  const { service, levels } = await start(
    replica,
    store,
    options,
    { device, verifier },
    deps,
    opening,
  );
  void askToPersist(deps.logger);
  const running = opening.move();
  // Types are a promise of the space's schemas: at run time all are alike.
  return createPageClient({
    device: replica.device,
    service,
    levels,
    stop: async () => running.disposeAsync(),
  });
}
