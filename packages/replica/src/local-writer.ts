// SPDX-License-Identifier: Apache-2.0
import type { HlcClock } from "@ctxmesh/facts";
import type {
  Clock,
  DeviceKey,
  DeviceSigner,
  DocumentName,
  Hlc,
  IncarnationId,
} from "@ctxmesh/model";
import type { Documents } from "./documents.ts";
import type { Group } from "./group.ts";
import { OwnNumbers, buildBatch, hasIncrement, packWrites } from "./local-batch.ts";
import type { PreparedWrite } from "./local-batch.ts";
import type { Space } from "./space.ts";

/** What a local writer is made of. */
export interface LocalWriterOptions {
  readonly space: Space;
  readonly device: DeviceKey;
  readonly incarnation: IncarnationId;
  readonly signer: DeviceSigner;
  readonly clock: Clock;
  readonly hlc: HlcClock;
  readonly documents: Documents;
}

/** Turns local writes into the next batches of this incarnation's chain. */
export class LocalWriter {
  readonly #options: LocalWriterOptions;
  /** Last fact seq of this incarnation per document. */
  readonly #seqs = new Map<DocumentName, number>();

  constructor(options: LocalWriterOptions) {
    this.#options = options;
  }

  /** Adds the batches of the writes to a group; returns the HLC of each write's last fact. */
  build(writes: readonly PreparedWrite[], group: Group): readonly Hlc[] {
    const { space, device, incarnation, signer, clock, hlc, documents } = this.#options;
    const nowMs = clock.now();
    const numbers = writes.some(hasIncrement)
      ? new OwnNumbers((doc, key) => documents.ownNumber(doc, key, device, nowMs))
      : undefined;
    const tools = { clock: hlc, signer, numbers, epoch: space.policy.epoch };
    return packWrites(writes).flatMap((pack) => {
      const head = group.head(device, incarnation);
      const position = {
        space: space.id,
        replica: device,
        incarnation,
        seq: (head?.seq ?? 0) + 1,
        prev: head?.hash ?? null,
        deps: group.depsFor(device, incarnation),
      };
      const { batch, stamps } = buildBatch(pack, position, this.#seqs, tools);
      group.add(batch);
      return stamps;
    });
  }
}
