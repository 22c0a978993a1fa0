// SPDX-License-Identifier: Apache-2.0
/**
 * I8: a hub has one sealer. Its numbers rise by one, none is used twice, and each seal names the one before it. A hub has one
 * process here; where several share an engine, it is the epoch of its lease that must never go down.
 */
import type { Checker } from "../world.ts";
import { readSeal } from "./seals.ts";

/** Makes the checker. */
export function createSealerChecker(): Checker {
  /** Envelope hashes of each hub, by sequence. */
  const byHub = new Map<string, Map<number, string>>();
  const newest = new Map<string, number>();

  return {
    name: "I8",
    onEvent(event, world) {
      if (event.type !== "sealed") return;
      const { hub, sequence, previous, envelopeHash } = readSeal(event.seal.bundle);
      const at = `seal ${String(sequence)} of ${event.node}`;
      if (hub !== world.deviceOf(event.node)) throw new Error(`${at} is signed as another hub`);
      const known = byHub.get(event.node) ?? new Map<number, string>();
      byHub.set(event.node, known);
      if (known.has(sequence)) throw new Error(`${at} was made before`);
      if (sequence <= (newest.get(event.node) ?? 0))
        throw new Error(`${at} comes after later ones`);
      const before = known.get(sequence - 1);
      if ((sequence === 1) !== (previous === null)) throw new Error(`${at} begins in the middle`);
      if (before !== undefined && before !== previous) {
        throw new Error(`${at} does not follow the one before it`);
      }
      known.set(sequence, envelopeHash);
      newest.set(event.node, sequence);
    },
  };
}
