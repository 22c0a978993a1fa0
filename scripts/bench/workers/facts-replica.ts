// SPDX-License-Identifier: Apache-2.0
/** Reads as an application makes them: of a replica, which resolves what its documents hold. */
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import { parseDocumentName } from "@ctxmesh/model";
import type { DocumentName, FactInput } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import type { Space } from "@ctxmesh/membership";
import { systemClock, systemRandom } from "@ctxmesh/service";
import { createMemoryStore, silentLogger } from "@ctxmesh/testing";
import type { Row } from "../facts-trace.ts";
import { foundSpace } from "../space.ts";

/** Facts of one write. */
const WRITE = 500;
/** The rows are spread over documents by the last digit of their keys, as one holds no more than `LIMITS.documentBytes`. */
const DOCS: readonly DocumentName[] = Array.from({ length: 10 }, (_, i) =>
  parseDocumentName(`bench/facts-${String(i)}`),
);
const DIGIT_0 = 48;

const docOf = (key: string): DocumentName | undefined =>
  DOCS[key.charCodeAt(key.length - 1) - DIGIT_0];

const open = (space: Space, seed: Uint8Array): Promise<Replica> =>
  Replica.open({
    store: createMemoryStore(),
    space,
    signer: createDeviceSigner(seed),
    verifier: createDeviceVerifier(),
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
  });

async function write(replica: Replica, facts: readonly FactInput[]): Promise<void> {
  for (const [doc, ofDoc] of Map.groupBy(facts, ({ key }) => docOf(key))) {
    if (doc === undefined) throw new Error("a key does not end in a digit");
    for (let at = 0; at < ofDoc.length; at += WRITE) {
      await replica.put(doc, ofDoc.slice(at, at + WRITE));
    }
  }
}

/**
 * A replica with rows, and what reads a key of it. With `contested` another device has written each key
 * since and is less sure: its value shows, and the one before is not dominated.
 */
export async function replicaReader(
  rows: readonly Row[],
  contested: boolean,
): Promise<(key: string) => unknown> {
  const { space, seeds } = foundSpace(2);
  const [first = new Uint8Array(), second = new Uint8Array()] = seeds;
  const replica = await open(space, first);
  await write(replica, rows);
  if (contested) {
    const other = await open(space, second);
    const batches: Uint8Array[] = [];
    other.onApplied(({ bytes }) => {
      batches.push(bytes);
    });
    await write(
      other,
      rows.map(({ key }, i) => ({ key, value: i, confidence: 0.5 })),
    );
    for (const batch of batches) await replica.receive(batch);
    await other.close();
    const [{ key } = { key: "" }] = rows;
    const doc = docOf(key);
    if (doc === undefined || replica.get(doc, key)?.contested !== true) {
      throw new Error("the keys are not contested");
    }
  }
  return (key) => {
    const doc = docOf(key);
    return doc === undefined ? undefined : replica.get(doc, key);
  };
}
