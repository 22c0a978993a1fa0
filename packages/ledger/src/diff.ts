// SPDX-License-Identifier: Apache-2.0
/** What changed between two snapshots of a space, key by key. */
import { canonicalJson } from "@ctxmesh/codec";
import type { JsonValue } from "@ctxmesh/model";
import { leafMembers, textMember } from "./snapshot.ts";
import type { CanonicalLeaf } from "./snapshot.ts";

/** What became of a key, or of a root of rich content; `restated` when its statements are other ones and say the same. */
export type KeyChange = "added" | "changed" | "removed" | "restated";

/** A key of a document in two snapshots. */
export interface KeyDifference {
  readonly doc: string;
  /** The key of a fact, or the name of a root of rich content. */
  readonly key: string;
  readonly kind: "fact" | "rich";
  readonly change: KeyChange;
  /** In the newer snapshot: candidates that still stand do not agree. */
  readonly contested: boolean;
  /** The members of the leaves that are in one snapshot alone, in the order of the leaves. */
  readonly before: readonly JsonValue[];
  readonly after: readonly JsonValue[];
}

/** What two snapshots have and have not in common. */
export interface SnapshotDifference {
  /** Sorted by document, then key. */
  readonly keys: readonly KeyDifference[];
  /** Keys that are contested in the newer snapshot, whether anything of them changed or not. */
  readonly contested: readonly { readonly doc: string; readonly key: string }[];
  readonly unchanged: number;
}

type Members = Readonly<Record<string, JsonValue>>;

interface Entry {
  readonly doc: string;
  readonly key: string;
  readonly kind: "fact" | "rich";
  readonly leaves: Map<CanonicalLeaf, Members>;
}

function group(leaves: readonly CanonicalLeaf[]): ReadonlyMap<string, Entry> {
  const entries = new Map<string, Entry>();
  for (const leaf of leaves) {
    const members = leafMembers(leaf);
    const kind = "root" in members ? "rich" : "fact";
    const doc = textMember(members, "doc");
    const key = textMember(members, kind === "rich" ? "root" : "key");
    // Neither names of documents nor keys have a line break.
    const name = `${doc}\n${key}\n${kind}`;
    const entry = entries.get(name) ?? { doc, key, kind, leaves: new Map() };
    entry.leaves.set(leaf, members);
    entries.set(name, entry);
  }
  return entries;
}

/** What the statements of a key that stand say, deletes among them. */
function saidIn(entry: Entry): ReadonlySet<string> {
  const said = new Set<string>();
  for (const members of entry.leaves.values()) {
    if ("retracts" in members) continue;
    said.add("value" in members ? canonicalJson(members["value"] ?? null) : "deleted");
  }
  return said;
}

/** Whether the statements of a key that stand differ in what they say. */
const isContested = (entry: Entry | undefined): boolean =>
  entry?.kind === "fact" && saidIn(entry).size > 1;

function changeOf(was: Entry | undefined, is: Entry | undefined): KeyChange {
  if (was === undefined) return "added";
  if (is === undefined) return "removed";
  const [before, after] = [saidIn(was), saidIn(is)];
  const isSame = before.size === after.size && [...before].every((text) => after.has(text));
  return isSame ? "restated" : "changed";
}

const onlyIn = (one: Entry | undefined, other: Entry | undefined): readonly Members[] =>
  one === undefined
    ? []
    : [...one.leaves]
        .filter(([leaf]) => other?.leaves.has(leaf) !== true)
        .map(([, members]) => members);

/** What is different in `after`, compared with `before`: leaves of two snapshots, in any order. Throws `FORMAT_INVALID` for a leaf that is none. */
export function diffSnapshots(
  before: readonly CanonicalLeaf[],
  after: readonly CanonicalLeaf[],
): SnapshotDifference {
  const [old, now] = [group(before), group(after)];
  const names = [...new Set([...old.keys(), ...now.keys()])].toSorted();
  const keys: KeyDifference[] = [];
  const contested: { doc: string; key: string }[] = [];
  for (const name of names) {
    const [was, is] = [old.get(name), now.get(name)];
    const { doc, key, kind } = (is ?? was) as Entry;
    if (isContested(is)) contested.push({ doc, key });
    const [gone, come] = [onlyIn(was, is), onlyIn(is, was)];
    if (gone.length === 0 && come.length === 0) continue;
    const change = changeOf(was, is);
    keys.push({ doc, key, kind, change, contested: isContested(is), before: gone, after: come });
  }
  return { keys, contested, unchanged: names.length - keys.length };
}
