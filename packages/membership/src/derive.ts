// SPDX-License-Identifier: Apache-2.0
/** What follows from a set of evaluated acts: grants, revocations, invites, policy, heads and digest. */
import type { PolicyAct, RevokeAct, RevokedHead } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { DEFAULT_POLICY } from "@ctxmesh/facts";
import type { Policy } from "@ctxmesh/facts";
import { fromHex, toHex } from "@ctxmesh/model";
import type { ActId, DeviceKey, IncarnationId } from "@ctxmesh/model";
import { namedBy } from "./graph.ts";
import { policyOf } from "./policy-record.ts";
import type { Grant, Invite, KnownAct, PublishedSchema, Revocation, Space } from "./space.ts";

/** What no act changes. */
export type Founding = Pick<Space, "id" | "genesis" | "genesisRecord">;

type With<A> = { readonly id: ActId; readonly act: A };

function append<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

/** What stands of each chain: the lowest position that any of the acts names, nothing of chains that one of them leaves out. */
function cutOf(acts: readonly RevokeAct[]): Revocation["cut"] {
  const named = new Map<IncarnationId, RevokedHead[]>();
  for (const { heads } of acts) {
    for (const head of heads) append(named, head.incarnation, head);
  }
  const cut = new Map<IncarnationId, Pick<RevokedHead, "seq" | "hash">>();
  for (const [incarnation, heads] of [...named].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    if (heads.length < acts.length) continue;
    const [lowest] = heads.toSorted((a, b) => a.seq - b.seq || (a.hash < b.hash ? -1 : 1));
    if (lowest !== undefined) cut.set(incarnation, { seq: lowest.seq, hash: lowest.hash });
  }
  return cut;
}

function revocationOf(
  device: DeviceKey,
  acts: readonly With<RevokeAct>[],
  grants: readonly Grant[],
): Revocation {
  const [earliest] = acts.toSorted((a, b) => a.act.time - b.act.time || (a.id < b.id ? -1 : 1));
  return {
    device,
    time: earliest?.act.time ?? 0,
    reason: earliest?.act.reason ?? "",
    by: [...new Set(acts.map(({ act }) => act.author))].toSorted(),
    cut: cutOf(acts.map(({ act }) => act)),
    grants,
  };
}

function policyFrom(acts: readonly KnownAct[]): Pick<Space, "policy" | "knownEpoch"> {
  let best: With<PolicyAct> | undefined;
  let knownEpoch = DEFAULT_POLICY.epoch;
  for (const { id, act, valid } of acts) {
    if (act.kind !== "policy") continue;
    knownEpoch = Math.max(knownEpoch, act.epoch);
    const better =
      best === undefined ||
      act.epoch > best.act.epoch ||
      (act.epoch === best.act.epoch && id < best.id);
    if (valid && better) best = { id, act };
  }
  const policy: Policy = best === undefined ? DEFAULT_POLICY : policyOf(best.act);
  return { policy, knownEpoch };
}

const schemasFrom = (acts: readonly KnownAct[]): readonly PublishedSchema[] =>
  acts.flatMap(({ id, act, valid }) =>
    valid && act.kind === "schema"
      ? [{ id, entry: act.entry, by: act.author, time: act.time }]
      : [],
  );

function headsOf(acts: readonly KnownAct[]): readonly ActId[] {
  const named = new Set<ActId>();
  for (const { act } of acts) for (const id of namedBy(act)) named.add(id);
  return acts.flatMap(({ id }) => (named.has(id) ? [] : [id])).toSorted();
}

function digestOf(acts: readonly KnownAct[]): string {
  const ids = acts.map(({ id }) => id).toSorted();
  return toHex(sha256(fromHex(ids.join(""))));
}

interface Rights {
  readonly grants: Map<DeviceKey, Grant[]>;
  readonly invites: Map<DeviceKey, Invite>;
  readonly revoked: Map<DeviceKey, With<RevokeAct>[]>;
}

/** Everything that a valid act gives or takes. */
function collect(acts: readonly KnownAct[]): Rights {
  const rights: Rights = { grants: new Map(), invites: new Map(), revoked: new Map() };
  for (const { id, act, valid } of acts) {
    if (!valid) continue;
    const issuer = act.author;
    if (act.kind === "grant") {
      const { device, index, service, role, notBefore, notAfter } = act;
      const grant = { id, device, index, service, role, notBefore, notAfter, issuer };
      append(rights.grants, device, grant);
    } else if (act.kind === "invite") {
      const { key, service, role, notAfter } = act;
      rights.invites.set(key, { id, key, service, role, notAfter, issuer });
    } else if (act.kind === "revoke") {
      append(rights.revoked, act.device, { id, act });
    }
  }
  return rights;
}

/** The space of a founding and its evaluated acts, which are in the order of `Space.acts`. */
export function deriveSpace(founding: Founding, acts: readonly KnownAct[]): Space {
  const { grants, invites, revoked } = collect(acts);
  const revocations = new Map<DeviceKey, Revocation>();
  for (const [device, by] of revoked) {
    revocations.set(device, revocationOf(device, by, grants.get(device) ?? []));
    grants.delete(device);
    invites.delete(device);
  }
  return {
    ...founding,
    ...policyFrom(acts),
    schemas: schemasFrom(acts),
    grants,
    revocations,
    invites,
    acts,
    heads: headsOf(acts),
    digest: digestOf(acts),
  };
}
