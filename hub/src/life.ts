// SPDX-License-Identifier: Apache-2.0
/** Where a hub is between its start and its end, as probes ask for it. */
import type { HealthServerOptions, NodeMetrics } from "@ctxmesh/api";
import type { NodeService } from "@ctxmesh/service";
import type { Doors } from "./doors.ts";

/** Begins with the start, and ends with the drain. */
export class Life {
  readonly #hasEngine: () => boolean;
  #service: NodeService | undefined;
  #doors: Doors | undefined;
  #draining = false;

  /** `hasEngine`: whether what the hub shares with others answers. */
  constructor(hasEngine: () => boolean) {
    this.#hasEngine = hasEngine;
  }

  /** What the probes of a health server ask. */
  get probes(): Required<Pick<HealthServerOptions, "ready" | "started" | "metrics">> {
    return {
      ready: () => this.#service?.ready === true && this.#hasEngine() && !this.#draining,
      started: () => this.#service !== undefined,
      metrics: () => this.#service && metricsOf(this.#service),
    };
  }

  /** The start is over. */
  complete(service: NodeService, doors: Doors): void {
    this.#service = service;
    this.#doors = doors;
  }

  /** Nobody is sent here from now on, nor let in. */
  drain(): void {
    this.#draining = true;
    this.#doors?.drain();
  }
}

const metricsOf = async (service: NodeService): Promise<NodeMetrics> => ({
  status: await service.status(),
  links: service.links(),
});
