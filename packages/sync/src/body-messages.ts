// SPDX-License-Identifier: Apache-2.0
/**
 * What a replica with a subscription says of it, and how bodies are had that were left out.
 *
 * ```
 * subscription = bstr: CBOR { ? docs: [ text ... ], ? keys: [ text ... ], ? models: [ text ... ], ? maxAgeMs: uint }     each list sorted
 *
 * [15, [ [ header hash(32), section: uint ] ... ], only: subscription or null]   wanted   bodies that the sender lacks; 256 at most. `only` narrows
 *                                                                                         them to facts of which it wants some
 * [16, [ [ header hash(32), section: uint, body: bstr or null ] ... ]]           bodies   the answer: those that are here, some 256 KiB of them in
 *                                                                                         the order of the wish; null: nothing in it is of `only`
 * ```
 *
 * A body is signed for by the header that names its hash, so it does not matter who sends it. One wish is outstanding at a time.
 */
import { decodeCbor, encodeCbor } from "@ctxmesh/codec";
import type { CborValue } from "@ctxmesh/codec";
import { LIMITS, fromHex, parseHeaderHash, parseSubscription, toHex } from "@ctxmesh/model";
import type { Subscription } from "@ctxmesh/model";
import type { FoundBody, SectionRef } from "@ctxmesh/replica";
import { arrayOf, bytesOf, refuse, tupleOf, uintOf } from "./message-parts.ts";

/** The wish for bodies. */
export interface WantedMessage {
  readonly type: "wanted";
  readonly wanted: readonly SectionRef[];
  readonly only: Subscription | undefined;
}

/** The answer to a wish. */
export interface BodiesMessage {
  readonly type: "bodies";
  readonly bodies: readonly FoundBody[];
}

/** Bodies in one wish. */
export const MAX_BODIES = 256;
/** The longest subscription: its rules, and what stands around each. */
const SUBSCRIPTION_BYTES: number = 64 + LIMITS.subscriptionRules * (LIMITS.keyBytes + 8);

/** A subscription as an item; null for everything. */
export const subscriptionItem = (subscription: Subscription | undefined): CborValue =>
  subscription === undefined ? null : encodeCbor({ ...subscription });

/** The subscription in an item. Throws `PROTOCOL_VIOLATION`, `INPUT_INVALID`, `LIMIT_EXCEEDED`, `FORMAT_INVALID`. */
export function subscriptionOf(item: CborValue | undefined): Subscription | undefined {
  if (item === null) return undefined;
  const bytes = bytesOf(item);
  const parsed = parseSubscription(decodeCbor(bytes, SUBSCRIPTION_BYTES, "subscription"));
  const again = encodeCbor({ ...parsed });
  if (toHex(again) !== toHex(bytes)) refuse("has a subscription that is not in order");
  return parsed;
}

const refItem = ({ hash, section }: SectionRef): CborValue[] => [fromHex(hash), section];

function refOf([hash, section]: readonly CborValue[]): SectionRef {
  const at = uintOf(section, 0);
  if (at >= LIMITS.sectionsPerBatch) refuse("names a section that no batch has");
  return { hash: parseHeaderHash(toHex(bytesOf(hash, 32))), section: at };
}

/** The items of a wish behind its type. */
export const wantedItems = ({ wanted, only }: WantedMessage): CborValue[] => [
  wanted.map(refItem),
  subscriptionItem(only),
];

/** Parses {@link wantedItems}. Throws as {@link subscriptionOf}. */
export const wantedOf = (
  wanted: CborValue | undefined,
  only: CborValue | undefined,
): WantedMessage => ({
  type: "wanted",
  wanted: arrayOf(wanted, MAX_BODIES).map((item) => refOf(tupleOf(item, 2))),
  only: subscriptionOf(only),
});

/** The items of an answer behind its type. */
export const bodiesItems = ({ bodies }: BodiesMessage): CborValue[] => [
  bodies.map(({ body, ...ref }) => [...refItem(ref), body]),
];

/** Parses {@link bodiesItems}. Throws `PROTOCOL_VIOLATION`, `INPUT_INVALID`. */
export const bodiesOf = (bodies: CborValue | undefined): BodiesMessage => ({
  type: "bodies",
  bodies: arrayOf(bodies, MAX_BODIES).map((item) => {
    const parts = tupleOf(item, 3);
    return { ...refOf(parts), body: parts[2] === null ? null : bytesOf(parts[2]) };
  }),
});
