// SPDX-License-Identifier: Apache-2.0
/** Notices that the machine may reach others again: its addresses changed, or it slept. */
import { networkInterfaces } from "node:os";

/** The clocks part by so much when a machine sleeps, or when its clock is set. */
const JUMP_MS = 5_000;

/** What is looked at. */
export interface LinkSources {
  /** The machine's addresses with their interfaces, in one text. */
  readonly addresses: () => string;
  /** Wall clock minus monotonic clock, in milliseconds; the latter stands still while the machine sleeps. */
  readonly offsetMs: () => number;
}

const MACHINE: LinkSources = {
  addresses: () =>
    Object.entries(networkInterfaces())
      .flatMap(([name, addresses = []]) => addresses.map(({ cidr }) => `${name} ${String(cidr)}`))
      .toSorted()
      .join("\n"),
  offsetMs: () => Date.now() - performance.now(),
};

/** Compares each look with the one before. */
export class LinkWatch {
  readonly #sources: LinkSources;
  #addresses: string;
  #offsetMs: number;

  constructor(sources: LinkSources = MACHINE) {
    this.#sources = sources;
    this.#addresses = sources.addresses();
    this.#offsetMs = sources.offsetMs();
  }

  /** Whether something has changed since the last call. */
  changed(): boolean {
    const addresses = this.#sources.addresses();
    const offsetMs = this.#sources.offsetMs();
    const changed = addresses !== this.#addresses || Math.abs(offsetMs - this.#offsetMs) > JUMP_MS;
    this.#addresses = addresses;
    this.#offsetMs = offsetMs;
    return changed;
  }
}
