// SPDX-License-Identifier: Apache-2.0
/**
 * What can be saved of a damaged store. Its records are read one by one, those that still verify; they go
 * into a new store: keys and records as they are, batches through the checks that every foreign batch goes
 * through. The heads that the old store had recorded are kept as what is expected: until the mesh has brought
 * every chain that far, the replica is degraded.
 */
import { toHex, toMeshError } from "@ctxmesh/model";
import type { Logger, ReceiveOutcome, Store, StoreChange, Vault } from "@ctxmesh/model";
import {
  expectedChange,
  isBatchKey,
  isExpectedKey,
  isHeadKey,
  isKeptAsIs,
  readU64,
} from "./layout.ts";
import { decodeStored } from "./stored-batch.ts";

/** What was saved. */
export interface SalvageReport {
  /** Records taken over as they were. */
  readonly records: number;
  /** Batches that were accepted again. */
  readonly batches: number;
  /** Batches that were readable and not accepted, for whatever reason. */
  readonly rejected: number;
}

type Entries = AsyncIterable<readonly [key: Uint8Array, value: Uint8Array]>;

const GROUP = 256;

/**
 * First half: everything but the batches, into a new store that no replica has opened yet. Call it before the
 * vault and the replica of the new store are opened.
 */
export async function salvageRecords(damaged: Entries, store: Store): Promise<number> {
  let records = 0;
  let changes: StoreChange[] = [];
  // A store that was damaged before may still expect more than it had.
  const expected = new Map<string, StoreChange & { readonly value: Uint8Array }>();
  const expect = (key: Uint8Array, value: Uint8Array): void => {
    const change = { ...expectedChange(key, value), value };
    const chain = toHex(change.key);
    const known = expected.get(chain);
    if (known === undefined || readU64(known.value, 0) < readU64(value, 0)) {
      expected.set(chain, change);
    }
  };
  const flush = async (): Promise<void> => {
    if (changes.length > 0) await store.write(changes);
    changes = [];
  };
  for await (const [key, value] of damaged) {
    if (isHeadKey(key) || isExpectedKey(key)) expect(key, value);
    else if (isKeptAsIs(key)) changes.push({ key, value });
    else continue;
    records++;
    if (changes.length >= GROUP) await flush();
  }
  changes.push(...expected.values());
  await flush();
  return records;
}

/** Second half: the batches, through `receive` of the replica that was opened on the new store. */
export async function salvageBatches(
  damaged: Entries,
  vault: Vault | undefined,
  receive: (batch: Uint8Array) => Promise<ReceiveOutcome>,
  logger: Logger,
): Promise<Pick<SalvageReport, "batches" | "rejected">> {
  let batches = 0;
  let rejected = 0;
  for await (const [key, value] of damaged) {
    if (!isBatchKey(key)) continue;
    try {
      const { bytes } = decodeStored(value, vault);
      const { kind } = await receive(bytes);
      if (kind === "accepted") batches++;
      else rejected++;
    } catch (error) {
      rejected++;
      logger.warn("salvage.batch-unreadable", { error: toMeshError(error).message });
    }
  }
  return { batches, rejected };
}
