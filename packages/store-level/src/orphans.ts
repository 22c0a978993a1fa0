// SPDX-License-Identifier: Apache-2.0
/**
 * Tables that the MANIFEST does not name. A crash leaves some: of a compaction, whose inputs are
 * named, or of a `.log` that is still there, or of what a compaction has replaced. So their markers,
 * as far as they are still kept, are also in what is named. One whose markers are not was forgotten
 * with the end of the MANIFEST; LevelDB would delete it on opening, and with it the only copy of
 * what it holds.
 */
import { ByteReader } from "./level-bytes.ts";
import { readLog } from "./log-file.ts";
import type { Marker } from "./markers.ts";
import { parseMarker } from "./markers.ts";
import { dataBlocks, entriesIn } from "./table.ts";

const SEQUENCE_BYTES = 8;
const COUNT_BYTES = 4;
const DELETION = 0;
const FIRST_KEY = 1;

/** The markers in a table, as far as it can be read. */
export function markersInTable(name: string, bytes: Uint8Array): readonly Marker[] {
  const markers: Marker[] = [];
  try {
    for (const block of dataBlocks(name, bytes)) {
      for (const [key, value] of entriesIn(name, bytes, block)) {
        if ((key[0] ?? 0) >= FIRST_KEY) return markers;
        const end = key.length - SEQUENCE_BYTES;
        const marker = key[end] === DELETION ? undefined : parseMarker(key.subarray(0, end), value);
        if (marker !== undefined) markers.push(marker);
      }
    }
  } catch {
    // What a crash left half done.
  }
  return markers;
}

/** The markers in a `.log`, as far as it can be read. */
export function markersInLog(name: string, bytes: Uint8Array): readonly Marker[] {
  const markers: Marker[] = [];
  for (const batch of readLog(bytes, ignore)) {
    for (const [key, value] of changesIn(name, batch)) {
      const marker = value && parseMarker(key, value);
      if (marker !== undefined) markers.push(marker);
    }
  }
  return markers;
}

const ignore = (): void => undefined;

/** The changes of a write batch as a `.log` has it (db/write_batch.cc): sequence number (8 bytes), count (4), then type, key and, but for deletions, value. */
export function* changesIn(
  name: string,
  batch: Uint8Array,
): Generator<readonly [key: Uint8Array, value: Uint8Array | undefined], void, undefined> {
  const reader = new ByteReader(name, batch, SEQUENCE_BYTES + COUNT_BYTES);
  while (reader.left > 0) {
    const isDeletion = reader.byte() === DELETION;
    yield [reader.prefixed(), isDeletion ? undefined : reader.prefixed()];
  }
}
