// SPDX-License-Identifier: Apache-2.0
/** What goes first over a link: classes of messages, and what each may count on while others are sent. */
import { batchLane, batchPlace } from "@ctxmesh/codec";
import type { BatchPlace } from "@ctxmesh/codec";
import type { LinkClass } from "@ctxmesh/model";
import type { SyncMessage } from "./messages.ts";

/** In the order in which they are sent. */
export const LINK_CLASSES: readonly LinkClass[] = ["control", "high", "normal", "low"];

/**
 * Bytes that a class with something to send gets for each byte of others: a quarter of all for `high`, an eighth for `normal`, a sixteenth
 * for `low`, however much stands before it.
 */
export const LINK_SHARES: Readonly<Record<LinkClass, number>> = {
  control: 1,
  high: 1 / 3,
  normal: 1 / 7,
  low: 1 / 15,
};

/** The same batch goes to many peers. */
const places = new WeakMap<Uint8Array, BatchPlace>();

/** Where a batch that was applied here stands. */
export function placeOf(batch: Uint8Array): BatchPlace {
  const place = places.get(batch) ?? batchPlace(batch);
  places.set(batch, place);
  return place;
}

/** The class of a batch. */
export const classOfLane = (lane: BatchPlace["lane"]): LinkClass => lane ?? "normal";

/** The last of some classes. */
export const lowestClass = (classes: readonly LinkClass[]): LinkClass =>
  LINK_CLASSES.findLast((name) => classes.includes(name)) ?? "normal";

/** How a message is queued. */
export interface Queued {
  readonly class: LinkClass;
  /** Where its batch stands, if it is a push. */
  readonly push?: BatchPlace;
}

/** The class of a message: that of its batch, or of the least urgent one of an answer; what keeps peers in step goes before all. */
export function queuedAs(message: SyncMessage): Queued {
  if (message.type === "push") {
    const push = placeOf(message.batch);
    return { class: classOfLane(push.lane), push };
  }
  // An empty answer lets the peer go on.
  if (message.type === "batches" && message.batches.length > 0) {
    return {
      class: lowestClass(message.batches.map((batch) => classOfLane(batchLane(batch)))),
    };
  }
  if (message.type === "bodies" && message.bodies.length > 0) return { class: "low" };
  if (message.type === "base-part" && message.base !== undefined) return { class: "low" };
  return { class: "control" };
}
