// SPDX-License-Identifier: Apache-2.0
/**
 * After a start with another subscription, fetches in the background what is wanted now and was left out before, newest first, and goes
 * on with that after the next start.
 *
 * A record says for which subscription that was done: 0x27 -> its canonical JSON, or "all". While it names another one, or is not there
 * though something is left out, the work is not done.
 */
import { utf8Encode } from "@ctxmesh/codec";
import { toHex, toMeshError } from "@ctxmesh/model";
import type { Clock, Logger, Store } from "@ctxmesh/model";
import { Wants } from "@ctxmesh/replica";
import type { OmittedSection, Replica } from "@ctxmesh/replica";
import type { SyncNode } from "@ctxmesh/sync";
import { fetchSome } from "./node-partial.ts";
import type { OmittedPlace } from "./node-partial.ts";

const KEY = Uint8Array.of(0x27);
/** How long to rest after each run of some hundred sections, in milliseconds: what is new comes first. */
const REST_MS = 1_000;
/** How long to rest when nobody who is connected had some of it. */
const RETRY_MS = 60_000;

/** What catching up needs. */
export interface CatchUpContext {
  readonly store: Store;
  readonly replica: Replica;
  readonly sync: Pick<SyncNode, "fetch" | "peers">;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The sections that are left out and may be wanted now. */
async function* wantedNow(
  replica: Replica,
  wants: Wants | undefined,
  clock: Clock,
  from: OmittedPlace | undefined,
): AsyncGenerator<OmittedSection> {
  for await (const section of replica.omitted.sections(undefined, from)) {
    const { hlc, doc, kind } = section;
    if (wants?.byHeader({ hlc }, { doc, kind }, clock.now()) !== "no") yield section;
  }
}

/** Fetches what is wanted now and was left out before, until all of it is here. */
export class CatchUp {
  readonly #context: CatchUpContext;
  readonly #done: Uint8Array;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(context: CatchUpContext) {
    this.#context = context;
    const { subscription } = context.replica;
    this.#done = utf8Encode(subscription === undefined ? "all" : JSON.stringify(subscription));
  }

  /** Begins, if there is something to do. Rejects when the store can't be read or written. */
  async start(): Promise<void> {
    const { store, replica } = this.#context;
    const record = await store.get(KEY);
    if (record !== undefined && toHex(record) === toHex(this.#done)) return;
    // What comes under this subscription may be left out under an earlier one that is taken up again before the work is done.
    if (record !== undefined) await store.write([{ key: KEY }]);
    if (replica.omitted.isNone) await this.#end();
    else this.#later(0, undefined);
  }

  async #end(): Promise<void> {
    await this.#context.store.write([{ key: KEY, value: this.#done }]);
  }

  #later(ms: number, from: OmittedPlace | undefined, missed = 0): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      // The log is not read for nothing.
      if (this.#context.sync.peers().length === 0) {
        this.#later(REST_MS, from, missed);
        return;
      }
      this.#running = this.#run(from, missed).catch((error: unknown) => {
        this.#context.logger.warn("catch-up.failed", { error: toMeshError(error).message });
      });
    }, ms);
  }

  /** `missed`: sections of this pass that nobody had. */
  async #run(from: OmittedPlace | undefined, missed: number): Promise<void> {
    const { replica, sync, clock, logger } = this.#context;
    const { subscription } = replica;
    const wants = subscription === undefined ? undefined : new Wants(subscription);
    const sections = wantedNow(replica, wants, clock, from);
    const run = await fetchSome(sync, clock, { sections, only: subscription });
    const left = missed + run.unavailable;
    if (run.filled > 0) logger.info("catch-up.fetched", { sections: run.filled, bytes: run.bytes });
    if (run.next !== undefined) {
      this.#later(REST_MS, run.next, left);
      return;
    }
    replica.omitted.reopen();
    if (left === 0) await this.#end();
    else this.#later(RETRY_MS, undefined);
  }

  /** Ends what is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }
}
