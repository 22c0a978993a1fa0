// SPDX-License-Identifier: Apache-2.0
/**
 * Positions of changes as text, for callers to go on from:
 *
 * ```
 * <log: 16 hex digits>.<position>.<section>.<seq>.<batch: 16 hex digits>
 * ```
 *
 * The log is named by the start of its name, the batch by the start of its header's hash, which gives away a copy of a store that went
 * its own way. Numbers are decimal: the batch's position in the log, its section, the fact's number in its chain.
 */
import { MeshError } from "@ctxmesh/model";
import type { FactChange } from "./fact-changes.ts";

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
  /^([0-9a-f]{16})\.([1-9]\d{0,14})\.(0|[1-9]\d{0,8})\.([1-9]\d{0,14})\.([0-9a-f]{16})$/u;

/** The start of a name or hash, as it is in positions. */
export const shortHex = (hex: string): string => hex.slice(0, SHORT_HEX);

/** The position of a change in the log of that name. */
export const formatPosition = (
  log: string,
  { position, section, record, hash }: FactChange,
): string =>
  [shortHex(log), String(position), String(section), String(record.seq), shortHex(hash)].join(".");

/** Parses a position. Throws `INPUT_INVALID` for what is none. */
export function parsePosition(text: string, field: string): ParsedPosition {
  const [, log, position, section, seq, hash] = POSITION.exec(text) ?? [];
  if (log === undefined || hash === undefined) {
    throw new MeshError("INPUT_INVALID", `${JSON.stringify(text.slice(0, 80))} is no position`, {
      field,
      remedy: "give the position of an event as it was told, or a time",
    });
  }
  return { log, hash, position: Number(position), section: Number(section), seq: Number(seq) };
}

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
