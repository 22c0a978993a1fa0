// SPDX-License-Identifier: Apache-2.0
import type { DeviceKey, HeaderHash, SignatureVerifier } from "@ctxmesh/model";
import type { CheckContext } from "./checks.ts";
import type { Core } from "./core.ts";
import type { Group } from "./group.ts";
import { chainView } from "./state.ts";

/** What a batch is checked against: what the replica has, and the group that the batch would join. */
export interface CheckView {
  readonly core: Core;
  readonly self: DeviceKey;
  readonly group: Group;
  readonly isHeld: (hash: HeaderHash) => boolean;
  readonly verifier: SignatureVerifier;
  /** The local wall clock, Unix milliseconds. */
  readonly nowMs: number;
}

async function waitFor(
  hash: HeaderHash,
  { core, group }: CheckView,
): Promise<HeaderHash | "later" | undefined> {
  const { log, records, state, voidHeaders } = core;
  if (group.isRecent(hash)) return undefined;
  if (state.waiting.has(hash)) return "later";
  if (await log.has(hash)) return undefined;
  return voidHeaders.waitFor(hash, records, log, chainView(records, group));
}

/** The context of the checks over a replica as it is now. */
export function checkContext(view: CheckView): CheckContext {
  const { core, self, group, isHeld, verifier, nowMs } = view;
  const { log, records, state } = core;
  return {
    records,
    self,
    verifier,
    nowMs,
    isHeld,
    head: (replica, incarnation) => group.head(replica, incarnation),
    has: async (hash) => group.isRecent(hash) || (await log.has(hash)),
    waitFor: async (hash) => waitFor(hash, view),
    hashAt: async (replica, incarnation, seq) =>
      group.hashAt(replica, incarnation, seq) ?? (await log.hashAt(replica, incarnation, seq)),
    prunedSeq: (replica, incarnation) => log.prunedSeq(replica, incarnation),
    stored: async (hash) => group.batch(hash) ?? (await log.byHash(hash)),
    bytesOf: (doc) => state.documents.bytesOf(doc),
    openRich: state.documents.openRich(chainView(records, group)),
  };
}
