// SPDX-License-Identifier: Apache-2.0
/** The stores that harness C damages: one, an older copy of it, one that went its own way since, and a stranger. */
import { hash } from "node:crypto";
import { copyFileSync, cpSync } from "node:fs";
import { join } from "node:path";
import { openLevelStore } from "@ctxmesh/store-level";
import { createSeededRandom } from "@ctxmesh/testing";
import { Dice } from "../fuzz/dice.ts";

/** Name of the value by name of the key; see {@link nameOf}. */
export type Content = ReadonlyMap<string, string>;

interface Change {
  readonly key: Uint8Array;
  readonly value?: Uint8Array;
  readonly keyName: string;
  readonly valueName: string | undefined;
}
/** One acknowledged write. */
type Write = readonly Change[];

/** A short text for bytes, another one for others. */
export const nameOf = (bytes: Uint8Array): string => hash("sha1", bytes, "base64");

/** A closed store, and all writes that it acknowledged. */
export interface Specimen {
  readonly folder: string;
  readonly writes: readonly Write[];
}

/** What harness C works with. */
export interface Specimens {
  readonly store: Specimen;
  /** `store` as it was in the middle of its life. */
  readonly older: Specimen;
  /** What became of a copy of `older` in other hands. */
  readonly fork: Specimen;
  /** A store that has nothing to do with the others. */
  readonly stranger: Specimen;
  /** The anchor that `store` had when its last session began. */
  readonly oldAnchor: string;
  /** All values that any write of any of them put under a key. */
  readonly versions: ReadonlyMap<string, ReadonlySet<string>>;
}

/** Bytes of the largest value; the last session of 3,000 keys then fills more than one memtable of LevelDB. */
const MAX_VALUE_BYTES = 5_000;
const MAX_CHANGES = 40;

/** The content after the first `count` writes. */
export function contentAfter(writes: readonly Write[], count: number = writes.length): Content {
  const content = new Map<string, string>();
  for (const { keyName, valueName } of writes.slice(0, count).flat()) {
    if (valueName === undefined) content.delete(keyName);
    else content.set(keyName, valueName);
  }
  return content;
}

/** Makes all specimens, of `keys` keys, in `folder`. */
export async function makeSpecimens(
  folder: string,
  seed: number,
  keys: number,
): Promise<Specimens> {
  const path = (name: string): string => join(folder, name);
  const early = sessions(seed, 0, [keys * 0.2, keys * 0.2]);
  const late = sessions(seed, 1, [keys * 0.1, keys * 0.1]);
  const last = sessions(seed, 2, [keys]);
  await live(path("store"), early);
  cpSync(path("store"), path("older"), { recursive: true });
  await live(path("store"), late);
  copyFileSync(join(path("store"), "ANCHOR"), path("old-anchor"));
  await live(path("store"), last);
  cpSync(path("older"), path("fork"), { recursive: true });
  const other = sessions(seed, 3, [keys * 0.1, keys * 0.1, keys * 1.2]);
  await live(path("fork"), other);
  const foreign = sessions(seed, 4, [keys * 0.1, keys * 0.1]);
  await live(path("stranger"), foreign);
  const writes = [early, late, last].flat(2);
  return {
    store: { folder: path("store"), writes },
    older: { folder: path("older"), writes: early.flat() },
    fork: { folder: path("fork"), writes: [early, other].flat(2) },
    stranger: { folder: path("stranger"), writes: foreign.flat() },
    oldAnchor: path("old-anchor"),
    versions: versionsIn([...writes, ...other.flat(), ...foreign.flat()]),
  };
}

/** The writes of a life of several sessions, from opening to close; `sizes` has about how many keys each changes. */
function sessions(seed: number, life: number, sizes: readonly number[]): Write[][] {
  const dice = new Dice(seed, life);
  const noise = createSeededRandom(seed + life);
  const total = Math.max(...sizes);
  return sizes.map((size) => {
    const writes: Write[] = [];
    for (let changed = 0; changed < size;) {
      const length = 1 + dice.roll(MAX_CHANGES);
      writes.push(Array.from({ length }, () => change(dice, noise, total)));
      changed += length;
    }
    return writes;
  });
}

function change(dice: Dice, noise: { bytes(length: number): Uint8Array }, keys: number): Change {
  const key = Buffer.from(`k/${String(dice.roll(keys * 2)).padStart(8, "0")}`);
  const keyName = nameOf(key);
  if (dice.chance(8)) return { key, keyName, valueName: undefined };
  const bytes = dice.roll(MAX_VALUE_BYTES);
  // Half of the values can be compressed, as LevelDB does.
  const value = dice.chance(50)
    ? noise.bytes(bytes)
    : Buffer.alloc(bytes, `value ${String(dice.word())} `);
  return { key, value, keyName, valueName: nameOf(value) };
}

async function live(path: string, life: readonly (readonly Write[])[]): Promise<void> {
  for (const writes of life) {
    const store = await openLevelStore({ path });
    for (const write of writes) await store.write(write);
    await store.close();
  }
}

function versionsIn(writes: readonly Write[]): Map<string, Set<string>> {
  const versions = new Map<string, Set<string>>();
  for (const { keyName, valueName } of writes.flat()) {
    if (valueName === undefined) continue;
    const known = versions.get(keyName);
    if (known === undefined) versions.set(keyName, new Set([valueName]));
    else known.add(valueName);
  }
  return versions;
}
