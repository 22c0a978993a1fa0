// SPDX-License-Identifier: Apache-2.0
import { readBounded, runVerify } from "@ctxmesh/auditor";
import { diffSnapshots, envelopeStatement, parseBundle, sealedLeavesMatch } from "@ctxmesh/ledger";
import type { Bundle, KeyDifference } from "@ctxmesh/ledger";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import { counted, createOutput, printable, shortId, shorten } from "../output.ts";
import type { Output, Style } from "../output.ts";

/** Options of `ctxmesh diff`. */
export interface DiffOptions {
  readonly trust?: string;
  readonly json?: boolean;
}

/** Reads a bundle whose leaves are those that its envelope is about, and with a trust root one that is valid. */
async function readSealed(path: string, trust: string | undefined): Promise<Bundle> {
  if (trust !== undefined) {
    const { failed } = await runVerify({ bundlePath: path, rootPaths: [trust], now: Date.now() });
    if (failed !== undefined) {
      const { code, step, message, remedy } = failed;
      throw new MeshError(
        code,
        `${path}: ${step}: ${message}`,
        remedy === undefined ? {} : { remedy },
      );
    }
  }
  const bundle = parseBundle(readBounded("bundle", path, LIMITS.bundleBytes));
  if (trust !== undefined || sealedLeavesMatch(bundle)) return bundle;
  throw new MeshError("PROOF_INVALID", `${path}: its facts are not those that were sealed`);
}

const MARKS: Readonly<Record<KeyDifference["change"], readonly [string, Style]>> = {
  added: ["+", "green"],
  changed: ["~", "yellow"],
  removed: ["-", "red"],
  restated: ["=", "dim"],
};
const MAX_VALUE_LENGTH = 60;

function said(members: JsonValue): string {
  const { value, deleted, retracts, writer } = members as Readonly<Record<string, JsonValue>>;
  const what =
    retracts !== undefined
      ? "(retraction)"
      : deleted === true
        ? "(deleted)"
        : JSON.stringify(value);
  const by = typeof writer === "string" ? ` (${shortId(writer)})` : "";
  return `${shorten(printable(what), MAX_VALUE_LENGTH)}${by}`;
}

const allSaid = (leaves: readonly JsonValue[]): string => leaves.map(said).join(", ") || "nothing";

function line(
  { doc, key, change, contested, before, after }: KeyDifference,
  output: Output,
): string {
  const [mark, style] = MARKS[change];
  const values =
    change === "added"
      ? allSaid(after)
      : change === "removed"
        ? allSaid(before)
        : `${allSaid(before)} -> ${allSaid(after)}`;
  const rest = contested ? `  ${output.style("yellow", "contested")}` : "";
  return `${output.style(style, mark)} ${doc} ${printable(key)}  ${values}${rest}`;
}

/** Compares two sealed snapshots of one space. Throws `INPUT_INVALID` for two spaces, and what a bundle is refused with. */
export async function runDiff(a: string, b: string, options: DiffOptions): Promise<void> {
  const bundles = [await readSealed(a, options.trust), await readSealed(b, options.trust)] as const;
  const [before, after] = bundles.map(({ envelope }) => envelopeStatement(envelope));
  if (before === undefined || after === undefined || before.space !== after.space) {
    throw new MeshError("INPUT_INVALID", "the two bundles are of different spaces");
  }
  const [old, now] = bundles.map(({ leaves }) => leaves.map(({ leaf }) => leaf));
  const difference = diffSnapshots(old ?? [], now ?? []);
  const output = createOutput(options);
  const seals = { space: before.space, from: before.sequence, to: after.sequence };
  if (output.json) {
    await output.line(
      JSON.stringify({ ...seals, verified: options.trust !== undefined, ...difference }),
    );
    return;
  }
  // What says the same again is no news.
  const news = difference.keys.filter(({ change }) => change !== "restated");
  for (const change of news) await output.line(line(change, output));
  const count = (kind: KeyDifference["change"]): string =>
    `${String(difference.keys.filter(({ change }) => change === kind).length)} ${kind}`;
  const kinds = (["added", "changed", "removed", "restated"] as const).map(count).join(", ");
  await output.line(
    `seal ${String(seals.from)} -> ${String(seals.to)}: ${kinds}, ${counted(difference.unchanged, "key")} unchanged, ${String(difference.contested.length)} contested`,
  );
  if (options.trust === undefined) {
    await output.line(output.style("dim", "signatures were not checked: give --trust root.json"));
  }
}
