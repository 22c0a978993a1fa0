// SPDX-License-Identifier: Apache-2.0
/** What the tests of backups share: making files, sound and crafted ones, and reading them. */
import { createDeviceSigner } from "@ctxmesh/crypto";
import { parseDeviceKey, parseSpaceId, toHex } from "@ctxmesh/model";
import type { Store } from "@ctxmesh/model";
import { createMemoryStore } from "@ctxmesh/testing";
import { FRAME_HEAD_BYTES, KIND, sealFrame, sha256, startFrame } from "../src/backup-format.ts";
import type { BackupRecord } from "../src/backup-format.ts";
import { backUp, readBackup } from "../src/index.ts";
import type { BackupHead, BackupSummary } from "../src/index.ts";

export const HEAD: BackupHead = {
  space: parseSpaceId("5a".repeat(32)),
  device: parseDeviceKey(toHex(createDeviceSigner(new Uint8Array(32).fill(1)).publicKey)),
  service: "agent",
  takenAt: Date.UTC(2026, 0, 1),
};

/** A store with these records. */
export async function storeOf(records: readonly BackupRecord[]): Promise<Store> {
  const store = createMemoryStore();
  await store.write(records.map(([key, value]) => ({ key, value })));
  return store;
}

export async function bytesOf(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk.slice());
  return Buffer.concat(all);
}

/** The file of a backup of these records. */
export const fileOf = async (records: readonly BackupRecord[]): Promise<Buffer> =>
  bytesOf(backUp(await storeOf(records), HEAD));

/** A file in chunks of `size` bytes. */
export async function* inChunks(file: Uint8Array, size = 65_536): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < file.length; at += size) {
    yield await Promise.resolve(file.subarray(at, at + size));
  }
}

/** Every record of a file, and what else it says of itself. */
export async function read(
  file: Uint8Array,
  chunkSize?: number,
): Promise<BackupSummary & { readonly found: readonly BackupRecord[] }> {
  const found: BackupRecord[] = [];
  const summary = await readBackup(inChunks(file, chunkSize), (records) => {
    for (const [key, value] of records) found.push([key.slice(), value.slice()]);
  });
  return { ...summary, found };
}

/** A frame with the hash that it should have, whatever its payload says. */
export function frame(kind: keyof typeof KIND, payload: Uint8Array): Buffer {
  const bytes = startFrame(KIND[kind], payload.length);
  bytes.set(payload, FRAME_HEAD_BYTES);
  sealFrame(bytes);
  return bytes;
}

/** A file of these frames with the trailer that goes with them. */
export function craft(head: Uint8Array, parts: readonly Uint8Array[], records: number): Buffer {
  const before = Buffer.concat([Buffer.from("ctxmesh-backup\n\u0001"), head, ...parts]);
  const counts = Buffer.alloc(12);
  counts.writeUInt32BE(parts.length, 0);
  counts.writeBigUInt64BE(BigInt(records), 4);
  const hashes = [head, ...parts].map((bytes) => bytes.subarray(-32));
  return Buffer.concat([
    before,
    frame("trailer", Buffer.concat([counts, ...hashes, sha256(before)])),
  ]);
}

const u16 = (n: number): Buffer => Buffer.from([n >> 8, n & 255]);
const u32 = (n: number): Buffer => Buffer.concat([u16(n >>> 16), u16(n & 65_535)]);

/** The payload of a part, with a count of our own choice. */
export function partOf(records: readonly BackupRecord[], count: number = records.length): Buffer {
  return Buffer.concat([
    u32(count),
    ...records.flatMap(([key, value]) => [u16(key.length), key, u32(value.length), value]),
  ]);
}
