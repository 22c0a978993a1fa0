// SPDX-License-Identifier: Apache-2.0
/** Changes valid files at random, and sees that each change is refused with the right exit code. */
import { parseTrustRoot, verifyBundle } from "@ctxmesh/ledger";
import type { TrustRoot } from "@ctxmesh/ledger";
import { toMeshError } from "@ctxmesh/model";
import { EDITS } from "./edits.ts";
import type { Pick } from "./edits.ts";
import { rightCodes } from "./expect.ts";
import type { Target } from "./expect.ts";

/** Valid files of one space, and as many others of the same hub, whose parts are well signed, too. */
export interface Material {
  readonly now: number;
  readonly root: Uint8Array;
  readonly files: Readonly<Record<Target, readonly [file: Uint8Array, other: Uint8Array]>>;
}

/** What came of it. */
export interface Tampering {
  readonly edits: number;
  /** How many were refused, by kind of file and exit code. */
  readonly refused: Readonly<Record<string, Readonly<Record<number, number>>>>;
  /** Those that were accepted, or refused with another code than is right. */
  readonly wrong: readonly string[];
}

/** Numbers that follow from a seed (mulberry32). */
export function picker(seed: number): Pick {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** The exit code of a verification of these bytes. */
function codeOf(
  target: Target,
  bytes: Uint8Array,
  { now, files }: Material,
  root: TrustRoot,
): number {
  if (target !== "trust root") {
    return verifyBundle(bytes, root, { now, crossCheck: false }).exitCode;
  }
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    const under = parseTrustRoot(text);
    return verifyBundle(files.bundle[0], under, { now, crossCheck: false }).exitCode;
  } catch (error) {
    return error instanceof TypeError ? 3 : toMeshError(error).exitCode;
  }
}

/** Makes `count` changes that follow from a seed. */
export function tamper(material: Material, count: number, seed: number): Tampering {
  const root = parseTrustRoot(new TextDecoder().decode(material.root));
  const pick = picker(seed);
  const [names, targets] = [Object.keys(EDITS), Object.keys(material.files) as Target[]];
  const refused: Record<string, Record<number, number>> = {};
  const wrong: string[] = [];
  for (let made = 0; made < count;) {
    const target = targets[pick(targets.length)] ?? "bundle";
    const name = names[pick(names.length)] ?? "";
    const [file, other] = material.files[target];
    const edited = EDITS[name]?.(file, other, pick);
    if (edited === undefined || Buffer.compare(edited, file) === 0) continue;
    made++;
    const code = codeOf(target, edited, material, root);
    const right = rightCodes(target, file, edited);
    const counts = (refused[target] ??= {});
    counts[code] = (counts[code] ?? 0) + 1;
    if (right.includes(code) && code !== 0) continue;
    wrong.push(
      `${target}, ${name} (change ${String(made)} of seed ${String(seed)}): exit ${String(code)}, right is ${right.join(" or ")}`,
    );
  }
  return { edits: count, refused, wrong };
}
