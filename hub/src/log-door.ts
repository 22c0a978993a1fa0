// SPDX-License-Identifier: Apache-2.0
/**
 * What a hub shows of its log of seals at its door, and what it does there as a witness of the logs of others.
 *
 * Store keys of the hub: 0x28 || SHA-256(origin) -> the newest checkpoint of that log that this hub has cosigned. Always in the hub's own store: hubs that
 * share an engine are witnesses of their own. While 0x22 says that the store was restored or healed, the hub is no witness: it may have forgotten what it
 * cosigned, and would cosign another tree.
 */
import type { LogRouteOptions, ServedLog, ServedWitness } from "@ctxmesh/api";
import { createWitness } from "@ctxmesh/ledger";
import type { LogPages, Witness, WitnessOptions } from "@ctxmesh/ledger";
import { MeshError } from "@ctxmesh/model";
import type { Clock, Logger, Store } from "@ctxmesh/model";
import { SEALS_UNCERTAIN } from "@ctxmesh/service";

const WITNESS_PREFIX = Uint8Array.of(0x28);

const FORGETFUL = "the store was restored or healed: what was cosigned may be forgotten";

/** A hub as a witness: its name, its keys for that alone, and the logs that it looks after. */
export type HubAsWitness = Pick<WitnessOptions, "logs" | "name" | "signers">;

/** What is shown once a hub is complete. */
interface Shown {
  /** The log, as it is at each call. */
  readonly pages: () => LogPages;
  readonly witness: Witness | undefined;
}

/** The routes of a hub that is starting, and then of the one that has started. */
export class LogDoor {
  readonly #settings: HubAsWitness | undefined;
  #shown: Shown | undefined;

  constructor(settings: HubAsWitness | undefined) {
    this.#settings = settings;
  }

  /** For the health server. Until {@link open} they answer that the hub starts. */
  get routes(): LogRouteOptions {
    const log: ServedLog = { page: async (path) => this.#started().pages().page(path) };
    const witness: ServedWitness = {
      addCheckpoint: async (body) => this.#witness().addCheckpoint(body),
      checkpoint: async (originHash) => this.#witness().checkpoint(originHash),
    };
    return this.#settings === undefined ? { log } : { log, witness };
  }

  #started(): Shown {
    if (this.#shown !== undefined) return this.#shown;
    throw new MeshError("UNREACHABLE", "the hub starts");
  }

  #witness(): Witness {
    const { witness } = this.#started();
    if (witness !== undefined) return witness;
    throw new MeshError("UNREACHABLE", FORGETFUL);
  }

  /** The hub is complete. Throws `INPUT_INVALID`, `KEY_INVALID` for a witness that can't be, and what the store throws. */
  async open(
    sealer: { readonly pages: LogPages },
    store: Store,
    deps: { readonly clock: Clock; readonly logger: Logger },
  ): Promise<void> {
    const settings = this.#settings;
    const { clock, logger } = deps;
    const made =
      settings && createWitness({ ...settings, store, prefix: WITNESS_PREFIX, clock, logger });
    const isForgetful = (await store.get(SEALS_UNCERTAIN.key)) !== undefined;
    if (made !== undefined && isForgetful) {
      const remedy = "give the witness new keys, then seal once with --after";
      logger.error("witness.unsafe", { reason: FORGETFUL, remedy });
    }
    this.#shown = { pages: () => sealer.pages, witness: isForgetful ? undefined : made };
  }
}
