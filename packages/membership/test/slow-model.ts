// SPDX-License-Identifier: Apache-2.0
/**
 * The rule of validity once more, written from its statement alone and as slowly as it reads: sets of ids,
 * reachability by closure, nothing shared with the evaluator. For histories of some dozens of acts.
 */
import type { Act, Role } from "@ctxmesh/codec";
import type { ActId, DeviceKey } from "@ctxmesh/model";
import { DAY_MS } from "./mesh.ts";

/** An act under its id. */
export interface ModelAct {
  readonly id: ActId;
  readonly act: Act;
}

type Acts = ReadonlyMap<ActId, Act>;

const RANK: Readonly<Record<Role, number>> = { read: 0, append: 1, write: 2, manage: 3 };
const ROUNDS = 8;

const behind = (act: Act): readonly ActId[] =>
  act.authority === null ? act.parents : [...act.parents, act.authority];

/** All ids that an act knows, directly or not. */
export function knows(acts: Acts, id: ActId, seen: Set<ActId> = new Set()): ReadonlySet<ActId> {
  const act = acts.get(id);
  for (const parent of act === undefined ? [] : behind(act)) {
    if (seen.has(parent)) continue;
    seen.add(parent);
    knows(acts, parent, seen);
  }
  return seen;
}

/** Whether an act may be at all, whatever became of its authority. */
export function isPermitted(acts: Acts, act: Act, creators: readonly DeviceKey[]): boolean {
  if (act.kind === "revoke" && creators.includes(act.device)) return false;
  if (act.authority === null) return creators.includes(act.author);
  const by = acts.get(act.authority);
  if (by?.kind === "grant") {
    const inTime = by.notBefore <= act.time && act.time <= by.notAfter;
    return by.device === act.author && by.role === "manage" && inTime;
  }
  if (by?.kind === "invite") {
    return (
      act.kind === "grant" &&
      by.key === act.author &&
      by.service === act.service &&
      RANK[act.role] <= RANK[by.role] &&
      act.time <= by.notAfter &&
      act.notAfter - act.notBefore <= 30 * DAY_MS &&
      act.notAfter - act.time <= 30 * DAY_MS
    );
  }
  return false;
}

/** The acts that a replica keeps: permitted ones of which it has everything that they know. */
export function kept(all: readonly ModelAct[], creators: readonly DeviceKey[]): Acts {
  const acts = new Map<ActId, Act>();
  for (let before = -1; before < acts.size;) {
    before = acts.size;
    for (const { id, act } of all) {
      if (!behind(act).every((parent) => acts.has(parent))) continue;
      if (isPermitted(acts, act, creators)) acts.set(id, act);
    }
  }
  return acts;
}

/** The ids of the acts that count. */
export function validIds(acts: Acts): ReadonlySet<ActId> {
  const ids = [...acts.keys()];
  const known = new Map(ids.map((id) => [id, knows(acts, id)]));
  const strikes = (r: ActId, a: ActId): boolean => {
    const revocation = acts.get(r);
    return (
      r !== a &&
      revocation?.kind === "revoke" &&
      acts.get(a)?.author === revocation.device &&
      known.get(r)?.has(a) === false
    );
  };
  const verdict = new Map<ActId, boolean>();
  const isRevocation = (id: ActId): boolean => acts.get(id)?.kind === "revoke";
  const isStruck = (id: ActId): boolean =>
    ids.some((r) => verdict.get(r) === true && isRevocation(r) && strikes(r, id));
  const restsOnInvalid = (id: ActId): boolean => {
    const authority = acts.get(id)?.authority ?? null;
    return authority !== null && verdict.get(authority) === false;
  };

  function judge(part: readonly ActId[], round: number): void {
    const dependsOn = closure(part, (id, on) => acts.get(id)?.authority === on || strikes(on, id));
    const open = new Set(part);
    while (open.size > 0) {
      const group = nextGroup(open, dependsOn);
      for (const id of group) open.delete(id);
      let left = group;
      for (let before = -1; before !== left.length;) {
        before = left.length;
        for (const id of left) if (isStruck(id) || restsOnInvalid(id)) verdict.set(id, false);
        left = left.filter((id) => !verdict.has(id));
      }
      if (left.length < group.length && round < ROUNDS) judge(left, round + 1);
      else settle(left);
    }
  }

  function settle(group: readonly ActId[]): void {
    for (const id of group) if (isRevocation(id)) verdict.set(id, true);
    let rest = group.filter((id) => !isRevocation(id));
    for (const id of rest) if (isStruck(id)) verdict.set(id, false);
    for (let before = -1; before !== rest.length;) {
      before = rest.length;
      rest = rest.filter((id) => !verdict.has(id));
      for (const id of rest) if (restsOnInvalid(id)) verdict.set(id, false);
    }
    for (const id of rest) if (!verdict.has(id)) verdict.set(id, true);
  }

  judge(ids, 0);
  return new Set(ids.filter((id) => verdict.get(id) === true));
}

type Relation = (id: ActId, on: ActId) => boolean;

/** The transitive closure of a relation (Warshall). */
function closure(part: readonly ActId[], related: Relation): Relation {
  const rows = new Map(part.map((id) => [id, new Set(part.filter((on) => related(id, on)))]));
  for (const middle of part) {
    for (const row of rows.values()) {
      if (row.has(middle)) for (const on of rows.get(middle) ?? []) row.add(on);
    }
  }
  return (id, on) => rows.get(id)?.has(on) === true;
}

/** Acts that depend on each other and, outside of themselves, on nothing that is open. */
function nextGroup(open: ReadonlySet<ActId>, dependsOn: Relation): readonly ActId[] {
  for (const id of open) {
    const group = [...open].filter((on) => on === id || (dependsOn(id, on) && dependsOn(on, id)));
    const isFirst = [...open].every((on) => group.includes(on) || !dependsOn(id, on));
    if (isFirst) return group;
  }
  throw new Error("a cycle outside of a group");
}
