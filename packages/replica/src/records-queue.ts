// SPDX-License-Identifier: Apache-2.0
import type { Header } from "@ctxmesh/codec";
import { chainKey } from "./layout.ts";
import type { RecordBytes } from "./records.ts";
import type { RecordsTask } from "./tasks.ts";

const ignore = (): void => undefined;

/** Records that wait to be taken. Few come, so nothing bounds it but that a proof is not kept twice. */
export class RecordsQueue {
  #tasks: RecordsTask[] = [];
  /** The seqs of batches whose proofs are in there, by chain. */
  readonly #provenSeqs = new Map<string, number>();

  /** Number of tasks. */
  get length(): number {
    return this.#tasks.length;
  }

  /** Adds records that somebody handed in. */
  push(task: RecordsTask): void {
    this.#tasks.push(task);
  }

  /** Adds records of our own finding, of which nobody has to be told. */
  pushOwn(records: RecordBytes): void {
    this.#tasks.push({ ...records, headers: [], resolve: ignore, reject: ignore });
  }

  /** Adds a proof that a batch shows. Of the forks of one chain that are found before they take effect, the lowest is enough. */
  pushProof({ replica, incarnation, seq }: Header, proof: Uint8Array): void {
    const chain = chainKey(replica, incarnation);
    if (seq >= (this.#provenSeqs.get(chain) ?? Number.POSITIVE_INFINITY)) return;
    this.#provenSeqs.set(chain, seq);
    this.pushOwn({ acts: [], proofs: [proof] });
  }

  /** Removes and returns all. */
  takeAll(): readonly RecordsTask[] {
    const tasks = this.#tasks;
    this.#tasks = [];
    this.#provenSeqs.clear();
    return tasks;
  }
}
