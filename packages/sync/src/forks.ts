// SPDX-License-Identifier: Apache-2.0
/**
 * Finding where a chain forks. When a remote's head stands at the same position as ours with another hash, one
 * batch of its branch is pulled at a time: downward from the head in doubling steps until one is ours as well,
 * then by halves between the two. The replica turns the first that differs into a proof, and each lower one into a
 * better proof, so both ends know the lowest fork after O(log n) batches, however long the branches are.
 *
 * Which positions differ is taken from what became of the batches and not from our heads, since a proof takes
 * effect only when it is durable.
 */
import type { ChainSpan } from "@ctxmesh/replica";
import { chainKey, isSameHead } from "./chain-map.ts";
import type { ChainHead, ChainSeq } from "./messages.ts";

/** Batches pulled of one chain in one session to find forks; two for each bit of a position is what it takes. */
export const MAX_PROBES = 128;
/** Chains probed by one pull. */
export const MAX_PROBED_CHAINS = 64;

/** The search in one chain. Positions up to `same` are known to be equal, the first fork is at or below `differs`. */
export interface Walk {
  /** The head that it is about; nothing is searched twice for the same one. */
  readonly claim: ChainHead;
  readonly same: number;
  readonly differs: number;
  /** How far below `differs` the next probe goes while nothing equal was found. */
  readonly stride: number;
  /** Probes so far, over all claims. */
  readonly probes: number;
  readonly over: boolean;
}

/** Searches by chain. */
export type Walks = ReadonlyMap<string, Walk>;

/** A batch of an answer: whether it is the one that we have at its position, or contradicts that; undefined: neither. */
export interface Settled extends ChainSeq {
  readonly same: boolean | undefined;
}

/** Begins, or goes on with, the search in each chain of `claims`: heads of the remote that contradict ours. */
export function openWalks(walks: Walks, claims: readonly ChainHead[]): Walks {
  const fresh = claims.filter((claim) => !isSameHead(claim, walks.get(chainKey(claim))?.claim));
  if (fresh.length === 0) return walks;
  const next = new Map(walks);
  for (const claim of fresh) {
    const known = next.get(chainKey(claim));
    const start = { claim, same: 0, differs: claim.seq, stride: 1, over: false };
    // What was found equal stays so, unless the remote has lied; then nothing it said counts.
    const goesOn = known?.over === false && known.same < claim.seq;
    next.set(
      chainKey(claim),
      goesOn
        ? { ...known, claim, differs: Math.min(known.differs, claim.seq) }
        : { ...start, probes: known?.probes ?? 0 },
    );
  }
  return next;
}

/** The next position to probe, if there is one. */
function probeOf({ same, differs, stride, probes, over }: Walk): number | undefined {
  if (over || differs <= same || probes >= MAX_PROBES) return undefined;
  return same === 0 ? Math.max(1, differs - stride + 1) : same + Math.ceil((differs - same) / 2);
}

/** The next probes, each a span of one batch; searches that have nothing left to ask for are over. */
export function planProbes(
  walks: Walks,
  said: (chain: string) => ChainHead | undefined,
  headOf: (chain: ChainHead) => ChainHead | undefined,
): { readonly walks: Walks; readonly probes: readonly ChainSpan[] } {
  const probes: ChainSpan[] = [];
  const next = new Map(walks);
  for (const [chain, walk] of walks) {
    if (walk.over) continue;
    const ours = headOf(walk.claim);
    const agreed = ours !== undefined && isSameHead(ours, said(chain));
    const lowered = { ...walk, differs: Math.min(walk.differs, ours?.seq ?? 0) };
    const seq = agreed ? undefined : probeOf(lowered);
    if (seq === undefined) {
      next.set(chain, { ...lowered, over: true });
    } else if (probes.length < MAX_PROBED_CHAINS) {
      const { replica, incarnation } = walk.claim;
      probes.push({ replica, incarnation, from: seq, to: seq });
      next.set(chain, { ...lowered, probes: walk.probes + 1 });
    }
  }
  return { walks: next, probes };
}

/** What the answer to some probes says. One that settles nothing ends the searches that it was for. */
export function settleProbes(
  walks: Walks,
  probes: readonly ChainSpan[],
  settled: readonly Settled[],
): Walks {
  const next = new Map(walks);
  if (settled.every(({ same }) => same === undefined)) {
    for (const probe of probes) {
      const walk = next.get(chainKey(probe));
      if (walk !== undefined) next.set(chainKey(probe), { ...walk, over: true });
    }
    return next;
  }
  for (const { seq, same, ...chain } of settled) {
    const walk = next.get(chainKey(chain));
    if (walk === undefined || same === undefined) continue;
    next.set(
      chainKey(chain),
      same
        ? { ...walk, same: Math.max(walk.same, seq) }
        : { ...walk, differs: Math.min(walk.differs, seq - 1), stride: walk.stride * 2 },
    );
  }
  return next;
}
