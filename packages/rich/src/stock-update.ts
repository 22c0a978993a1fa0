// SPDX-License-Identifier: Apache-2.0
/**
 * Updates as stock Yjs clients make them: structs of several clients, garbage, entries of the root `facts`. They are read by Yjs itself, which makes
 * objects of them and integrates nothing; what is written of them again passes the strict decoder.
 */
import { MeshError } from "@ctxmesh/model";
import * as Y from "yjs";
import { clockIn } from "./engine.ts";
import { malformed } from "./errors.ts";
import { TRACES_ROOT } from "./names.ts";

/** The name of one unit: a character, list element, map entry or format mark. */
export type UnitId = Pick<Y.ID, "client" | "clock">;

/** Consecutive units of one client with one content; `gone` where Yjs has forgotten what and where they were. */
export interface Run {
  readonly clock: number;
  readonly length: number;
  readonly origin: UnitId | null;
  readonly rightOrigin: UnitId | null;
  /** A root or the unit that made a nested type, when there is neither origin nor right origin. */
  readonly parent: string | UnitId | null;
  /** Of a map's entry, as far as it is known. */
  readonly key: string | null;
  readonly content: Y.Item["content"] | "gone";
}

/** Clocks of one client, from `clock` on. */
export interface Range {
  readonly clock: number;
  readonly len: number;
}

/** A stock update in parts, by client; runs and ranges in the order of their clocks. */
export interface StockUpdate {
  readonly runs: ReadonlyMap<number, readonly Run[]>;
  readonly deletes: ReadonlyMap<number, readonly Range[]>;
}

function runOf(struct: Y.Item | Y.GC): Run {
  const { id, length } = struct;
  if (!Number.isSafeInteger(id.clock + length) || length <= 0) malformed("clocks", "clock");
  if (struct instanceof Y.GC) {
    const none = { origin: null, rightOrigin: null, parent: null, key: null };
    return { clock: id.clock, length, ...none, content: "gone" };
  }
  const { origin, rightOrigin, parentSub: key, content } = struct;
  // As Yjs reads it: a root's name, or the id of an entry.
  const parent = struct.parent as unknown as string | Y.ID | null;
  return { clock: id.clock, length, origin, rightOrigin, parent, key, content };
}

/** Reads an update; what it says is not looked at. Throws `FORMAT_INVALID`. */
export function readStockUpdate(bytes: Uint8Array): StockUpdate {
  let decoded: ReturnType<typeof Y.decodeUpdate>;
  try {
    decoded = Y.decodeUpdate(bytes);
  } catch (cause) {
    throw new MeshError("FORMAT_INVALID", "the update can't be read", { field: "bytes", cause });
  }
  const runs = new Map<number, Run[]>();
  for (const struct of decoded.structs) {
    if (struct instanceof Y.Skip) continue;
    const { client } = struct.id;
    const of = runs.get(client) ?? [];
    runs.set(client, of);
    of.push(runOf(struct));
  }
  for (const of of runs.values()) of.sort((a, b) => a.clock - b.clock);
  const { clients } = Y.mergeDeleteSets([decoded.ds]);
  return { runs, deletes: clients };
}

/** The units of a run from `offset` on; it loses them where its content is shared. */
export function tailOf(run: Run, client: number, offset: number): Run {
  if (offset === 0) return run;
  const { content } = run;
  const clock = run.clock + offset;
  const length = run.length - offset;
  if (content === "gone") return { ...run, clock, length };
  const rest = content.copy().splice(offset);
  return {
    ...run,
    clock,
    length,
    origin: { client, clock: clock - 1 },
    parent: null,
    content: rest,
  };
}

/** The units of a run before `end`. */
export function headOf(run: Run, end: number): Run {
  if (end >= run.length) return run;
  if (run.content === "gone") return { ...run, length: end };
  const content = run.content.copy();
  content.splice(end);
  return { ...run, length: end, content };
}

const BITS = { origin: 0x80, rightOrigin: 0x40, key: 0x20, ref: 0x1f } as const;

function writeRun(encoder: Y.UpdateEncoderV1, run: Run): void {
  const { origin, rightOrigin, parent, key, content } = run;
  if (content === "gone") {
    encoder.writeInfo(0);
    encoder.writeLen(run.length);
    return;
  }
  encoder.writeInfo(
    (content.getRef() & BITS.ref) |
      (origin === null ? 0 : BITS.origin) |
      (rightOrigin === null ? 0 : BITS.rightOrigin) |
      (key === null ? 0 : BITS.key),
  );
  if (origin !== null) encoder.writeLeftID(Y.createID(origin.client, origin.clock));
  if (rightOrigin !== null) encoder.writeRightID(Y.createID(rightOrigin.client, rightOrigin.clock));
  if (origin === null && rightOrigin === null) {
    const isRoot = typeof parent === "string";
    encoder.writeParentInfo(isRoot);
    if (isRoot) encoder.writeString(parent);
    else encoder.writeLeftID(Y.createID(parent?.client ?? 0, parent?.clock ?? 0));
    if (key !== null) encoder.writeString(key);
  }
  content.write(encoder, 0);
}

function writeDeletes(encoder: Y.UpdateEncoderV1, deletes: StockUpdate["deletes"]): void {
  const clients = [...deletes].toSorted(([a], [b]) => b - a);
  encoder.writeLen(clients.length);
  for (const [client, ranges] of clients) {
    encoder.resetDsCurVal();
    encoder.writeLen(client);
    encoder.writeLen(ranges.length);
    for (const { clock, len } of ranges) {
      encoder.writeDsClock(clock);
      encoder.writeDsLen(len);
    }
  }
}

/** A V1 update of runs, contiguous for each client, and deletions. */
export function encodeAll(runs: StockUpdate["runs"], deletes: StockUpdate["deletes"]): Uint8Array {
  const encoder = new Y.UpdateEncoderV1();
  const clients = [...runs].filter(([, of]) => of.length > 0).toSorted(([a], [b]) => b - a);
  encoder.writeLen(clients.length);
  for (const [client, of] of clients) {
    encoder.writeLen(of.length);
    encoder.writeClient(client);
    encoder.writeLen(of[0]?.clock ?? 0);
    for (const run of of) writeRun(encoder, run);
  }
  writeDeletes(encoder, deletes);
  return encoder.toUint8Array();
}

/** As {@link encodeAll}, of one client. */
export const encodeRuns = (
  client: number,
  runs: readonly Run[],
  deletes: StockUpdate["deletes"] = new Map(),
): Uint8Array => encodeAll(new Map([[client, runs]]), deletes);

/** Adds a range behind the others; one that goes on with the last becomes part of it. */
export function addRange(ranges: Range[], clock: number, len: number): void {
  const last = ranges.at(-1);
  if (last !== undefined && last.clock + last.len === clock) {
    ranges[ranges.length - 1] = { clock: last.clock, len: last.len + len };
  } else ranges.push({ clock, len });
}

/** The structs of a document in a span of a client's clocks. */
export function* structsIn(
  doc: Y.Doc,
  client: number,
  from: number,
  to: number,
): Generator<Y.Item | Y.GC> {
  const structs = doc.store.clients.get(client) ?? [];
  if (from >= to || from >= clockIn(doc, client)) return;
  for (let i = Y.findIndexSS(structs, from); i < structs.length; i++) {
    const struct = structs[i];
    if (struct === undefined || struct.id.clock >= to) return;
    yield struct;
  }
}

/** A client's traces from a clock on, in a projection that has them and nothing of that client behind it. */
export function tracesFrom(doc: Y.Doc, client: number, from: number): Run[] {
  return [...structsIn(doc, client, from, Number.MAX_SAFE_INTEGER)].map((struct) => {
    const { id, length } = struct;
    const place = { clock: id.clock, length, rightOrigin: null };
    const run: Run =
      struct instanceof Y.GC
        ? { ...place, origin: null, parent: null, key: null, content: "gone" }
        : {
            ...place,
            origin: struct.origin,
            parent: struct.origin === null ? TRACES_ROOT : null,
            key: struct.parentSub,
            content: struct.content,
          };
    return tailOf(run, client, Math.max(0, from - id.clock));
  });
}
