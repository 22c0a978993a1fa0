// SPDX-License-Identifier: Apache-2.0
/**
 * Writes that are made only if a key's version still is the one that is expected. A proposal of another device reaches the hub that decides it as a
 * frame of one record (see `frame.ts` of `@ctxmesh/facts`): from 0, to 1, seq 1, clock 1, and a value.
 */
import { decodeBatch, decodeBody, parseCanonicalJson } from "@ctxmesh/codec";
import { decodeFrame, encodeFrame } from "@ctxmesh/facts";
import type { FactRecord } from "@ctxmesh/facts";
import { allows, roleAt } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { LIMITS, MeshError, toHex } from "@ctxmesh/model";
import type { DeviceKey, DocumentName, EngineEntry, Hlc } from "@ctxmesh/model";
import { prepareRecords } from "./local-batch.ts";
import type { PreparedWrite } from "./local-batch.ts";

/** A write with the condition that it is made under. */
export interface Proposal {
  /** Of one fact with a value. */
  readonly write: PreparedWrite;
  readonly key: string;
  /** The version that the key must have; null: nothing is visible under it. */
  readonly expected: string | null;
  /** Not to be begun after this time, Unix milliseconds. */
  readonly dueMs?: number;
}

/** Whose proposal a hub decides. */
export interface Proposer {
  readonly device: DeviceKey;
  /** Id of the request: 16 bytes, hex. */
  readonly request: string;
}

const VERSION_FORM = /^[0-9a-f]{32}$/u;

/** Throws `INPUT_INVALID` for what no version is. */
export function parseVersion(expected: string | null): string | null {
  if (expected === null || VERSION_FORM.test(expected)) return expected;
  throw new MeshError("INPUT_INVALID", "expect must be the version of a fact, or null for none", {
    field: "expect",
    remedy: "take the version of the answer to a read as it is",
  });
}

/** A validated write of one fact with its condition. Throws `INPUT_INVALID` for one that has none. */
export function proposalOf(write: PreparedWrite, expected: string | null): Proposal {
  const [draft, ...others] = write.drafts;
  if (draft === undefined || draft.increment !== undefined || others.length > 0) {
    throw new MeshError("INPUT_INVALID", "an increment has no condition", {
      field: "increment",
      remedy: "write the number that is to be there",
    });
  }
  // In the chain of what is neither urgent nor can wait: one order for all of them.
  const normal = { ...write, priority: "normal" as const };
  return { write: normal, key: draft.key, expected: parseVersion(expected) };
}

const FIRST = { seq: 1, hlc: 1 as Hlc } as const;
const frameOf = (record: FactRecord): Uint8Array =>
  encodeFrame({ from: 0, to: 1, records: [record] });

/** The fact of a proposal as bytes, for whoever decides it. */
export function encodeProposed({ write }: Proposal): Uint8Array {
  const [draft] = write.drafts;
  if (draft === undefined) throw new MeshError("INTERNAL", "a proposal has no fact");
  return frameOf({ ...draft, ...FIRST });
}

/** The id of a request among what a fact came from. */
export const requestBasis = ({ device, request }: Proposer): string => `cas:${device}:${request}`;

function malformed(problem: string): never {
  throw new MeshError("FORMAT_INVALID", `a proposed fact ${problem}`);
}

/** Reads {@link encodeProposed}, untrusted; the request's id is added to what the fact came from. Throws `FORMAT_INVALID`, `INPUT_INVALID`, `LIMIT_EXCEEDED`. */
export function decodeProposed(
  bytes: Uint8Array,
  doc: DocumentName,
  expected: string | null,
  proposer: Proposer,
): Proposal {
  const { records } = decodeFrame(bytes);
  const [record] = records;
  if (record?.valueJson === undefined || toHex(frameOf({ ...record, ...FIRST })) !== toHex(bytes)) {
    return malformed("is not one statement with a value");
  }
  parseCanonicalJson(record.valueJson, record.key);
  const { seq: _seq, hlc: _hlc, ...said } = record;
  const basis = [...(said.basis ?? []), requestBasis(proposer)];
  if (basis.length > LIMITS.tagsPerFact) {
    const most = String(LIMITS.tagsPerFact - 1);
    throw new MeshError("LIMIT_EXCEEDED", `a strong write has at most ${most} ids in its basis`, {
      field: "basis",
    });
  }
  // Without a clock it is stamped as what is written here.
  const draft = { ...said, basis };
  const { write } = {
    write: { ...prepareRecords(doc, [{ ...draft, ...FIRST }]), drafts: [draft] },
  };
  return { write, key: record.key, expected: parseVersion(expected) };
}

/** Throws `POLICY_REFUSED` unless a device may write facts at a time, Unix milliseconds; one whose grant has ended has to wait for a new one. */
export function assertMayPropose(space: Space, device: DeviceKey, nowMs: number): void {
  const role = space.revocations.has(device) ? undefined : roleAt(space, device, nowMs);
  if (role !== undefined && allows(role, "append")) return;
  throw new MeshError(
    "POLICY_REFUSED",
    role === undefined
      ? "this device has no grant in the space now"
      : `this device's role is ${role}, and this needs append`,
    { remedy: "ask whoever runs the space for a grant with the role append or more" },
  );
}

/** Whether a record of the shared log may have changed the version of a key; where that can't be told, it may. */
export function mayTouch({ kind, bytes }: EngineEntry, doc: DocumentName, key: string): boolean {
  // What counts may be something else by it.
  if (kind !== "batch") return kind !== "header";
  try {
    const { header, bodies } = decodeBatch(bytes);
    return header.sections.some((section, i) => {
      const body = bodies[i];
      if (section.doc !== doc || section.kind !== "facts") return false;
      if (body === undefined || body === null) return true;
      return decodeFrame(decodeBody(body)).records.some((record) => record.key === key);
    });
  } catch {
    return true;
  }
}
