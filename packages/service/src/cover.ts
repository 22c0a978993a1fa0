// SPDX-License-Identifier: Apache-2.0
/** Reads that wait for what their caller has written elsewhere. */
import { LIMITS, MeshError, parseFrontierToken } from "@ctxmesh/model";
import type { CallOff, CancelSignal, ChainPosition } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";

type Settle = (error?: unknown) => void;

interface Waiter {
  readonly positions: readonly ChainPosition[];
  readonly settle: Settle;
}

/** The reads that wait at one node. */
export class Covers {
  readonly #replica: Replica;
  readonly #waiters = new Set<Waiter>();
  readonly #stops: readonly (() => void)[];
  #isEnded = false;

  constructor(replica: Replica) {
    this.#replica = replica;
    const look = (): void => {
      this.#look();
    };
    this.#stops = [replica.onApplied(look), replica.onRecords(look)];
  }

  #isCovered({ replica, incarnation, seq }: ChainPosition): boolean {
    return this.#replica.seqOf(replica, incarnation) >= seq;
  }

  #look(): void {
    for (const { positions, settle } of this.#waiters) {
      if (positions.every((position) => this.#isCovered(position))) settle();
    }
  }

  /** See `ContextService.covered`. */
  async wait(token: string, { signal }: CallOff = {}): Promise<void> {
    const positions = parseFrontierToken(token);
    if (positions.every((position) => this.#isCovered(position))) return;
    if (this.#isEnded) throw ended();
    if (signal?.aborted === true) throw whyOf(signal);
    if (this.#waiters.size >= LIMITS.coverWaiters) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `${String(LIMITS.coverWaiters)} reads wait already (coverWaiters)`,
        { field: "covers", remedy: "try again, or read without a token" },
      );
    }
    await this.#wait(positions, signal);
  }

  async #wait(
    positions: readonly ChainPosition[],
    signal: CancelSignal | undefined,
  ): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      waiter.settle(behind());
    }, LIMITS.coverWaitMs);
    const aborted = (): void => {
      waiter.settle(signal && whyOf(signal));
    };
    const waiter: Waiter = {
      positions,
      settle: (error) => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", aborted);
        this.#waiters.delete(waiter);
        if (error === undefined) resolve();
        else reject(error);
      },
    };
    signal?.addEventListener("abort", aborted);
    this.#waiters.add(waiter);
    return promise;
  }

  /** Ends all that wait with `CLOSED`. */
  end(): void {
    this.#isEnded = true;
    for (const stop of this.#stops) stop();
    for (const { settle } of this.#waiters) settle(ended());
  }
}

const whyOf = ({ reason }: CancelSignal): MeshError =>
  reason instanceof MeshError ? reason : new MeshError("ABORTED", "the read was called off");

const ended = (): MeshError => new MeshError("CLOSED", "the node is shutting down");

const behind = (): MeshError =>
  new MeshError(
    "READ_BEHIND",
    `what the token names is not here after ${String(LIMITS.coverWaitMs)} ms`,
    {
      field: "covers",
      remedy:
        "read again later, or at the node that wrote it; ctxmesh status says what this one is connected to",
    },
  );
