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
import type { Core } from "./core.ts";
import type { Group } from "./group.ts";
import type { RichRoots } from "@ctxmesh/rich";
import { OwnNumbers, buildBatch, hasIncrement, packWrites, prepareUpdate } from "./local-batch.ts";
import type { PreparedWrite } from "./local-batch.ts";
import { clientOf } from "./parts.ts";

/** What a local writer is made of. */
export interface LocalWriterOptions {
  readonly core: Core;
  readonly device: DeviceKey;
  readonly incarnation: IncarnationId;
  readonly signer: DeviceSigner;
  readonly clock: Clock;
  readonly hlc: HlcClock;
}

/** A local write: facts, or an edit of rich content that runs when its group is built. */
export type LocalWrite = PreparedWrite | LocalEdit;

/** An edit of a document's rich content. */
export interface LocalEdit {
  readonly doc: DocumentName;
  readonly edit: (roots: RichRoots) => void;
}

/** When a write was made, by the HLC of its last fact, and the batch that carries it. */
export interface WriteStamp {
  readonly hlc: Hlc;
  readonly incarnation: IncarnationId;
  readonly seq: number;
}

const isReady = (write: PreparedWrite | Error | undefined): write is PreparedWrite =>
  write !== undefined && !(write instanceof Error);

/** Turns local writes into the next batches of this incarnation's chain. */
export class LocalWriter {
  readonly #options: LocalWriterOptions;
  /** Last fact seq of this incarnation per document. */
  readonly #seqs = new Map<DocumentName, number>();
  /** The incarnation's Yjs client id; 0 until its first rich write, so that lives without one add none. */
  #client = 0;

  constructor(options: LocalWriterOptions) {
    this.#options = options;
  }

  /**
   * Adds the batches of the writes to a group. Returns for each write its stamp, undefined when it changed
   * nothing, or the error of an edit that threw.
   */
  build(writes: readonly LocalWrite[], group: Group): readonly (WriteStamp | Error | undefined)[] {
    const prepared = writes.map((write) => this.#prepare(write));
    const ready = prepared.filter(isReady);
    const stamps = this.#buildBatches(ready, group).values();
    return prepared.map((write) => (isReady(write) ? stamps.next().value : write));
  }

  /** Runs an edit, which stages it; a write of facts is ready as it is. */
  #prepare(write: LocalWrite): PreparedWrite | Error | undefined {
    if (!("edit" in write)) return write;
    const { core, device, incarnation } = this.#options;
    const client = clientOf(device, incarnation);
    try {
      const update = core.state.documents.editRich(write.doc, client, write.edit);
      if (update === undefined) return undefined;
      this.#client = client;
      return prepareUpdate(write.doc, update);
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  #buildBatches(writes: readonly PreparedWrite[], group: Group): readonly WriteStamp[] {
    const { core, device, incarnation, signer, clock, hlc } = this.#options;
    const { space } = core.records;
    const { documents } = core.state;
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
        client: this.#client,
      };
      const { batch, stamps } = buildBatch(pack, position, this.#seqs, tools);
      group.add(batch);
      return stamps.map((at) => ({ hlc: at, incarnation, seq: position.seq }));
    });
  }
}
