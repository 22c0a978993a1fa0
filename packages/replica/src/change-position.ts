// SPDX-License-Identifier: Apache-2.0
/**
 * Positions of changes as text, for callers to go on from:
 *
 * ```
 * <log: 16 hex digits>.<position>.<section>.<seq>.<batch: 16 hex digits>
 * ```
 *
 * The log is named by the start of its name, the batch by the start of its header's hash, which gives away a copy of a store that went
 * its own way. Numbers are decimal: the batch's position in the log, its section, the fact's number in its chain. Section and seq 0 are the end of
 * the batch, of which the hash is 0 where there is none, or none that is kept.
 */
import { MeshError, fromHex, toHex } from "@ctxmesh/model";
import type { IncarnationId, Store, StoreChange } from "@ctxmesh/model";
import type { FactChange } from "./fact-changes.ts";
import { LOG_NAME_KEY } from "./layout.ts";

/** A place in a log. */
export interface ChangePlace {
  readonly position: number;
  readonly section: number;
  readonly seq: number;
}

/** What a text says of a place. */
export interface ParsedPosition extends ChangePlace {
  /** The start of the log's name and of the batch's hash. */
  readonly log: string;
  readonly hash: string;
}

const SHORT_HEX = 16;
const POSITION =
  /^([0-9a-f]{16})\.(0|[1-9]\d{0,14})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,14})\.([0-9a-f]{16})$/u;
/** The start of the hash of no batch. */
const NO_HASH = "0".repeat(SHORT_HEX);

/** The name of a store's log, hex, after the process life that began it; and the changes that give it one where it has none. */
export async function nameLog(
  store: Store,
  incarnation: IncarnationId,
): Promise<{ readonly logName: string; readonly naming: readonly StoreChange[] }> {
  const name = await store.get(LOG_NAME_KEY);
  return name === undefined
    ? { logName: incarnation, naming: [{ key: LOG_NAME_KEY, value: fromHex(incarnation) }] }
    : { logName: toHex(name), naming: [] };
}

/** The start of a name or hash, as it is in positions. */
export const shortHex = (hex: string): string => hex.slice(0, SHORT_HEX);

/** The position of a change in the log of that name. */
export const formatPosition = (
  log: string,
  { position, section, record, hash }: FactChange,
): string =>
  [shortHex(log), String(position), String(section), String(record.seq), shortHex(hash)].join(".");

/** The position of the end of a batch, or, without a hash, of what is not kept up to there. */
export const formatEnd = (log: string, position: number, hash: string = NO_HASH): string =>
  [shortHex(log), String(position), "0", "0", shortHex(hash)].join(".");

/** Parses a position. Throws `INPUT_INVALID` for what is none. */
export function parsePosition(text: string, field: string): ParsedPosition {
  const [, log, position, section, seq, hash] = POSITION.exec(text) ?? [];
  if (log === undefined || hash === undefined) {
    throw new MeshError(
      "INPUT_INVALID",
      `${field} ${JSON.stringify(text.slice(0, 80))} is no position`,
      {
        field,
        remedy: "give the position of an event as it was told, or a time",
      },
    );
  }
  return { log, hash, position: Number(position), section: Number(section), seq: Number(seq) };
}

/** Whether a place is the end of a batch, or of what is not kept. */
export const isEnd = ({ section, seq }: ChangePlace): boolean => section === 0 && seq === 0;

/** Which of two places comes first: below 0, 0 or above 0. */
export const comparePlaces = (a: ChangePlace, b: ChangePlace): number =>
  a.position - b.position || a.section - b.section || a.seq - b.seq;

/** The place of a change. */
export const placeOfChange = ({ position, section, record }: FactChange): ChangePlace => ({
  position,
  section,
  seq: record.seq,
});

/** The place behind all of a batch. */
export const endOf = (position: number): ChangePlace => ({
  position,
  section: Number.MAX_SAFE_INTEGER,
  seq: Number.MAX_SAFE_INTEGER,
});
