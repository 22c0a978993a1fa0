// SPDX-License-Identifier: Apache-2.0
/** Notices that the machine may reach others again: its addresses changed, or it slept. */
import { networkInterfaces } from "node:os";

/** The clocks part by so much when a machine sleeps, or when its clock is set. */
const JUMP_MS = 5_000;

/** Compares each look with the one before. */
export class LinkWatch {
  #addresses = addressesNow();
  #offsetMs = offsetNow();

  /** Whether something has changed since the last call. */
  changed(): boolean {
    const addresses = addressesNow();
    const offsetMs = offsetNow();
    const changed = addresses !== this.#addresses || Math.abs(offsetMs - this.#offsetMs) > JUMP_MS;
    this.#addresses = addresses;
    this.#offsetMs = offsetMs;
    return changed;
  }
}

/** Wall clock minus monotonic clock, which stands still while the machine sleeps. */
const offsetNow = (): number => Date.now() - performance.now();

const addressesNow = (): string =>
  Object.entries(networkInterfaces())
    .flatMap(([name, addresses = []]) => addresses.map(({ cidr }) => `${name} ${String(cidr)}`))
    .toSorted()
    .join("\n");
