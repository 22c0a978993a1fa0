// SPDX-License-Identifier: Apache-2.0
import { hlcToMs } from "@ctxmesh/model";
import type { DeviceKey, Hlc, IncarnationId } from "@ctxmesh/model";
import type { FactRecord } from "./frame.ts";

/** One incarnation of one writer: the owner of a sequence of records. */
export interface ChainId {
  readonly writer: DeviceKey;
  readonly incarnation: IncarnationId;
}

/**
 * One writer's newest statement about a key; or, with `retract`, its newest ruling on another
 * writer's statements. A slot belongs to the device, across its incarnations.
 */
export interface Slot extends ChainId, FactRecord {}

/** A total order of the slots of one key: HLC, then writer, then incarnation. */
export function isNewer(a: Slot, b: Slot): boolean {
  if (a.hlc !== b.hlc) return a.hlc > b.hlc;
  if (a.writer !== b.writer) return a.writer > b.writer;
  return a.incarnation > b.incarnation;
}

/** Unix milliseconds from which a slot no longer counts; Infinity without a ttl. */
export const expiryMs = (slot: Slot): number =>
  slot.ttlMs === undefined ? Infinity : hlcToMs(slot.hlc) + slot.ttlMs;

/** Whether a slot's ttl has run out at `asOfMs` (Unix milliseconds). */
export const isExpired = (slot: Slot, asOfMs: number): boolean => expiryMs(slot) <= asOfMs;

/** A retraction: statements of `writer` on the same key up to `upTo` do not count. */
export interface Retraction {
  readonly writer: DeviceKey;
  readonly upTo: Hlc;
  /** Why, for people; not empty. */
  readonly reason: string;
}
