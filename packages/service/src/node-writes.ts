// SPDX-License-Identifier: Apache-2.0
/** What all writes of a node have in common: who may write, what they wait for, and how often they are made. */
import { MeshError, formatFrontierToken } from "@ctxmesh/model";
import type { WriteOptions, WriteReceipt } from "@ctxmesh/model";
import type { Replica, WriteContext } from "@ctxmesh/replica";
import type { Confirmations } from "@ctxmesh/sync";
import { writeAcknowledged } from "./acknowledge.ts";
import type { Once } from "./once.ts";

/** What writes are made with. */
export interface NodeWritesOptions {
  readonly service: "agent" | "hub";
  readonly replica: Replica;
  /** Of the node's sync; without it no write gets further than `local`. */
  readonly confirmations?: Confirmations;
  /** Remembers idempotency keys; without it none is taken. */
  readonly once?: Once;
}

/** What makes a write another one, besides its priority: the operation and its arguments. */
export type WriteContent = readonly [operation: string, ...rest: readonly unknown[]];

/** Makes the writes of a node. */
export class NodeWrites {
  readonly #options: NodeWritesOptions;

  constructor(options: NodeWritesOptions) {
    this.#options = options;
  }

  /** Makes a write unless it was made before, and waits as long as its options say. Rejects as `ContextService.put`. */
  async run(
    options: WriteOptions,
    content: WriteContent,
    write: (replica: Replica, context: WriteContext) => Promise<WriteReceipt>,
  ): Promise<WriteReceipt> {
    const { service, replica, confirmations } = this.#options;
    if (service === "hub") {
      throw new MeshError("POLICY_REFUSED", "a hub does not write facts", {
        remedy: "write at an agent; the hub receives it",
      });
    }
    const { priority, idempotencyKey } = options;
    const how = priority === undefined ? {} : { priority };
    return writeAcknowledged(confirmations, replica.device, options, async () => {
      const receipt =
        idempotencyKey === undefined
          ? await write(replica, how)
          : await this.#once(idempotencyKey, [priority ?? null, ...content], async (also) =>
              write(replica, { ...how, ...also }),
            );
      return { ...receipt, token: formatFrontierToken([{ replica: replica.device, ...receipt }]) };
    });
  }

  async #once(
    key: string,
    content: readonly unknown[],
    write: Parameters<Once["run"]>[2],
  ): Promise<WriteReceipt> {
    const { once } = this.#options;
    if (once !== undefined) return once.run(key, JSON.stringify(content), write);
    throw new MeshError("INPUT_INVALID", "this node does not remember idempotency keys", {
      field: "Idempotency-Key",
    });
  }
}
