// SPDX-License-Identifier: Apache-2.0
/**
 * I10: a minute after healing, nothing counts anywhere of what a revoked device wrote outside of what its revocations let stand.
 * The model is the acts themselves: of each chain the lowest position that any of them names, nothing of a chain that one leaves out.
 */
import type { RevokeAct } from "@ctxmesh/codec";
import type { DeviceKey } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import type { Checker, World } from "../world.ts";
import { membersOf, upOf } from "./chronicle.ts";
import type { Chronicle } from "./chronicle.ts";

const WITHIN_MS = 60_000;
/** Of the store keys of acts. */
const ACT_TAG = "06";

/** By act id, as any node knew them; creators alone are sure to be obeyed. */
type Acts = Map<string, RevokeAct>;

const revokedBy = (acts: Acts): ReadonlySet<DeviceKey> =>
  new Set([...acts.values()].map(({ device }) => device));

/** Whether a position of a chain stands under all acts about its device. */
const stands = (acts: Acts, device: DeviceKey, incarnation: string, seq: number): boolean =>
  [...acts.values()]
    .filter((act) => act.device === device)
    .every(({ heads }) =>
      heads.some((head) => head.incarnation === incarnation && head.seq >= seq),
    );
/** What is shown of a revoked device's facts comes from batches that stand. */
function checkFacts(id: string, replica: Replica, acts: Acts, chronicle: Chronicle): void {
  const out = revokedBy(acts);
  const standing = new Map<string, number>();
  for (const { header } of chronicle.all()) {
    const { replica: device, incarnation, seq, hlc } = header;
    if (!out.has(device) || !stands(acts, device, incarnation, seq)) continue;
    const chain = device + incarnation;
    standing.set(chain, Math.max(standing.get(chain) ?? 0, hlc));
  }
  for (const { doc, key, writer } of replica.list({ limit: 10_000 })) {
    if (!out.has(writer)) continue;
    for (const { writer: by, incarnation, hlc } of replica.candidates(doc, key)) {
      if (!out.has(by) || hlc <= (standing.get(by + incarnation) ?? 0)) continue;
      throw new Error(`${id} shows ${doc} ${key} of ${by.slice(0, 8)}, which is revoked`);
    }
  }
}

/** Makes the checker. */
export function createRevocationChecker(chronicle: Chronicle): Checker {
  const acts: Acts = new Map();
  const looked = new WeakSet<object>();
  let dueMs = Number.POSITIVE_INFINITY;

  const learn = (world: World): void => {
    for (const { replica } of upOf(world)) {
      const { space } = replica;
      if (looked.has(space)) continue;
      looked.add(space);
      for (const { id, act } of space.acts) {
        if (act.kind === "revoke" && act.authority === null) acts.set(id, act);
      }
    }
  };
  /** What was on one disk only, and rotted there or was rolled back, nobody can know of. */
  const forgetLost = (world: World): void => {
    for (const id of acts.keys()) {
      const key = Buffer.from(`${ACT_TAG}${id}`, "hex").toString("latin1");
      if (!world.nodes.some(({ image }) => image.get(key)?.damaged === false)) acts.delete(id);
    }
  };
  const check = (world: World): void => {
    dueMs = Number.POSITIVE_INFINITY;
    const out = revokedBy(acts);
    for (const { node, replica } of membersOf(world)) {
      for (const { replica: device, incarnation, seq } of replica.heads()) {
        if (!out.has(device) || stands(acts, device, incarnation, seq)) continue;
        const chain = `${device.slice(0, 8)} ${incarnation.slice(0, 8)}`;
        throw new Error(`${node.id} lets ${String(seq)} of ${chain} count, which is revoked`);
      }
      checkFacts(node.id, replica, acts, chronicle);
    }
  };
  return {
    name: "I10",
    onEvent(event, world) {
      if (event.type === "records" || event.type === "opened") learn(world);
      else if (event.type === "healing") {
        forgetLost(world);
        dueMs = world.nowMs + WITHIN_MS;
      } else if (event.type === "settled" && world.nowMs >= dueMs) check(world);
    },
    atEnd: check,
  };
}
