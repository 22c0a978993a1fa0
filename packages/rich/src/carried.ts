// SPDX-License-Identifier: Apache-2.0
/** What a gateway carries for Yjs clients: sections of one client each. */
import { LIMITS, MeshError } from "@ctxmesh/model";
import * as Y from "yjs";
import { addRange, encodeRuns, headOf, tailOf } from "./stock-update.ts";
import type { Range, Run, StockUpdate } from "./stock-update.ts";
import { MAX_DELETE_RANGES } from "./update-decoder.ts";

/** Rich content of one Yjs client: its clocks from `from`, up to and without `to`, as a V1 update. */
export interface CarriedSection {
  readonly client: number;
  readonly from: number;
  readonly to: number;
  readonly bytes: Uint8Array;
  /** The same as two sections; undefined for one that can't be parted. What was made at different times may have neighbours that no moment had. */
  readonly parted?: () => readonly [CarriedSection, CarriedSection];
}

/** Rich content that a gateway carries for Yjs clients. */
export interface CarriedContent {
  /** For whom a client's sections are, 16 bytes as hexadecimal digits. */
  readonly by: (client: number) => string;
  /** In an order in which each follows what it builds on. */
  readonly sections: readonly CarriedSection[];
  /** V1 updates that only delete. */
  readonly erasures: readonly Uint8Array[];
}

/** About as many bytes make a section; what one struct has more than that is cut where it can be. */
export const SECTION_BYTES: number = LIMITS.writeBytes / 4;
/** Runs of a section, each of which may have come deleted. */
export const SECTION_RUNS: number = MAX_DELETE_RANGES / 2;
/** Deletions that find room in a section beside those. */
export const SECTION_DELETES: number = MAX_DELETE_RANGES / 2 - 1;
const RUN_BYTES = 40;
const BYTES_PER_CHARACTER = 3;

/** The update builds on what is not here yet. */
export function behind(): never {
  throw new MeshError("WRITE_BEHIND", "the update builds on what has not arrived here yet", {
    remedy: "connect again in a moment",
  });
}

/** Never less than the encoded size of a run. */
export function bytesOf({ content }: Run): number {
  if (content instanceof Y.ContentString) {
    return RUN_BYTES + content.str.length * BYTES_PER_CHARACTER;
  }
  if (content === "gone" || content instanceof Y.ContentDeleted) return RUN_BYTES;
  if (content instanceof Y.ContentType) {
    const { type } = content;
    const name = type instanceof Y.XmlElement ? type.nodeName : "";
    return RUN_BYTES + name.length * BYTES_PER_CHARACTER;
  }
  return RUN_BYTES + JSON.stringify(content.getContent() ?? null).length * BYTES_PER_CHARACTER;
}

/**
 * A run in pieces that are not much larger than a section may be, as far as it can be cut. Of values under a key each is a piece: Yjs joins those that
 * were replaced or deleted where an undo manager keeps them, and nobody else makes several at once.
 */
export function* piecesOf(run: Run, client: number): Generator<Run> {
  let rest = run;
  while (rest.key !== null && rest.length > 1 && rest.content instanceof Y.ContentAny) {
    yield headOf(rest, 1);
    rest = tailOf(rest, client, 1);
  }
  while (rest.length > 1 && bytesOf(rest) > SECTION_BYTES) {
    const share = Math.floor((rest.length * SECTION_BYTES) / bytesOf(rest));
    let cut = Math.max(1, Math.min(rest.length - 1, share));
    const { content } = rest;
    // A character of two units is one.
    if (content instanceof Y.ContentString && isPairAt(content.str, cut)) cut++;
    if (cut >= rest.length) break;
    yield headOf(rest, cut);
    rest = tailOf(rest, client, cut);
  }
  yield rest;
}

const isPairAt = (text: string, at: number): boolean =>
  text.charCodeAt(at) >= 0xdc00 && text.charCodeAt(at) <= 0xdfff;

/** Deletions, and with them the runs of a section that came deleted: another gateway may have carried them before they were. */
function withDeleted(
  client: number,
  runs: readonly Run[],
  deletes: StockUpdate["deletes"],
): StockUpdate["deletes"] {
  const deleted = runs.filter(({ content }) => content instanceof Y.ContentDeleted);
  if (deleted.length === 0) return deletes;
  const own = deleted.map(({ clock, length: len }) => ({ clock, len }));
  const all = [...(deletes.get(client) ?? []), ...own].toSorted((a, b) => a.clock - b.clock);
  const merged: Range[] = [];
  for (const { clock, len } of all) {
    const last = merged.at(-1);
    const known = last === undefined ? 0 : last.clock + last.len;
    const from = Math.max(clock, known);
    if (from < clock + len) addRange(merged, from, clock + len - from);
  }
  return new Map([...deletes, [client, merged]]);
}

/** Runs, contiguous, as a section with deletions. */
export function sectionOf(
  client: number,
  runs: readonly Run[],
  deletes: StockUpdate["deletes"],
): CarriedSection {
  const [first] = runs;
  const end = runs.at(-1);
  const half = runs.length >>> 1;
  return {
    client,
    from: first?.clock ?? 0,
    to: (end?.clock ?? 0) + (end?.length ?? 0),
    bytes: encodeRuns(client, runs, withDeleted(client, runs, deletes)),
    ...(half === 0
      ? {}
      : {
          parted: () => [
            sectionOf(client, runs.slice(0, half), new Map()),
            sectionOf(client, runs.slice(half), deletes),
          ],
        }),
  };
}
