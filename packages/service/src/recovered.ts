// SPDX-License-Identifier: Apache-2.0
import type { Logger } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";

/**
 * Counts the batches of this device's own earlier lives that peers bring. A batch leaves a device after it is on
 * its disk, so what comes back was lost here: with the end of a `.log` file, which nothing in a store tells, with
 * an older backup that was restored, or with the store; or a copy of the store wrote it elsewhere.
 */
export function countRecovered(replica: Replica, logger: Logger): () => number {
  let recovered = 0;
  const told = new Set<string>();
  replica.onApplied(({ origin, head }) => {
    if (origin !== "remote" || head.replica !== replica.device) return;
    recovered += 1;
    const { incarnation, seq } = head;
    if (told.has(incarnation)) return;
    told.add(incarnation);
    logger.warn("store.recovered", {
      incarnation,
      seq,
      meaning: "peers have what this device wrote and its store had lost; it is fetched from them",
    });
  });
  return () => recovered;
}
