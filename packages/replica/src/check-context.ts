// SPDX-License-Identifier: Apache-2.0
import type { Header } from "@ctxmesh/codec";
import type { DeviceKey, HeaderHash, SignatureVerifier } from "@ctxmesh/model";
import type { CheckContext } from "./checks.ts";
import type { Core } from "./core.ts";
import type { Group } from "./group.ts";
import { chainKey } from "./layout.ts";
import type { Records, Standing } from "./records.ts";
import { isExpired } from "./omissions.ts";
import { chainView } from "./state.ts";
import { Trim } from "./trim.ts";
import type { Wants } from "./wants.ts";
import type { ChainView } from "./void-content.ts";

/** What a batch is checked against: what the replica has, and the group that the batch would join. */
export interface CheckView {
  readonly core: Core;
  readonly self: DeviceKey;
  /** What this replica wants of what others write; undefined for everything. */
  readonly wants: Wants | undefined;
  readonly group: Group;
  readonly isHeld: (hash: HeaderHash) => boolean;
  readonly verifier: SignatureVerifier;
  /** The local wall clock, Unix milliseconds. */
  readonly nowMs: number;
}

/** What is known of chains, once the group is in effect. */
const viewOf = ({ core, group }: CheckView): ChainView =>
  chainView({
    records: core.records,
    headers: core.voidHeaders,
    frontier: group,
    voidReason: (chain) =>
      group.voidReason(chain) ??
      core.state.voids.get(chainKey(chain.replica, chain.incarnation))?.reason,
  });

async function waitFor(
  hash: HeaderHash,
  view: ChainView,
  { core, group }: CheckView,
): Promise<HeaderHash | "later" | undefined> {
  const { log, records, state, voidHeaders } = core;
  if (group.isRecent(hash)) return undefined;
  if (state.waiting.has(hash)) return "later";
  if (await log.has(hash)) return undefined;
  const isWaiting = (name: HeaderHash): boolean => state.waiting.has(name);
  return voidHeaders.waitFor(hash, records, log, view, isWaiting);
}

/** A header that is behind a void one of its chain is void, too, whatever it is worth by itself. */
function standingOf(header: Header, hash: HeaderHash, records: Records, view: ChainView): Standing {
  const alone = records.standing(header, hash);
  return alone.kind === "void" || header.seq < view.voidFrom(header)
    ? alone
    : { kind: "void", reason: "behind" };
}

/** The context of the checks over a replica as it is now. */
export function checkContext(view: CheckView): CheckContext {
  const { core, self, wants, group, isHeld, verifier, nowMs } = view;
  const trim = new Trim(wants, self, nowMs);
  const { log, records, state, voidHeaders } = core;
  const chains = viewOf(view);
  return {
    records,
    standing: (header, hash) => standingOf(header, hash, records, chains),
    self,
    verifier,
    nowMs,
    isHeld,
    head: (replica, incarnation) => group.head(replica, incarnation),
    has: async (hash) => group.isRecent(hash) || (await log.has(hash)),
    waitFor: async (hash) => waitFor(hash, chains, view),
    hashAt: async (replica, incarnation, seq) =>
      group.hashAt(replica, incarnation, seq) ?? (await log.hashAt(replica, incarnation, seq)),
    prunedSeq: (replica, incarnation) => log.prunedSeq(replica, incarnation),
    voidHeaderAt: (chain, seq) => voidHeaders.at(chain, seq),
    stored: async (hash) =>
      group.batch(hash) ?? (await log.header(hash)) ?? (await voidHeaders.signed(hash)),
    bytesOf: (doc) => state.documents.bytesOf(doc),
    openRich: state.documents.openRich(chains),
    // Only where content is left out anyway: what a lying writer says of a section's end must not make two replicas differ that hold
    // everything. By the group's time, too: in the order of the log of whoever left it out, what has expired there has expired here.
    mayOmit: (header, section) =>
      trim.mayOmit(header, section) || (trim.isPartial && isExpired(section, group.maxHlc, nowMs)),
    trim,
  };
}
