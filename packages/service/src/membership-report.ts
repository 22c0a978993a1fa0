// SPDX-License-Identifier: Apache-2.0
/** Who belongs to a space, in a form for people and scripts. Pure: a function of what is known and the time. */
import { isWelcome, roleAt } from "@ctxmesh/membership";
import type { KnownAct, Space } from "@ctxmesh/membership";
import { hlcToMs } from "@ctxmesh/model";
import type {
  ChainReport,
  DeviceKey,
  FilteredActReport,
  GrantReport,
  InviteReport,
  MemberReport,
  MemberState,
  MembershipReport,
  MembershipSummary,
  RevocationReport,
} from "@ctxmesh/model";
import type { ChainStatus, Head } from "@ctxmesh/replica";

/** How long before its end a grant counts as expiring. */
const EXPIRING_MS = 7 * 86_400_000;

type ActOf<Kind extends KnownAct["act"]["kind"]> = Extract<KnownAct["act"], { kind: Kind }>;

/** Acts of a kind that are not filtered, parents before children. */
function* validActs<Kind extends KnownAct["act"]["kind"]>(
  { acts }: Space,
  kind: Kind,
): Generator<{ readonly id: string; readonly act: ActOf<Kind> }, void, undefined> {
  for (const { id, act, valid } of acts) {
    if (valid && act.kind === kind) yield { id, act: act as ActOf<Kind> };
  }
}

/** Grants by device. Those of revoked devices are among them: they were issued, and now have no effect. */
function grantsOf(space: Space): ReadonlyMap<DeviceKey, readonly GrantReport[]> {
  const invites = new Set(Array.from(validActs(space, "invite"), ({ act }) => act.key));
  const grants = new Map<DeviceKey, GrantReport[]>();
  for (const { id, act } of validActs(space, "grant")) {
    const { device, index, service, role, notBefore, notAfter, author } = act;
    const invited = invites.has(author);
    const grant = { act: id, index, service, role, notBefore, notAfter, by: author, invited };
    grants.set(device, [...(grants.get(device) ?? []), grant]);
  }
  for (const list of grants.values()) list.sort((a, b) => a.notBefore - b.notBefore);
  return grants;
}

function stateOf(revoked: boolean, grants: readonly GrantReport[], nowMs: number): MemberState {
  if (revoked) return "revoked";
  const until = Math.max(...grants.map(({ notAfter }) => notAfter));
  if (grants.every(({ notBefore }) => notBefore > nowMs)) return "upcoming";
  if (until < nowMs) return "expired";
  return until - nowMs < EXPIRING_MS ? "expiring" : "active";
}

/** The grant that covers a moment, else the next one to begin, else the last. */
function nearest(grants: readonly GrantReport[], nowMs: number): GrantReport | undefined {
  return (
    grants.findLast(({ notBefore, notAfter }) => notBefore <= nowMs && nowMs <= notAfter) ??
    grants.find(({ notBefore }) => notBefore > nowMs) ??
    grants.at(-1)
  );
}

/** The members of a space at a moment, by index. */
export function reportMembers(space: Space, nowMs: number): readonly MemberReport[] {
  const members: MemberReport[] = [];
  for (const [device, all] of grantsOf(space)) {
    const one = nearest(all, nowMs);
    if (one === undefined) continue;
    members.push({
      device,
      index: Math.min(...all.map(({ index }) => index)),
      service: one.service,
      role: roleAt(space, device, nowMs) ?? one.role,
      state: stateOf(space.revocations.has(device), all, nowMs),
      until: Math.max(...all.map(({ notAfter }) => notAfter)),
      grants: all,
    });
  }
  return members.toSorted((a, b) => a.index - b.index || (a.device < b.device ? -1 : 1));
}

function reportInvites(space: Space, nowMs: number): readonly InviteReport[] {
  const joined = new Map<DeviceKey, Set<DeviceKey>>();
  for (const { act } of validActs(space, "grant")) {
    joined.set(act.author, (joined.get(act.author) ?? new Set<DeviceKey>()).add(act.device));
  }
  return Array.from(validActs(space, "invite"), ({ act }) => ({
    key: act.key,
    service: act.service,
    role: act.role,
    notAfter: act.notAfter,
    by: act.author,
    state: space.revocations.has(act.key)
      ? "revoked"
      : isWelcome(space, act.key, nowMs)
        ? "open"
        : "expired",
    joined: [...(joined.get(act.key) ?? [])],
  }));
}

const reportRevocations = ({ revocations }: Space): readonly RevocationReport[] =>
  Array.from(revocations.values(), ({ device, time, reason, by, cut }) => ({
    device,
    time,
    reason,
    by,
    kept: cut.size,
  }));

const reportFiltered = ({ acts }: Space): readonly FilteredActReport[] =>
  acts
    .filter(({ valid }) => !valid)
    .map(({ id, act, problem = "" }) => ({
      act: id,
      kind: act.kind,
      author: act.author,
      time: act.time,
      problem,
    }));

/** What counts of each chain; `heads` are those of the same moment. */
export function reportChains(
  chains: readonly ChainStatus[],
  heads: readonly Head[],
): readonly ChainReport[] {
  const byChain = new Map(heads.map((head) => [head.replica + head.incarnation, head]));
  return chains.map(({ replica, incarnation, seq, limit, void: discarded, reason }) => {
    const head = byChain.get(replica + incarnation);
    return {
      device: replica,
      incarnation,
      seq,
      ...(head === undefined ? {} : { hash: head.hash, lastMs: hlcToMs(head.hlc) }),
      ...(limit === undefined ? {} : { limit }),
      void: discarded,
      ...(reason === undefined ? {} : { reason }),
    };
  });
}

/** The whole report. `digest` is over all acts and forks, hex. */
export function reportMembership(
  space: Space,
  known: { readonly digest: string; readonly chains: readonly ChainReport[] },
  nowMs: number,
): MembershipReport {
  return {
    space: space.id,
    name: space.genesis.name,
    creators: space.genesis.creators,
    digest: known.digest,
    policyEpoch: space.policy.epoch,
    members: reportMembers(space, nowMs),
    revocations: reportRevocations(space),
    invites: reportInvites(space, nowMs),
    filtered: reportFiltered(space),
    chains: known.chains,
  };
}

/** Membership in a node's status, for the device that it runs as. */
export function summarizeMembership(
  space: Space,
  known: {
    readonly device: DeviceKey;
    readonly digest: string;
    readonly forked: readonly DeviceKey[];
    readonly chains: readonly ChainStatus[];
  },
  nowMs: number,
): MembershipSummary {
  const grants = grantsOf(space);
  const own = grants.get(known.device) ?? [];
  const revoked = [...grants.keys()].filter((device) => space.revocations.has(device)).length;
  const one = nearest(own, nowMs);
  return {
    digest: known.digest,
    members: grants.size - revoked,
    revoked,
    forks: known.forked.length,
    ownFork: known.forked.includes(known.device),
    voidBatches: known.chains.reduce((sum, chain) => sum + chain.void, 0),
    ...(one === undefined
      ? {}
      : {
          grant: {
            state: stateOf(space.revocations.has(known.device), own, nowMs),
            role: roleAt(space, known.device, nowMs) ?? one.role,
            until: Math.max(...own.map(({ notAfter }) => notAfter)),
          },
        }),
  };
}
