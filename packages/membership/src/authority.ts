// SPDX-License-Identifier: Apache-2.0
/**
 * Whether an act is within the authority that it names. The answer depends on the act, on the act that it
 * names and on the genesis alone, all fixed by hashes, so it is the same everywhere and for good; an act
 * without authority is never kept.
 */
import type { Act, Genesis, GrantAct, InviteAct } from "@ctxmesh/codec";
import { allows } from "./roles.ts";
import { DEFAULT_GRANT_MS } from "./space.ts";

function underGrant(act: Act, grant: GrantAct): string | undefined {
  if (grant.device !== act.author) return "its authority is a grant of another device";
  if (!allows(grant.role, "manage")) return "its authority is a grant without the role manage";
  if (act.time < grant.notBefore || act.time > grant.notAfter) {
    return "its time is outside its authority's";
  }
  return undefined;
}

function underInvite(act: Act, invite: InviteAct): string | undefined {
  if (invite.key !== act.author) return "its authority is an invite for another key";
  if (act.kind !== "grant") return "an invite allows grants only";
  if (act.time > invite.notAfter) return "its authority, an invite, has ended by then";
  if (act.service !== invite.service) return "the invite is for another service";
  if (!allows(invite.role, act.role)) return "the invite is for a lower role";
  // The second bound keeps an invite from granting a future without end, month by month.
  const longest = DEFAULT_GRANT_MS;
  if (act.notAfter - act.notBefore > longest || act.notAfter > act.time + longest) {
    return "it grants more than 30 days by an invite";
  }
  return undefined;
}

/** Why an act is not within its authority, `undefined` where there is none or it is not known; or nothing. */
export function authorityProblem(
  genesis: Genesis,
  act: Act,
  authority: Act | undefined,
): string | undefined {
  if (act.kind === "revoke" && genesis.creators.includes(act.device)) {
    return "a creator can't be revoked";
  }
  if (act.authority === null) {
    return genesis.creators.includes(act.author) ? undefined : "its author is no creator";
  }
  if (authority?.kind === "grant") return underGrant(act, authority);
  if (authority?.kind === "invite") return underInvite(act, authority);
  return "its authority is neither a grant nor an invite";
}
