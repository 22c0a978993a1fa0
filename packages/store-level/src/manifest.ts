// SPDX-License-Identifier: Apache-2.0
/**
 * Which tables a LevelDB database consists of, read from its MANIFEST without LevelDB, which would
 * begin to delete and rewrite files at once. Format: db/version_edit.cc of LevelDB 1.20.
 */
import { ByteReader, damagedFile } from "./level-bytes.ts";
import { readLog } from "./log-file.ts";

/** Tags of the fields of a version edit. */
const TAG = {
  comparator: 1,
  logNumber: 2,
  nextFile: 3,
  lastSequence: 4,
  compactPointer: 5,
  deletedFile: 6,
  newFile: 7,
  prevLogNumber: 9,
} as const;

/** What the MANIFEST says of a table. */
export interface TableFacts {
  readonly bytes: number;
  /** First and last key, each with its sequence number. */
  readonly smallest: Uint8Array;
  readonly largest: Uint8Array;
}

/** The tables named by the MANIFEST in `bytes`, by their numbers. Throws `STORE_CORRUPT` naming `name`. */
export function liveTables(name: string, bytes: Uint8Array): ReadonlyMap<number, TableFacts> {
  const tables = new Map<number, TableFacts>();
  const edits = readLog(bytes, (what) => {
    throw damagedFile(name, what);
  });
  for (const edit of edits) applyEdit(name, edit, tables);
  return tables;
}

function applyEdit(name: string, edit: Uint8Array, tables: Map<number, TableFacts>): void {
  const reader = new ByteReader(name, edit);
  while (reader.left > 0) {
    const tag = reader.varint();
    switch (tag) {
      case TAG.comparator:
        reader.prefixed();
        break;
      case TAG.logNumber:
      case TAG.nextFile:
      case TAG.lastSequence:
      case TAG.prevLogNumber:
        reader.varint();
        break;
      case TAG.compactPointer:
        reader.varint();
        reader.prefixed();
        break;
      case TAG.deletedFile:
        reader.varint();
        tables.delete(reader.varint());
        break;
      case TAG.newFile: {
        reader.varint();
        const number = reader.varint();
        const size = reader.varint();
        tables.set(number, {
          bytes: size,
          smallest: reader.prefixed(),
          largest: reader.prefixed(),
        });
        break;
      }
      default:
        throw damagedFile(name, `a field has the unknown tag ${String(tag)}`);
    }
  }
}
