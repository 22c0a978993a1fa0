// SPDX-License-Identifier: Apache-2.0
/** What a source is, and what the built-in ones share. */
import { setTimeout as sleep } from "node:timers/promises";
import { toMeshError } from "@ctxmesh/model";
import type { Clock, FactInput, FactSource, JsonValue, Logger } from "@ctxmesh/model";

/** One write of a source: facts of one document. */
export interface SourceWrite {
  readonly doc: string;
  readonly facts: readonly FactInput[];
}

/** Where a source writes; resolves once the facts are durable, which paces the source. */
export type WriteFacts = (write: SourceWrite) => Promise<void>;

/** Something that keeps writing facts by itself. */
export interface Source {
  /** For logs. */
  readonly name: string;
  /** Begins to write. Once. */
  start(write: WriteFacts): void;
  /** Waits for a write under way, then stops. Idempotent. */
  stop(): Promise<void>;
}

/** Waits `ms`; ends early, without an error, when the signal aborts. */
export type Wait = (ms: number, signal: AbortSignal) => Promise<void>;

/** What sources take from outside. */
export interface SourceDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Default: a timer. */
  readonly wait?: Wait;
}

/**
 * A second key that a source writes its newest value to. Agents that name the same document and key
 * make statements about the same thing, each with its own confidence; the space's resolver picks.
 */
export interface AlsoKey {
  /** Default: the source's own document. */
  readonly doc?: string;
  readonly key: string;
  /** The metric (`host`) or column (`csv`) whose value is written; default: the first one. */
  readonly from?: string;
  readonly confidence?: number;
}

const waitForTimer: Wait = async (ms, signal) => {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
};

/** A timer, unless the caller brought something else. */
export const waitOf = (deps: SourceDeps): Wait => deps.wait ?? waitForTimer;

/** Where the facts of one turn belong, and where they come from. */
export interface TurnContext {
  readonly doc: string;
  readonly also: readonly AlsoKey[];
  readonly source: FactSource;
}

/**
 * Writes the facts of one turn together with the `also` keys, whose values `valueOf` tells by
 * metric or column; one write per document.
 */
export async function writeTurn(
  put: WriteFacts,
  { doc, also, source }: TurnContext,
  own: readonly FactInput[],
  valueOf: (from: string | undefined) => JsonValue | undefined,
): Promise<void> {
  const factsByDoc = new Map([[doc, [...own]]]);
  for (const { doc: otherDoc = doc, key, from, confidence = 1 } of also) {
    const value = valueOf(from);
    if (value === undefined) continue;
    const facts = factsByDoc.get(otherDoc) ?? [];
    facts.push({ key, value, confidence, source });
    factsByDoc.set(otherDoc, facts);
  }
  for (const [target, facts] of factsByDoc) await put({ doc: target, facts });
}

/** What every source can be told. */
export interface CommonSourceOptions {
  /** Write no more this many milliseconds after the start; default: go on. */
  readonly stopAfterMs?: number;
}

/**
 * Runs `turn` until it says it is done (returns undefined), `stopAfterMs` has passed or the source is
 * stopped, waiting as long as it asks in between. A failed turn is logged, once per row of failures, and does not end the
 * source; `CLOSED` does.
 */
export function createLoop(
  name: string,
  deps: SourceDeps,
  turn: (write: WriteFacts, signal: AbortSignal) => Promise<number | undefined>,
  { retryMs, stopAfterMs = Infinity }: CommonSourceOptions & { readonly retryMs: number },
): Source {
  const stopping = new AbortController();
  const { signal } = stopping;
  const wait = waitOf(deps);
  let running: Promise<void> | undefined;
  const run = async (write: WriteFacts): Promise<void> => {
    let failing = false;
    const end = deps.clock.now() + stopAfterMs;
    while (!signal.aborted && deps.clock.now() < end) {
      let waitMs: number | undefined = retryMs;
      try {
        waitMs = await turn(write, signal);
        failing = false;
      } catch (error) {
        const { code, message } = toMeshError(error);
        if (code === "CLOSED") return;
        if (!failing) deps.logger.warn("source.failed", { source: name, code, message });
        failing = true;
      }
      if (waitMs === undefined) return;
      await wait(waitMs, signal);
    }
  };
  return {
    name,
    start(write) {
      running ??= run(write);
    },
    async stop() {
      stopping.abort();
      await running;
    },
  };
}
