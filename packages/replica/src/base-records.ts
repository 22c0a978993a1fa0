// SPDX-License-Identifier: Apache-2.0
/**
 * Whether what was judged by some records is judged the same by more of them. Acts name what their authors knew, so
 * a few ids say which acts there were: most that came later grant something to somebody new and change nothing of the past.
 */
import type { Act } from "@ctxmesh/codec";
import { addActs, openSpace } from "@ctxmesh/membership";
import type { KnownAct } from "@ctxmesh/membership";
import type { ActId, DeviceKey, SignatureVerifier } from "@ctxmesh/model";
import type { Records } from "./records.ts";

const namedBy = ({ authority, parents }: Act): readonly ActId[] =>
  authority === null ? parents : [authority, ...parents];

/** The acts with these ids and all that they name; undefined when one of them is not known. */
function closureOf(
  ids: readonly ActId[],
  known: ReadonlyMap<ActId, KnownAct>,
): Set<ActId> | undefined {
  const closure = new Set(ids);
  for (const id of closure) {
    const found = known.get(id);
    if (found === undefined) return undefined;
    for (const name of namedBy(found.act)) closure.add(name);
  }
  return closure;
}

/**
 * Why what was judged by the acts with these ids, and all that they name, may be judged otherwise by `records`; undefined
 * when it is not, as far as acts tell: `counted` are the devices of which something counted. What a revocation or a proof cuts off, the chains tell.
 */
export function whyJudgedOtherwise(
  ids: readonly ActId[],
  counted: ReadonlySet<DeviceKey>,
  { space }: Records,
  verifier: SignatureVerifier,
): string | undefined {
  const known = new Map(space.acts.map((act) => [act.id, act]));
  const closure = closureOf(ids, known);
  if (closure === undefined) return "it was judged by acts that are not known here";
  if (closure.size === space.acts.length) return undefined;
  const signed = space.acts.filter(({ id }) => closure.has(id)).map(({ record }) => record);
  const founding = openSpace(space.genesisRecord, verifier);
  const { space: before } = addActs(founding, signed, verifier, Number.POSITIVE_INFINITY);
  if (before.acts.some(({ id, valid }) => known.get(id)?.valid !== valid)) {
    return "acts that it was judged by have come to stand, or stand no more";
  }
  const struck = space.acts.some(
    ({ id, act, valid }) =>
      !valid && !closure.has(id) && act.kind === "grant" && counted.has(act.device),
  );
  return struck ? "an act without effect speaks of what counted" : undefined;
}
