// SPDX-License-Identifier: Apache-2.0
/** A witness alone: a program that cosigns the logs of others, and has nothing else that could go wrong with it. */
import { createHealthServer } from "@ctxmesh/api";
import type { DoorTls } from "@ctxmesh/api";
import { createWitness } from "@ctxmesh/ledger";
import type { Clock, Logger } from "@ctxmesh/model";
import { openLevelStore } from "@ctxmesh/store-level";
import type { HubAsWitness } from "./log-door.ts";

/** A witness's settings. */
export interface WitnessProgramOptions extends HubAsWitness {
  /** Folder of the store that remembers what was cosigned; made when there is none. */
  readonly storePath: string;
  /** TCP address; port 0 takes any free one. */
  readonly listen: { readonly host: string; readonly port: number };
  /** Without it the port is in plain text: checkpoints and lines are signed, and no secrets. */
  readonly tls?: DoorTls;
}

/** A running witness. */
export interface WitnessProgram {
  /** What logs are told: the submission prefix, which is the monitoring prefix, too. */
  readonly url: string;
  /** Answers what was asked, and closes the store. Idempotent. */
  stop(): Promise<void>;
}

const PREFIX = Uint8Array.of(0x28);

/**
 * Starts a witness: store, then port. When that fails, the store is closed again. Throws `ADDRESS_UNAVAILABLE`, `INPUT_INVALID` and
 * `KEY_INVALID` for its settings, and what opening a store throws. Whoever sets the store back to an older state has to take new keys.
 */
export async function createWitnessProgram(
  options: WitnessProgramOptions,
  deps: { readonly clock: Clock; readonly logger: Logger },
): Promise<WitnessProgram> {
  await using starting = new AsyncDisposableStack();
  const { listen, storePath, tls } = options;
  const { logger } = deps;
  const store = await openLevelStore({ path: storePath, logger });
  starting.defer(async () => store.close());
  const witness = createWitness({ ...options, ...deps, store, prefix: PREFIX });
  const health = createHealthServer({
    ready: () => true,
    witness,
    logger,
    ...(tls === undefined ? {} : { tls }),
  });
  starting.defer(async () => health.close());
  const { address, port } = await health.listen(listen.host, listen.port);
  const running = starting.move();
  let stopping: Promise<void> | undefined;
  const host = address.includes(":") ? `[${address}]` : address;
  return {
    url: `${tls === undefined ? "http" : "https"}://${host}:${String(port)}/witness`,
    stop: async () => (stopping ??= running.disposeAsync()),
  };
}
