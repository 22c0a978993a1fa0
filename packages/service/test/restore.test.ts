// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a restored store is the one that was backed up, whole or not at all, and its node starts a chain of its own.
 * Method: real stores and files; replicas over them that sync through channels.
 */
import { writeFileSync } from "node:fs";
import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import { createSpace, issueGrant } from "@ctxmesh/membership";
import { parseDeviceKey, parseDocumentName, toHex } from "@ctxmesh/model";
import type { DeviceKey, Store } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import { backUp, restoreBackup, startSync, systemClock, systemRandom } from "@ctxmesh/service";
import { openLevelStore } from "@ctxmesh/store-level";
import { createChannelPair, silentLogger, tempDir, waitFor } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PART_BYTES } from "../src/backup-format.ts";
import type { BackupRecord } from "../src/backup-format.ts";
import { HEAD, bytesOf, fileOf } from "./backup-kit.ts";

const RECORDS: readonly BackupRecord[] = [
  [Uint8Array.of(1, 1), Uint8Array.of(1)],
  [Uint8Array.of(2), systemRandom.bytes(PART_BYTES)],
  [Uint8Array.of(0x30, 7), systemRandom.bytes(9)],
  [Uint8Array.of(0xfe), Uint8Array.of()],
];
const EVERYTHING = { gte: Uint8Array.of(1), lt: new Uint8Array(64).fill(0xff) };

let dir: TempDir;
let file: string;

const at = (name: string): string => join(dir.path, name);

beforeEach(async () => {
  dir = await tempDir();
  file = at("a.backup");
  await writeFile(file, await fileOf(RECORDS));
});

afterEach(() => dir.remove());

async function contentOf(path: string): Promise<readonly BackupRecord[]> {
  const store = await openLevelStore({ path });
  const records: BackupRecord[] = [];
  for await (const [key, value] of store.scan(EVERYTHING)) records.push([key, value.slice()]);
  await store.close();
  return records;
}

describe("a restore", () => {
  test.each(["absent", "empty"])("makes the store in a folder that is %s", async (folder) => {
    if (folder === "empty") await mkdir(at("store"));
    const steps: string[] = [];
    const summary = await restoreBackup({
      file,
      path: at("store"),
      onProgress: ({ step, records }) => steps.push(`${step} ${String(records)}`),
    });
    expect(summary).toMatchObject({ ...HEAD, records: RECORDS.length, parts: 3 });
    expect(steps).toEqual(
      ["verifying", "writing"].flatMap((step) => [1, 2, 4].map((n) => `${step} ${String(n)}`)),
    );
    expect(await contentOf(at("store"))).toEqual(RECORDS);
    expect((await readdir(dir.path)).toSorted()).toEqual(["a.backup", "store"]);
  });

  test("of a store without any record makes one", async () => {
    await writeFile(file, await fileOf([]));
    await restoreBackup({ file, path: at("store") });
    expect(await contentOf(at("store"))).toEqual([]);
  });

  test.each([
    ["in its first part", 300],
    ["in its last part", -200],
    ["in its trailer", -1],
  ])("of a file that is wrong %s leaves nothing behind", async (_, offset) => {
    const bytes = await readFile(file);
    const place = offset < 0 ? bytes.length + offset : offset;
    bytes[place] = (bytes[place] ?? 0) ^ 1;
    await writeFile(file, bytes);
    await expect(restoreBackup({ file, path: at("store") })).rejects.toMatchObject({
      code: "STORE_CORRUPT",
      message: expect.stringMatching(/a\.backup: (?:part \d|the trailer) /u) as string,
      remedy: expect.any(String) as string,
    });
    expect(await readdir(dir.path)).toEqual(["a.backup"]);
  });

  test("never goes over a store, not even another restore's", async () => {
    await restoreBackup({ file, path: at("store") });
    const occupied = { code: "FILE_UNAVAILABLE", message: `${at("store")} is not empty` };
    await expect(restoreBackup({ file, path: at("store") })).rejects.toMatchObject(occupied);
    await mkdir(at("other.restoring"));
    await expect(restoreBackup({ file, path: at("other") })).rejects.toMatchObject({
      code: "FILE_UNAVAILABLE",
      message: `${at("other.restoring")} is in the way`,
    });
    expect(await readdir(at("other.restoring"))).toEqual([]);
  });

  test("that finds a store in place at its end leaves that one alone", async () => {
    const path = at("store");
    const restoring = restoreBackup({
      file,
      path,
      onProgress: ({ step, records }) => {
        if (step === "writing" && records === 4) pending = mkdir(path).then(fill);
      },
    });
    let pending: Promise<void> | undefined;
    const fill = (): Promise<void> => writeFile(join(path, "mine"), "");
    await expect(restoring).rejects.toMatchObject({ code: "FILE_UNAVAILABLE" });
    await pending;
    expect((await readdir(dir.path)).toSorted()).toEqual(["a.backup", "store"]);
    expect(await readdir(path)).toEqual(["mine"]);
  });

  test("of a file that becomes another backup while it is read leaves nothing behind", async () => {
    const [first, second] = await Promise.all(
      [1, 2].map(async (n) => fileOf([[Uint8Array.of(1), Uint8Array.of(n)]])),
    );
    await writeFile(file, first ?? "");
    const restoring = restoreBackup({
      file,
      path: at("store"),
      onProgress: ({ step }) => {
        if (step === "verifying") writeFileSync(file, second ?? "");
      },
    });
    await expect(restoring).rejects.toMatchObject({
      code: "STORE_CORRUPT",
      message: `${file} changed while it was read`,
    });
    expect(await readdir(dir.path)).toEqual(["a.backup"]);
  });

  test.each([
    ["a file that is missing", "none.backup", "store", /can't read the backup .*: ENOENT/u],
    ["a folder for a file", ".", "store", /can't read the backup .*: EISDIR/u],
    ["a file for a folder", "a.backup", "a.backup", /can't restore into .*: ENOTDIR/u],
    ["a parent that is missing", "a.backup", "none/store", /can't make .*: ENOENT/u],
  ])("with %s says so", async (_, from, to, message) => {
    await expect(restoreBackup({ file: at(from), path: at(to) })).rejects.toMatchObject({
      code: "FILE_UNAVAILABLE",
      message: expect.stringMatching(message) as string,
    });
    expect(await readdir(dir.path)).toEqual(["a.backup"]);
  });
});

describe("a restored node", () => {
  const [owner, other] = [1, 2].map((n) => createDeviceSigner(new Uint8Array(32).fill(n))) as [
    ReturnType<typeof createDeviceSigner>,
    ReturnType<typeof createDeviceSigner>,
  ];
  const keyOf = (signer: typeof owner): DeviceKey => parseDeviceKey(toHex(signer.publicKey));
  const now = systemClock.now();
  const deps = { clock: systemClock, random: systemRandom, logger: silentLogger };
  const doc = parseDocumentName("d");
  const space = [owner, other].reduce(
    (grown, signer) =>
      issueGrant(grown, owner, {
        device: keyOf(signer),
        service: "agent",
        role: "write",
        notBefore: now - 1_000,
      }),
    createSpace({ name: "plant", creator: owner, now: now - 1_000, random: systemRandom }),
  );
  let stack: AsyncDisposableStack;

  beforeEach(() => {
    stack = new AsyncDisposableStack();
  });

  afterEach(() => stack.disposeAsync());

  async function openNode(name: string, signer: typeof owner): Promise<Node> {
    const store = await openLevelStore({ path: at(name) });
    stack.defer(async () => store.close());
    const verifier = createDeviceVerifier();
    const replica = await Replica.open({ ...deps, store, space, signer, verifier });
    stack.defer(async () => replica.close());
    const { sync, stop } = startSync(replica, deps, { relay: "push", admits: () => true });
    stack.defer(stop);
    return { store, replica, sync };
  }

  interface Node {
    readonly store: Store;
    readonly replica: Replica;
    readonly sync: ReturnType<typeof startSync>["sync"];
  }

  function connect(a: Node, b: Node): void {
    // All of them push on, as hubs do.
    const remote = { address: "memory", role: "hub" } as const;
    const pair = createChannelPair({
      a: { ...remote, device: b.replica.device, direction: "inbound" },
      b: { ...remote, device: a.replica.device, direction: "outbound" },
    });
    void a.sync.run(pair.a);
    void b.sync.run(pair.b);
  }

  test("and the one it was made of write on side by side: no fork, and nothing acknowledged is lost", async () => {
    const original = await openNode("original", owner);
    const keys: string[] = [];
    const write = async (node: Node, name: string): Promise<void> => {
      for (let i = 0; i < 20; i++) {
        keys.push(`${name}/${String(i)}`);
        await node.replica.put(doc, [{ key: `${name}/${String(i)}`, value: i }]);
      }
    };
    await write(original, "before");
    const chunks = backUp(original.store, { ...HEAD, space: space.id, device: keyOf(owner) });
    const first = (await chunks.next()).value ?? new Uint8Array();
    await write(original, "meanwhile");
    await writeFile(file, Buffer.concat([first, await bytesOf(chunks)]));
    await restoreBackup({ file, path: at("restored") });
    const restored = await openNode("restored", owner);
    expect(restored.replica.incarnation).not.toBe(original.replica.incarnation);
    expect(restored.replica.list({ limit: 1_000 }).map(({ key }) => key)).toEqual(
      keys.filter((key) => key.startsWith("before/")).toSorted(),
    );
    // Before either hears of the other: this is where a continued chain would fork.
    await Promise.all([write(original, "original"), write(restored, "restored")]);
    const peer = await openNode("peer", other);
    connect(original, peer);
    connect(restored, peer);
    const nodes = [original, restored, peer];
    const digests = (): readonly string[] =>
      nodes.map(({ replica }) => toHex(replica.frontierDigest()));
    await waitFor(
      () => new Set(digests()).size === 1 && peer.replica.count().facts === keys.length,
      { timeoutMs: 20_000, what: "all three to have everything" },
    );
    for (const { replica } of nodes) {
      expect(replica.list({ limit: 1_000 }).map(({ key }) => key)).toEqual(keys.toSorted());
      expect(replica.snapshot().leaves).toEqual(peer.replica.snapshot().leaves);
      expect(replica.evidence()).toEqual([]);
      expect(replica.chains().filter((chain) => chain.void > 0)).toEqual([]);
    }
    expect(new Set(peer.replica.chains().map(({ incarnation }) => incarnation)).size).toBe(2);
  });
});
