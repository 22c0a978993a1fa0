// SPDX-License-Identifier: Apache-2.0
/** Which trust root is good: the one pinned, and each next version that its keys have signed. */
import {
  assertNotRolledBack,
  parseTrustRoot,
  trustRootDigest,
  updateTrustRoot,
} from "@ctxmesh/ledger";
import type { Checked, TrustRoot } from "@ctxmesh/ledger";

/** A trust root with the text of its file. */
export interface RootFile {
  readonly root: TrustRoot;
  readonly text: string;
}

/**
 * The roots of files in order of version, one at least, each the update of the one before. Whether the first is the right one is for {@link checkSeen}, or whoever pinned it.
 * Throws as `parseTrustRoot` and `updateTrustRoot` do.
 */
export function followRoots(texts: readonly string[]): readonly RootFile[] {
  const files: RootFile[] = [];
  for (const text of texts) {
    const before = files.at(-1);
    const root = before === undefined ? parseTrustRoot(text) : updateTrustRoot(before.root, text);
    files.push({ root, text });
  }
  return files;
}

/**
 * Refuses roots that do not go on from the one that was seen before: an older one, another one of its version, and a newer one that its keys have not
 * signed as an update. Throws `POLICY_REFUSED`, `SIGNATURE_INVALID`.
 */
export function checkSeen(files: readonly RootFile[], seen: TrustRoot | undefined): Checked<void> {
  const newest = files.at(-1) as RootFile;
  const now = `version ${String(newest.root.version)}`;
  if (seen === undefined) return [undefined, `${now}, the first seen here`];
  const known = { version: seen.version, digest: trustRootDigest(seen) };
  const next = files.findIndex(({ root }) => root.version > seen.version);
  const first = files[next];
  if (first === undefined || next > 0) {
    // The last one that is not newer: where a newer one follows it, both are of one version.
    assertNotRolledBack((files[next - 1] ?? newest).root, known);
  } else {
    updateTrustRoot(seen, first.text);
  }
  const isSame = newest.root.version === seen.version;
  return [
    undefined,
    isSame ? `${now}, as before` : `${now}, goes on from version ${String(seen.version)}`,
  ];
}
