// SPDX-License-Identifier: Apache-2.0
/**
 * Keeps what hubs have confirmed, so that an agent that is started while no hub can be reached still knows what is safe.
 *
 * A record for each chain: 0x23 || replica (32) || incarnation (16) -> up to which seq it is at a hub (u64), and sealed
 * (u64), big-endian. What is not written yet when a node dies is heard again with the next connection.
 */
import { fromHex, parseDeviceKey, parseIncarnationId, toHex, toMeshError } from "@ctxmesh/model";
import type { Logger, Store, StoreChange } from "@ctxmesh/model";
import type { Chain, Confirmations, Confirmed } from "@ctxmesh/sync";

const TAG = 0x23;
/** How long a confirmation may wait to be written, in milliseconds: each write is a sync of the disk. */
const KEEP_EVERY_MS = 5_000;
const DEVICE_END = 33;
const VALUE_BYTES = 16;

function recordOf({ replica, incarnation }: Chain, { hub, sealed }: Confirmed): StoreChange {
  const value = new DataView(new ArrayBuffer(VALUE_BYTES));
  value.setBigUint64(0, BigInt(hub));
  value.setBigUint64(8, BigInt(sealed));
  return {
    key: Uint8Array.of(TAG, ...fromHex(replica), ...fromHex(incarnation)),
    value: new Uint8Array(value.buffer),
  };
}

function readRecord(key: Uint8Array, value: Uint8Array): readonly [Chain, Confirmed] {
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  return [
    {
      replica: parseDeviceKey(toHex(key.subarray(1, DEVICE_END))),
      incarnation: parseIncarnationId(toHex(key.subarray(DEVICE_END))),
    },
    { hub: Number(view.getBigUint64(0)), sealed: Number(view.getBigUint64(8)) },
  ];
}

/**
 * Reads what a store has of confirmations, and writes what is added to them every five seconds until it is stopped, which
 * writes the rest. Rejects when the store can't be read; a write that fails is logged and ends the writing.
 */
export async function keepConfirmations(
  store: Store,
  confirmations: Confirmations,
  logger: Logger,
): Promise<{ readonly stop: () => Promise<void> }> {
  const range = { gte: Uint8Array.of(TAG), lt: Uint8Array.of(TAG + 1) };
  for await (const [key, value] of store.scan(range)) {
    confirmations.restore(...readRecord(key, value));
  }
  const fresh = new Map<string, Chain>();
  const unfollow = confirmations.onConfirmed((chain) => {
    fresh.set(chain.replica + chain.incarnation, chain);
  });
  let writing = Promise.resolve();
  const write = async (): Promise<void> => {
    const changes = [...fresh.values()].map((chain) =>
      recordOf(chain, confirmations.confirmed(chain)),
    );
    fresh.clear();
    if (changes.length > 0) await store.write(changes);
  };
  const end = (): void => {
    clearInterval(timer);
    unfollow();
  };
  const keep = (): void => {
    writing = writing.then(write).catch((error: unknown) => {
      end();
      logger.warn("confirmations.unkept", { error: toMeshError(error).message });
    });
  };
  const timer = setInterval(keep, KEEP_EVERY_MS);
  return {
    stop: async () => {
      end();
      keep();
      await writing;
    },
  };
}
