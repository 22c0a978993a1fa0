// SPDX-License-Identifier: Apache-2.0
/** Replicas that may edit rich content, with the batches that each wrote. */
import type { Store } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { createSeededRandom } from "@ctxmesh/testing";
import { applied, open as openReplica, spaceWith, us, writer } from "./mesh.ts";
import type { Device } from "./mesh.ts";

const space = spaceWith([
  [us, "write"],
  [writer, "write"],
]);

/** Opens a replica in a space in which both devices may write. */
export async function open(options: {
  readonly device: Device;
  readonly store?: Store;
  readonly incarnationSeed?: number;
}): Promise<{ readonly replica: Replica; readonly sent: readonly Uint8Array[] }> {
  const { device, store, incarnationSeed } = options;
  const replica = await openReplica({
    device,
    space,
    ...(store === undefined ? {} : { store }),
    ...(incarnationSeed === undefined ? {} : { random: createSeededRandom(incarnationSeed) }),
  });
  return { replica, sent: applied(replica, "local") };
}

/** The items in an order that a stream of numbers decides. */
export function shuffledBy<T>(items: readonly T[], numbers: Iterable<number>): T[] {
  const rest = [...items];
  const picks = numbers[Symbol.iterator]();
  return items.flatMap(() => rest.splice((picks.next().value as number) % rest.length, 1));
}

export { DOC, us, writer } from "./mesh.ts";
