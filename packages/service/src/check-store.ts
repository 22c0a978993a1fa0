// SPDX-License-Identifier: Apache-2.0
/**
 * Looking through a store that no process has open, without changing it. LevelDB can't open a database for
 * reading alone: it merges its log into tables and writes a new MANIFEST. So it opens a second folder beside
 * the store, where the tables are hard links, since LevelDB never writes to one again, and all else is a copy.
 */
import { constants, copyFile, link, mkdir, readdir, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import { MeshError, toHex, toMeshError } from "@ctxmesh/model";
import type { MembershipReport } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import { openLevelStore } from "@ctxmesh/store-level";
import { createPlainVault, openVault } from "@ctxmesh/vault";
import type { KeyProvider } from "@ctxmesh/vault";
import { reportChains, reportMembership } from "./membership-report.ts";
import type { NodeDeps } from "./start-sync.ts";
import type { StoreOptions } from "./open-replica.ts";

/** What a store without damage holds. */
export interface StoreReport {
  /** Records, each of which matches its hash. */
  readonly records: number;
  /** Chains, and batches that count in them. */
  readonly chains: number;
  readonly batches: number;
  readonly facts: number;
  /** Batches that a damaged store had and that have not come back yet. */
  readonly missing: number;
  /** Time of the newest batch that counts, Unix milliseconds. */
  readonly newestMs?: number;
  /** Time of the newest file, Unix milliseconds. */
  readonly filesMs: number;
  readonly membership: MembershipReport;
}

const EVERYTHING = { gte: Uint8Array.of(1), lt: new Uint8Array(64).fill(0xff) };
/** LevelDB's own, which say nothing of the content. */
const ASIDE = new Set(["LOCK", "LOG", "LOG.old"]);

/**
 * Opens the store as a node does, walks every chain and reads every record. Throws what opening it throws, and
 * `STORE_LOCKED` when its files change meanwhile. Needs a few megabytes of disk beside the store, and leaves nothing there.
 */
export async function checkStore(options: StoreOptions, deps: NodeDeps): Promise<StoreReport> {
  const path = resolve(options.storePath);
  const shadow = await makeShadow(path);
  try {
    const before = await filesIn(path);
    await shadowFiles(path, shadow);
    await refuseChanged(path, before);
    const found = await walk({ ...options, storePath: shadow }, deps);
    return { ...found, filesMs: Math.max(...before.map(({ changedMs }) => changedMs)) };
  } catch (error) {
    const { code, message, remedy } = toMeshError(error);
    throw new MeshError(code, message.replaceAll(shadow, path), {
      ...(remedy === undefined ? {} : { remedy }),
      cause: error,
    });
  } finally {
    await rm(shadow, { recursive: true, force: true });
  }
}

/** A new folder beside the store; those that killed processes left are removed. */
async function makeShadow(path: string): Promise<string> {
  const prefix = `.${basename(path)}.check-`;
  for (const name of await readdir(dirname(path))) {
    const pid = name.startsWith(prefix) ? Number(name.slice(prefix.length)) : Number.NaN;
    if (Number.isSafeInteger(pid) && !isRunning(pid)) {
      await rm(join(dirname(path), name), { recursive: true, force: true });
    }
  }
  const shadow = join(dirname(path), `${prefix}${String(process.pid)}`);
  await mkdir(shadow, { mode: 0o700 });
  return shadow;
}

function isRunning(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return !(error instanceof Error && "code" in error && error.code === "ESRCH");
  }
}

async function filesIn(
  path: string,
): Promise<
  readonly { readonly name: string; readonly size: number; readonly changedMs: number }[]
> {
  const names = (await readdir(path)).filter((name) => !ASIDE.has(name));
  return Promise.all(
    names.toSorted().map(async (name) => {
      const { size, mtimeMs } = await stat(join(path, name));
      return { name, size, changedMs: mtimeMs };
    }),
  );
}

async function shadowFiles(path: string, shadow: string): Promise<void> {
  for (const { name } of await filesIn(path)) {
    const [from, to] = [join(path, name), join(shadow, name)];
    const isLinked = name.endsWith(".ldb") && (await link(from, to).then(yes, no));
    if (!isLinked) await copyFile(from, to, constants.COPYFILE_FICLONE);
  }
}

const yes = (): boolean => true;
const no = (): boolean => false;

async function refuseChanged(
  path: string,
  before: Awaited<ReturnType<typeof filesIn>>,
): Promise<void> {
  const after = await filesIn(path);
  if (JSON.stringify(after) === JSON.stringify(before)) return;
  throw new MeshError("STORE_LOCKED", `something writes to the store ${path}`, {
    remedy: "stop the daemon that has it open, and check again",
  });
}

/** Makes no key where the store has none yet: the second folder gets one that protects nothing. */
function readOnly(provider: KeyProvider): KeyProvider {
  let made: Uint8Array = new Uint8Array();
  return {
    id: provider.id,
    wrap: async (key) => Promise.resolve((made = key.slice())),
    unwrap: async (wrapped) =>
      Buffer.compare(wrapped, made) === 0 ? made.slice() : provider.unwrap(wrapped),
  };
}

async function walk(
  { storePath: path, deviceSeed, space, keyProvider: provider }: StoreOptions,
  deps: NodeDeps,
): Promise<Omit<StoreReport, "filesMs">> {
  await using stack = new AsyncDisposableStack();
  const store = await openLevelStore({ path, logger: deps.logger });
  stack.defer(async () => store.close());
  const vault =
    provider === undefined
      ? createPlainVault()
      : await openVault({ ...deps, store, provider: readOnly(provider) });
  const [signer, verifier] = [createDeviceSigner(deviceSeed), createDeviceVerifier()];
  const replica = await Replica.open({ ...deps, store, vault, space, signer, verifier });
  stack.defer(async () => replica.close());
  await replica.verify();
  let records = 0;
  for await (const _ of store.scan(EVERYTHING)) records++;
  const chains = reportChains(replica.chains(), replica.heads());
  const times = chains.flatMap(({ lastMs }) => (lastMs === undefined ? [] : [lastMs]));
  const digest = toHex(replica.recordsDigest());
  return {
    records,
    chains: chains.length,
    batches: chains.reduce((sum, { seq }) => sum + seq, 0),
    missing: replica
      .degraded()
      .reduce((sum, chain) => sum + (chain.kind === "behind" ? chain.expected - chain.seq : 0), 0),
    facts: replica.count().facts,
    ...(times.length === 0 ? {} : { newestMs: Math.max(...times) }),
    membership: reportMembership(replica.space, { digest, chains }, deps.clock.now()),
  };
}
