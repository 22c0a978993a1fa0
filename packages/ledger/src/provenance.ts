// SPDX-License-Identifier: Apache-2.0
/** Facts of a snapshot derived again from the batches that their devices signed, when a bundle has them. */
import { canonicalJson, decodeBatch, decodeBody, headerSigningInput } from "@ctxmesh/codec";
import type { Batch, Section } from "@ctxmesh/codec";
import { createDeviceVerifier, sha256 } from "@ctxmesh/crypto";
import { decodeFrame } from "@ctxmesh/facts";
import type { FactRecord } from "@ctxmesh/facts";
import { MeshError, fromHex, toHex } from "@ctxmesh/model";
import type { DeviceKey, JsonValue, SignatureVerifier } from "@ctxmesh/model";
import { factLeaf } from "./decision.ts";
import { equalBytes } from "./merkle.ts";
import { leafMembers, snapshotRoot, textMember } from "./snapshot.ts";
import type { SnapshotLeaf } from "./snapshot.ts";
import type { FrontierHead, SnapshotStatement } from "./statement.ts";

/** What one device said of a snapshot. */
export interface ReplicaShare {
  readonly replica: DeviceKey;
  readonly batches: number;
  /** Leaves that were derived from its batches. */
  readonly facts: number;
}

/** What the batches of a bundle show. */
export interface Provenance {
  /** Sorted by replica. */
  readonly replicas: readonly ReplicaShare[];
  /** Leaves that were derived again, byte for byte. */
  readonly derived: number;
  /** Leaves whose batches are not in the bundle, or not readable. */
  readonly uncovered: number;
  /** Roots of rich content, which are not derived here. */
  readonly rich: number;
  /** For each leaf the id of the batch that states it, in the order of the leaves. */
  readonly sources: readonly (string | undefined)[];
}

interface Stated {
  readonly record: FactRecord;
  readonly batch: string;
}

/** The statements in batches by where they stand. */
interface Statements {
  readonly records: Map<string, Stated>;
  /** Chains of which everything is here, down to the first batch, readable. */
  readonly whole: Set<string>;
}

const refuse = (message: string): never => {
  throw new MeshError("PROOF_INVALID", message);
};

const chainOf = ({ replica, incarnation }: Pick<FrontierHead, "replica" | "incarnation">): string =>
  replica + incarnation;

const placeOf = (doc: string, chain: string, seq: number): string =>
  `${doc}\n${chain}\n${String(seq)}`;

/** The batches by id, each signed by its device and of the sealed space. */
function signedBatches(
  batches: readonly Uint8Array[],
  { space }: SnapshotStatement,
  device: SignatureVerifier,
): Map<string, Batch> {
  const byId = new Map<string, Batch>();
  for (const bytes of batches) {
    const batch = decodeBatch(bytes);
    const { header, headerBytes, signature } = batch;
    const id = toHex(sha256(headerBytes));
    if (header.space !== space) refuse(`batch ${id} is of another space`);
    if (byId.has(id)) refuse(`batch ${id} is in the bundle twice`);
    if (!device.verify(fromHex(header.replica), headerSigningInput(headerBytes), signature)) {
      const message = `batch ${id} is not signed by replica ${header.replica}`;
      throw new MeshError("SIGNATURE_INVALID", message);
    }
    byId.set(id, batch);
  }
  return byId;
}

/** Reads the facts of a section; false when the bundle has not what it takes. */
function readSection(
  section: Section,
  body: Uint8Array | null,
  chain: string,
  batch: string,
  records: Map<string, Stated>,
): boolean {
  if (section.kind !== "facts") return true;
  if (body === null || section.keyId !== null) return false;
  if (!equalBytes(sha256(body), section.bodyHash) || body.length !== section.bodyLen) {
    refuse(`a body of batch ${batch} is not the one that was signed`);
  }
  const frame = decodeFrame(decodeBody(body));
  if (frame.from !== section.from || frame.to !== section.to) {
    refuse(`a body of batch ${batch} does not cover what its header says`);
  }
  for (const record of frame.records) {
    records.set(placeOf(section.doc, chain, record.seq), { record, batch });
  }
  return true;
}

/** Walks each sealed chain from its head back as far as batches are here. Batches outside these walks are refused. */
function statementsOf(
  byId: ReadonlyMap<string, Batch>,
  frontier: readonly FrontierHead[],
): Statements {
  const found: Statements = { records: new Map(), whole: new Set() };
  let walked = 0;
  for (const head of frontier) {
    const chain = chainOf(head);
    let isWhole = true;
    let id: string | null = head.hash;
    let batch = byId.get(head.hash);
    while (id !== null && batch !== undefined) {
      walked++;
      for (const [i, section] of batch.header.sections.entries()) {
        const read = readSection(section, batch.bodies[i] ?? null, chain, id, found.records);
        isWhole &&= read;
      }
      id = batch.header.prev;
      batch = id === null ? undefined : byId.get(id);
    }
    if (id === null && isWhole) found.whole.add(chain);
  }
  if (walked !== byId.size) {
    refuse(`${String(byId.size - walked)} batches of the bundle are of no sealed chain`);
  }
  return found;
}

/** The leaf that a record makes. */
function leafOf(
  doc: string,
  members: Readonly<Record<string, JsonValue>>,
  record: FactRecord,
): string {
  const { key, seq, hlc, valueJson, retract } = record;
  const [writer, incarnation] = [members["writer"] as never, members["incarnation"] as never];
  if (retract !== undefined) {
    return canonicalJson({ doc, key, writer, incarnation, seq, hlc, retracts: { ...retract } });
  }
  const { confidence, source, ttlMs, tags, basis, correlation, traceparent, targets } = record;
  return factLeaf(doc, key, {
    writer,
    incarnation,
    seq,
    hlc,
    deleted: valueJson === undefined,
    ...(valueJson === undefined ? {} : { value: JSON.parse(valueJson) as JsonValue }),
    ...(confidence === undefined ? {} : { confidence }),
    ...(source === undefined ? {} : { source }),
    ...(ttlMs === undefined ? {} : { ttlMs }),
    ...(tags === undefined ? {} : { tags }),
    ...(basis === undefined ? {} : { basis }),
    ...(correlation === undefined ? {} : { correlation }),
    ...(traceparent === undefined ? {} : { traceparent }),
    ...(targets === undefined ? {} : { targets }),
  });
}

/**
 * Derives each fact leaf again from the batch in which its device signed it, and the snapshot's root from what
 * was derived. Throws `SIGNATURE_INVALID` for a batch that is not signed, `PROOF_INVALID` for one of no sealed
 * chain, for a leaf that says something else than its device, and for one that a chain which is wholly there does not have.
 */
export function deriveLeaves(
  leaves: readonly SnapshotLeaf[],
  batches: readonly Uint8Array[],
  statement: SnapshotStatement,
): Provenance {
  const byId = signedBatches(batches, statement, createDeviceVerifier());
  const { records, whole } = statementsOf(byId, statement.frontier);
  const [facts, sources]: [Map<string, number>, (string | undefined)[]] = [new Map(), []];
  let [rich, uncovered] = [0, 0];
  const derived = leaves.map(({ salt, leaf }, i): SnapshotLeaf => {
    const members = leafMembers(leaf);
    const [doc, writer, incarnation] = [
      textMember(members, "doc"),
      textMember(members, "writer"),
      textMember(members, "incarnation"),
    ];
    sources.push(undefined);
    if ("root" in members) {
      rich++;
      return { salt, leaf };
    }
    const chain = writer + incarnation;
    const stated = records.get(placeOf(doc, chain, Number(members["seq"])));
    if (stated === undefined) {
      if (whole.has(chain)) refuse(`leaf ${String(i)} is in no batch of replica ${writer}`);
      uncovered++;
      return { salt, leaf };
    }
    const again = leafOf(doc, members, stated.record);
    if (again !== leaf) refuse(`leaf ${String(i)} is not what replica ${writer} signed`);
    sources[i] = stated.batch;
    facts.set(writer, (facts.get(writer) ?? 0) + 1);
    return { salt, leaf: again };
  });
  if (toHex(snapshotRoot(derived)) !== statement.root) {
    refuse("the facts derived from the batches do not hash to the sealed root");
  }
  const counts = new Map<DeviceKey, number>();
  for (const { header } of byId.values()) {
    counts.set(header.replica, (counts.get(header.replica) ?? 0) + 1);
  }
  const replicas = [...counts].toSorted(([a], [b]) => (a < b ? -1 : 1));
  return {
    replicas: replicas.map(([replica, count]) => ({
      replica,
      batches: count,
      facts: facts.get(replica) ?? 0,
    })),
    derived: leaves.length - rich - uncovered,
    uncovered,
    rich,
    sources,
  };
}
