// SPDX-License-Identifier: Apache-2.0
/** What hubs have sealed, read from the tables of the engine itself: no hub is asked. */
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  envelopeHash,
  envelopeStatement,
  leafHash,
  merkleRoot,
  parseBundle,
  parseCheckpoint,
  parseTrustRoot,
  snapshotEntry,
  verifyBundle,
} from "@ctxmesh/ledger";
import type { SealReceipt } from "@ctxmesh/model";
import type { PostgresServer } from "../../packages/engine-postgres/test/server.ts";
import { run } from "../e2e/processes.ts";

/** What an audit found. */
export interface SealAudit {
  /** Seals in the engine. */
  readonly seals: number;
  /** Of those, how many `ctxmesh verify` found valid, as a program without a network. */
  readonly verified: number;
  /** Seals that a hub said it had made, and that are not in the engine; a second seal of one number is always among them. */
  readonly doubled: number;
  /** Whatever else is wrong, in words. */
  readonly faults: readonly string[];
}

const BUNDLE_TAG = 0x21;

/** The bundles by their sequences, put together of their parts. */
async function bundlesIn(server: PostgresServer): Promise<ReadonlyMap<number, Uint8Array>> {
  const rows = (await server.sql(
    `SELECT key, value FROM ctxmesh_shared WHERE get_byte(key, 0) = ${String(BUNDLE_TAG)} ORDER BY key`,
  )) as { key: Buffer; value: Buffer }[];
  const bundles = new Map<number, Buffer>();
  for (const { key, value } of rows) {
    const sequence = Number(key.readBigUInt64BE(1));
    bundles.set(sequence, Buffer.concat([bundles.get(sequence) ?? Buffer.alloc(0), value]));
  }
  return bundles;
}

/** Each seal verifies, names the one before, and is in a log that only ever grew: every checkpoint is of the entries so far. */
function checkChain(bundles: ReadonlyMap<number, Uint8Array>, rootFile: string): string[] {
  const trusted = parseTrustRoot(rootFile);
  const faults: string[] = [];
  const leaves: Uint8Array[] = [];
  let previous: string | null = null;
  for (let sequence = 1; sequence <= bundles.size; sequence++) {
    const name = `seal ${String(sequence)}`;
    const bytes = bundles.get(sequence);
    if (bytes === undefined) return [...faults, `${name} is not there`];
    const { valid, failed } = verifyBundle(bytes, trusted, { now: Date.now() });
    if (!valid) faults.push(`${name} does not verify: ${failed?.message ?? ""}`);
    const { envelope, proof } = parseBundle(bytes);
    const statement = envelopeStatement(envelope);
    if (statement.sequence !== sequence || statement.previous !== previous)
      faults.push(`${name} does not follow the one before`);
    previous = envelopeHash(envelope);
    leaves.push(leafHash(snapshotEntry(envelope)));
    const checkpoint = parseCheckpoint(proof.slice(proof.indexOf("\n\n") + 2));
    const isSame = Buffer.compare(checkpoint.root, merkleRoot(leaves)) === 0;
    if (checkpoint.size !== sequence || !isSame) faults.push(`${name} is in another log`);
  }
  return faults;
}

/** Audits the seals: all of them here, and those of `samples` with the command as well. `receipts` are what hubs said that they had made. */
export async function auditSeals(
  dir: string,
  server: PostgresServer,
  receipts: readonly SealReceipt[],
  samples: readonly number[],
): Promise<SealAudit> {
  const bundles = await bundlesIn(server);
  const faults = checkChain(bundles, await readFile(join(dir, "root.json"), "utf8"));
  const made = new Map<number, string>();
  for (const [sequence, bytes] of bundles) {
    made.set(sequence, envelopeStatement(parseBundle(bytes).envelope).root);
  }
  const doubled = receipts.filter(({ sequence, root }) => made.get(sequence) !== root).length;
  let verified = 0;
  for (const sequence of samples) {
    const file = `seal-${String(sequence)}.json`;
    await writeFile(join(dir, file), bundles.get(sequence) ?? "");
    const { exit, stdout } = await run(dir, "verify", file, "--root", "root.json");
    if (exit === 0) verified++;
    else faults.push(`ctxmesh verify of seal ${String(sequence)}: ${stdout}`);
    await rm(join(dir, file));
  }
  return { seals: bundles.size, verified, doubled, faults };
}
