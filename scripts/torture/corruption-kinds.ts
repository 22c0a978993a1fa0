// SPDX-License-Identifier: Apache-2.0
/** The kinds of damage of harness C. */
import {
  copyFileSync,
  cpSync,
  existsSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { Dice } from "../fuzz/dice.ts";
import type { Specimen, Specimens } from "./corruption-world.ts";

const PAGE_BYTES = 4_096;
const MAX_TAIL_BYTES = 20_000;

/** Where damage is done, and what there is to do it with. */
interface Place {
  readonly folder: string;
  readonly dice: Dice;
  readonly specimens: Specimens;
}

/** One kind of damage. */
export interface Damage {
  /** Does it, and says what it did. */
  readonly apply: (place: Place) => string;
  /**
   * True when what is left is a store that was sound at some time, so that nothing inside can tell;
   * it may then open, as exactly that store, and no older than its anchor.
   */
  readonly rollsBack?: boolean;
}

type Change = (bytes: Uint8Array, dice: Dice) => Uint8Array;

const flipBit: Change = (bytes, dice) => {
  const at = dice.roll(bytes.length);
  bytes[at] = (bytes[at] ?? 0) ^ (1 << dice.roll(8));
  return bytes;
};
const zeroPage: Change = (bytes, dice) => {
  const start = dice.roll(Math.ceil(bytes.length / PAGE_BYTES)) * PAGE_BYTES;
  return bytes.fill(0, start, start + PAGE_BYTES);
};
const garblePage: Change = (bytes, dice) => {
  const start = dice.roll(Math.ceil(bytes.length / PAGE_BYTES)) * PAGE_BYTES;
  bytes.set(dice.bytes(Math.min(PAGE_BYTES, bytes.length - start)), start);
  return bytes;
};
const tailBytes = (bytes: Uint8Array, dice: Dice): number =>
  1 + dice.roll(Math.min(MAX_TAIL_BYTES, bytes.length));
const cutTail: Change = (bytes, dice) => bytes.subarray(0, bytes.length - tailBytes(bytes, dice));
const zeroTail: Change = (bytes, dice) => bytes.fill(0, bytes.length - tailBytes(bytes, dice));
const garbleTail: Change = (bytes, dice) => {
  const tail = tailBytes(bytes, dice);
  bytes.set(dice.bytes(tail), bytes.length - tail);
  return bytes;
};
const addGarbage: Change = (bytes, dice) =>
  Buffer.concat([bytes, dice.bytes(1 + dice.roll(PAGE_BYTES))]);
const cutHalf: Change = (bytes) => bytes.subarray(0, bytes.length >> 1);
const empty: Change = () => new Uint8Array(0);

/** The files of a store that are not empty, by how their names begin or end. */
function filesLike({ folder }: Place, pattern: RegExp): string[] {
  const names = readdirSync(folder).filter((name) => pattern.test(name));
  const full = names.filter((name) => statSync(join(folder, name)).size > 0);
  if (full.length === 0) throw new Error(`the specimen has no file like ${String(pattern)}`);
  return full;
}

const LOG = /^\d+\.log$/u;
const TABLE = /\.ldb$/u;
const MANIFEST = /^MANIFEST-/u;

const changing =
  (pattern: RegExp, change: Change): Damage["apply"] =>
  (place) => {
    const name = place.dice.pick(filesLike(place, pattern));
    const path = join(place.folder, name);
    writeFileSync(path, change(new Uint8Array(readFileSync(path)), place.dice));
    return name;
  };

const deleting =
  (pattern: RegExp): Damage["apply"] =>
  (place) => {
    const name = place.dice.pick(filesLike(place, pattern));
    rmSync(join(place.folder, name));
    return name;
  };

/** Puts one file of another store among those of this one. */
const mixing =
  (from: (specimens: Specimens) => Specimen, pattern: RegExp): Damage["apply"] =>
  (place) => {
    const { folder } = from(place.specimens);
    const name = place.dice.pick(filesLike({ ...place, folder }, pattern));
    writeFileSync(join(place.folder, name), readFileSync(join(folder, name)));
    return name;
  };

const ANY = /^(?:\d+\.(?:log|ldb)|MANIFEST-\d+|CURRENT|ANCHOR)$/u;
const older = (specimens: Specimens): Specimen => specimens.older;
const fork = (specimens: Specimens): Specimen => specimens.fork;
const stranger = (specimens: Specimens): Specimen => specimens.stranger;

/** The whole store becomes `specimen`, with its own anchor or that of the store. */
function rollBack({ folder, specimens }: Place, specimen: Specimen, withAnchor: boolean): string {
  rmSync(folder, { recursive: true });
  cpSync(specimen.folder, folder, { recursive: true });
  if (!withAnchor) copyFileSync(join(specimens.store.folder, "ANCHOR"), join(folder, "ANCHOR"));
  return "all files";
}

/** The store as a crash leaves it: with the anchor of a second before. */
const afterCrash =
  (apply: Damage["apply"]): Damage["apply"] =>
  (place) => {
    copyFileSync(place.specimens.oldAnchor, join(place.folder, "ANCHOR"));
    return apply(place);
  };

function olderManifest(place: Place): string {
  for (const name of filesLike({ ...place, folder: place.specimens.older.folder }, MANIFEST)) {
    copyFileSync(join(place.specimens.older.folder, name), join(place.folder, name));
    writeFileSync(join(place.folder, "CURRENT"), `${name}\n`);
  }
  return "CURRENT and MANIFEST";
}

function swapTables(place: Place): string {
  const names = filesLike(place, TABLE);
  const first = place.dice.roll(names.length);
  const second = (first + 1 + place.dice.roll(names.length - 1)) % names.length;
  const [a, b] = [names[first] ?? "", names[second] ?? ""];
  renameSync(join(place.folder, a), join(place.folder, "aside"));
  renameSync(join(place.folder, b), join(place.folder, a));
  renameSync(join(place.folder, "aside"), join(place.folder, b));
  return `${a} and ${b}`;
}

function withoutDatabase(place: Place): string {
  for (const name of readdirSync(place.folder)) {
    if (name !== "ANCHOR") rmSync(join(place.folder, name));
  }
  return "all but ANCHOR";
}

function otherLog({ folder, dice }: Place): string {
  for (const name of ["LOG", "LOG.old", "LOCK"]) {
    const path = join(folder, name);
    if (existsSync(path) && dice.chance(30)) rmSync(path);
    else writeFileSync(path, dice.bytes(dice.roll(PAGE_BYTES)));
  }
  return "LOG, LOG.old and LOCK";
}

/** Every kind, by its name. */
export const DAMAGES: Readonly<Record<string, Damage>> = {
  "nothing (the control)": { apply: () => "nothing" },
  ".log tail cut": { apply: changing(LOG, cutTail) },
  ".log tail zeroed": { apply: changing(LOG, zeroTail) },
  ".log tail overwritten with garbage": { apply: changing(LOG, garbleTail) },
  ".log garbage added": { apply: changing(LOG, addGarbage) },
  ".log one bit flipped": { apply: changing(LOG, flipBit) },
  ".log page zeroed": { apply: changing(LOG, zeroPage) },
  ".log page overwritten with garbage": { apply: changing(LOG, garblePage) },
  ".log emptied": { apply: changing(LOG, empty) },
  ".log deleted": { apply: deleting(LOG) },
  ".log one bit flipped after a crash": {
    apply: afterCrash(changing(LOG, flipBit)),
    rollsBack: true,
  },
  ".log tail cut after a crash": { apply: afterCrash(changing(LOG, cutTail)), rollsBack: true },
  ".ldb one bit flipped": { apply: changing(TABLE, flipBit) },
  ".ldb page zeroed": { apply: changing(TABLE, zeroPage) },
  ".ldb page overwritten with garbage": { apply: changing(TABLE, garblePage) },
  ".ldb half cut": { apply: changing(TABLE, cutHalf) },
  ".ldb garbage added": { apply: changing(TABLE, addGarbage) },
  ".ldb emptied": { apply: changing(TABLE, empty) },
  ".ldb deleted": { apply: deleting(TABLE) },
  ".ldb two files swapped": { apply: swapTables },
  "MANIFEST one bit flipped": { apply: changing(MANIFEST, flipBit) },
  "MANIFEST tail cut": { apply: changing(MANIFEST, cutTail) },
  "MANIFEST tail zeroed": { apply: changing(MANIFEST, zeroTail) },
  "MANIFEST page zeroed": { apply: changing(MANIFEST, zeroPage) },
  "MANIFEST deleted": { apply: deleting(MANIFEST) },
  "CURRENT empty": { apply: changing(/^CURRENT$/u, empty) },
  "CURRENT one bit flipped": { apply: changing(/^CURRENT$/u, flipBit) },
  "CURRENT deleted": { apply: deleting(/^CURRENT$/u) },
  "CURRENT naming an older MANIFEST": { apply: olderManifest },
  "LOCK, LOG and LOG.old garbage": { apply: otherLog },
  "ANCHOR deleted": { apply: deleting(/^ANCHOR$/u) },
  "ANCHOR one bit flipped": { apply: changing(/^ANCHOR$/u, flipBit) },
  "ANCHOR empty": { apply: changing(/^ANCHOR$/u, empty) },
  "ANCHOR of a second before": { apply: afterCrash(() => "ANCHOR") },
  "ANCHOR of another store": { apply: mixing(stranger, /^ANCHOR$/u) },
  "one file of an older copy": { apply: mixing(older, ANY) },
  "one file of a copy that went its own way": { apply: mixing(fork, ANY) },
  "one file of another store": { apply: mixing(stranger, ANY) },
  "all but ANCHOR deleted": { apply: withoutDatabase },
  "rolled back to an older copy, ANCHOR stays": {
    apply: (place) => rollBack(place, place.specimens.older, false),
  },
  "exchanged with a copy that went its own way, ANCHOR stays": {
    apply: (place) => rollBack(place, place.specimens.fork, false),
  },
  "rolled back to an older copy with its ANCHOR": {
    apply: (place) => rollBack(place, place.specimens.older, true),
    rollsBack: true,
  },
};
