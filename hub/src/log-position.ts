// SPDX-License-Identifier: Apache-2.0
/**
 * How far a hub has got in the log that it shares with others.
 *
 * Store key of the hub: 0x25 -> position(u64) || anchor(u64) || id of the record at the anchor (32 bytes). Up to the position everything is
 * here; the anchor is the last that was read, or appended by this hub. The record is there once all that the store had before it was given an engine is in the
 * shared log, too, and goes when the hub starts without one.
 */
import type { EngineRecord, Store } from "@ctxmesh/model";

const KEY = Uint8Array.of(0x25);
const POSITION_BYTES = 8;
const ID_BYTES = 32;

/** A record of the shared log, by which it is known again. */
export type Anchor = Pick<EngineRecord, "position" | "id">;

/** How far a hub has got. */
export interface LogPosition {
  /** Up to here everything is in the store. */
  readonly position: number;
  /** The last record that was read or appended; undefined before the first. */
  readonly anchor: Anchor | undefined;
}

/** What a store says of it; undefined where there is nothing. */
export async function readPosition(store: Pick<Store, "get">): Promise<LogPosition | undefined> {
  const bytes = await store.get(KEY);
  if (bytes?.length !== 2 * POSITION_BYTES + ID_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const at = Number(view.getBigUint64(POSITION_BYTES));
  return {
    position: Number(view.getBigUint64(0)),
    anchor: at === 0 ? undefined : { position: at, id: bytes.slice(2 * POSITION_BYTES) },
  };
}

/** Writes it. */
export async function writePosition(
  store: Pick<Store, "write">,
  { position, anchor }: LogPosition,
): Promise<void> {
  const value = new Uint8Array(2 * POSITION_BYTES + ID_BYTES);
  const view = new DataView(value.buffer);
  view.setBigUint64(0, BigInt(position));
  view.setBigUint64(POSITION_BYTES, BigInt(anchor?.position ?? 0));
  if (anchor !== undefined) value.set(anchor.id, 2 * POSITION_BYTES);
  await store.write([{ key: KEY, value }]);
}

/** For a hub that starts without an engine: what it takes in now, the shared log would lack later. */
export async function forgetPosition(store: Pick<Store, "get" | "write">): Promise<void> {
  if ((await store.get(KEY)) !== undefined) await store.write([{ key: KEY }]);
}
