// SPDX-License-Identifier: Apache-2.0
import { decodeBatch } from "@ctxmesh/codec";
import type { AckProgress, AckSummary, Hlc } from "@ctxmesh/model";
import type { Head, Replica } from "@ctxmesh/replica";
import type { ConfirmedLevel, Confirmations } from "@ctxmesh/sync";

/** The first batch of a chain that waits, and when it was written. */
interface FirstWaiting {
  readonly seq: number;
  readonly hlc: Hlc | undefined;
}

/** Says how far this device's own chains have got. */
export class AckReporter {
  readonly #replica: Replica;
  readonly #confirmations: Confirmations;
  /** By level and incarnation, so that a status that is asked for again reads nothing again. */
  #first: ReadonlyMap<string, FirstWaiting> = new Map();

  constructor(replica: Replica, confirmations: Confirmations) {
    this.#replica = replica;
    this.#confirmations = confirmations;
  }

  /** Reads one batch of each chain that has not got all the way. */
  async summary(): Promise<AckSummary> {
    const { device } = this.#replica;
    const own = this.#replica.heads().filter(({ replica }) => replica === device);
    const found = new Map<string, FirstWaiting>();
    const [hub, sealed] = [
      await this.#progress("hub", own, found),
      await this.#progress("sealed", own, found),
    ];
    this.#first = found;
    return { local: own.reduce((sum, { seq }) => sum + seq, 0), hub, sealed };
  }

  async #progress(
    level: ConfirmedLevel,
    own: readonly Head[],
    found: Map<string, FirstWaiting>,
  ): Promise<AckProgress> {
    let [reached, waiting, oldestMs] = [0, 0, 0];
    for (const head of own) {
      const confirmed = Math.min(this.#confirmations.confirmed(head)[level], head.seq);
      reached += confirmed;
      if (confirmed === head.seq) continue;
      waiting += head.seq - confirmed;
      const name = `${level} ${head.incarnation}`;
      const first = await this.#firstWaiting(this.#first.get(name), head, confirmed + 1);
      found.set(name, first);
      if (first.hlc !== undefined) oldestMs = Math.max(oldestMs, this.#replica.ageMs(first.hlc));
    }
    return {
      batches: reached,
      ...(waiting === 0 ? {} : { waiting: { batches: waiting, oldestMs } }),
    };
  }

  async #firstWaiting(
    known: FirstWaiting | undefined,
    { replica, incarnation }: Head,
    seq: number,
  ): Promise<FirstWaiting> {
    if (known?.seq === seq) return known;
    try {
      const span = { replica, incarnation, from: seq, to: seq };
      for await (const { bytes } of this.#replica.read([span])) {
        return { seq, hlc: decodeBatch(bytes).header.hlc };
      }
    } catch {
      // A store that can't be read says so elsewhere; the status is what one looks at then.
    }
    return { seq, hlc: undefined };
  }
}
