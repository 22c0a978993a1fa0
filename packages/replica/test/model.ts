// SPDX-License-Identifier: Apache-2.0
/** The plainest model of a space: keep every fact of every batch, and work out the leaves when asked. */
import { canonicalJson, decodeBatch, decodeBody } from "@ctxmesh/codec";
import { decodeFrame } from "@ctxmesh/facts";
import type { FactRecord } from "@ctxmesh/facts";
import { hlcToMs } from "@ctxmesh/model";
import type { Hlc, JsonValue } from "@ctxmesh/model";

interface Written {
  readonly doc: string;
  readonly writer: string;
  readonly incarnation: string;
  readonly record: FactRecord;
}

function writtenIn(bytes: Uint8Array): Written[] {
  const { header, bodies } = decodeBatch(bytes);
  return header.sections.flatMap(({ doc }, i) =>
    decodeFrame(decodeBody(bodies[i] ?? new Uint8Array())).records.map((record) => ({
      doc,
      writer: header.replica,
      incarnation: header.incarnation,
      record,
    })),
  );
}

/** Newer by clock, then writer, then incarnation. */
function newer(a: Written, b: Written): boolean {
  if (a.record.hlc !== b.record.hlc) return a.record.hlc > b.record.hlc;
  if (a.writer !== b.writer) return a.writer > b.writer;
  return a.incarnation > b.incarnation;
}

function leafOf({ doc, writer, incarnation, record }: Written): string {
  const { valueJson, ...rest } = record;
  const said =
    valueJson === undefined ? { deleted: true } : { value: JSON.parse(valueJson) as JsonValue };
  return canonicalJson({ doc, writer, incarnation, ...rest, ...said } as unknown as JsonValue);
}

const sameKey = (a: Written, b: Written): boolean =>
  a.doc === b.doc && a.record.key === b.record.key;

const sure = ({ record }: Written): number => record.confidence ?? 1;

/** When a statement ends, in Unix milliseconds. */
const endMs = ({ record: { hlc, ttlMs } }: Written): number =>
  ttlMs === undefined ? Infinity : hlcToMs(hlc) + ttlMs;

/** The leaves that a replica which applied exactly these batches must have. */
export function modelLeaves(batches: readonly Uint8Array[]): string[] {
  const all = batches.flatMap(writtenIn);
  const asOfMs = hlcToMs(Math.max(0, ...batches.map((b) => decodeBatch(b).header.hlc)) as Hlc);
  const live = all
    .filter((a) => !all.some((b) => sameKey(a, b) && a.writer === b.writer && newer(b, a)))
    .filter((a) => endMs(a) > asOfMs);
  return live
    .filter(
      (a) =>
        !live.some(
          (b) => sameKey(a, b) && newer(b, a) && sure(b) >= sure(a) && endMs(b) >= endMs(a),
        ),
    )
    .map(leafOf)
    .toSorted((a, b) => (a < b ? -1 : 1));
}
