// SPDX-License-Identifier: Apache-2.0
/** What a page has of its own: its clock, random numbers, turns, and the right to a store, which one tab has at a time. */
import { MeshError } from "@ctxmesh/model";
import type { Clock, Logger, RandomSource } from "@ctxmesh/model";

/** The machine's wall clock. */
export const pageClock: Clock = { now: () => Date.now() };

/** The browser's random numbers (Web Cryptography). */
export const pageRandom: RandomSource = {
  bytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
};

/** Says nothing. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/** Lets others have a turn: by a message, since timers of a page in the background wait for a second. */
export async function rest(): Promise<void> {
  const { port1, port2 } = new MessageChannel();
  await new Promise((resolve) => {
    port1.addEventListener("message", resolve, { once: true });
    // Which a listener does not do by itself.
    port1.start();
    port2.postMessage(undefined);
  });
  port1.close();
}

/** Waits, in milliseconds. */
export const wait = async (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });

/**
 * Takes a name for this tab, until the returned function is called or the tab is gone (Web Locks). Throws `STORE_LOCKED` while
 * another tab has it, and `INPUT_INVALID` where pages have no locks, which is where they are not secure contexts.
 */
export async function takeName(name: string): Promise<() => void> {
  // The library says that it is always there; over http it is not.
  const locks = navigator.locks as LockManager | undefined;
  if (locks === undefined) {
    throw new MeshError("INPUT_INVALID", "a page can keep a replica in a secure context only", {
      remedy: "serve the page over https, or from localhost",
    });
  }
  const held = Promise.withResolvers<void>();
  const taken = Promise.withResolvers<boolean>();
  const request = locks.request(`ctxmesh:${name}`, { ifAvailable: true }, async (lock) => {
    taken.resolve(lock !== null);
    if (lock !== null) await held.promise;
  });
  request.catch(taken.reject);
  if (await taken.promise) return held.resolve;
  throw new MeshError("STORE_LOCKED", `another tab of this site has the replica ${name} open`, {
    remedy: "use that tab, or close it and load this one again",
  });
}
