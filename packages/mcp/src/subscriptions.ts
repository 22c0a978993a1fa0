// SPDX-License-Identifier: Apache-2.0
/** Which resources a client is told of when they change: one watch for each document that has some. */
import { setTimeout as sleep } from "node:timers/promises";
import { LIMITS, MeshError, toMeshError } from "@ctxmesh/model";
import type { ChangeEvent, Logger } from "@ctxmesh/model";
import type { ContextClient } from "@ctxmesh/sdk";
import { GRAPH_PREFIX } from "./graph-keys.ts";
import type { Target } from "./resources.ts";

/** What subscriptions need. */
export interface SubscriptionsOptions {
  readonly client: Pick<ContextClient, "watch">;
  readonly logger: Logger;
  /** Tells the client that a resource has changed. */
  readonly notify: (uri: string) => Promise<void>;
}

/** Pauses between attempts to watch again while the node is away, in milliseconds: the first, and the longest. */
const RETRY_MS = 200;
const MAX_RETRY_MS = 5_000;

interface DocumentWatch {
  readonly targets: Map<string, Target>;
  readonly end: AbortController;
  /** As that of the watch it began with. */
  readonly ready: Promise<void>;
  readonly done: Promise<void>;
}

const concerns = (target: Target, { key }: ChangeEvent): boolean =>
  target.kind === "graph" ? key.startsWith(GRAPH_PREFIX) : target.key === key;

/** The subscriptions of one session. */
export class Subscriptions {
  readonly #options: SubscriptionsOptions;
  readonly #watches = new Map<string, DocumentWatch>();
  /** URIs of notifications that the client has yet to take; a change meanwhile adds no second one. */
  readonly #telling = new Set<string>();
  #isClosed = false;

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
  }

  /**
   * Resolves once the watch is in place: what is written after that is told. Rejects with what the node refuses, with
   * `UNREACHABLE` while it is away, with `LIMIT_EXCEEDED` past `LIMITS.mcpSubscriptions`, and with `CLOSED` once all have ended.
   */
  async add(uri: string, target: Target): Promise<void> {
    // The session may end while it is found out what the URI stands for; nobody would end the watch.
    if (this.#isClosed) throw new MeshError("CLOSED", "the session has ended");
    const count = [...this.#watches.values()].reduce((sum, { targets }) => sum + targets.size, 0);
    const watched = this.#watches.get(target.doc);
    if (watched?.targets.has(uri) !== true && count >= LIMITS.mcpSubscriptions) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `this session has ${String(count)} subscriptions, and more are not allowed`,
        { remedy: "unsubscribe from others first" },
      );
    }
    const watch = watched ?? this.#begin(target.doc);
    watch.targets.set(uri, target);
    try {
      await watch.ready;
    } catch (error) {
      watch.end.abort();
      // Another one may have been begun since.
      if (this.#watches.get(target.doc) === watch) this.#watches.delete(target.doc);
      throw error;
    }
  }

  #begin(doc: string): DocumentWatch {
    const targets = new Map<string, Target>();
    const end = new AbortController();
    const first = this.#options.client.watch({ doc }, { signal: end.signal });
    const done = this.#follow(doc, targets, first, end.signal);
    const watch = { targets, end, ready: first.ready, done };
    this.#watches.set(doc, watch);
    return watch;
  }

  /** Ends one subscription, and its watch when it was the last of a document. */
  remove(uri: string): void {
    for (const [doc, { targets, end }] of this.#watches) {
      if (!targets.delete(uri) || targets.size > 0) continue;
      this.#watches.delete(doc);
      end.abort();
    }
  }

  /** Ends all. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const watches = [...this.#watches.values()];
    this.#watches.clear();
    for (const { end } of watches) end.abort();
    await Promise.all(watches.map(async ({ done }) => done));
  }

  /** Watches a document until the signal aborts, again and again while the node is away. */
  async #follow(
    doc: string,
    targets: ReadonlyMap<string, Target>,
    first: ReturnType<ContextClient["watch"]>,
    signal: AbortSignal,
  ): Promise<void> {
    let watch = first;
    let pauseMs = RETRY_MS;
    while (!signal.aborted) {
      try {
        await watch.ready;
        // Whatever changed while nobody watched.
        if (watch !== first) for (const uri of targets.keys()) this.#tell(uri);
        pauseMs = RETRY_MS;
        for await (const event of watch) {
          for (const [uri, target] of targets) if (concerns(target, event)) this.#tell(uri);
        }
      } catch (error) {
        if (signal.aborted) return;
        const { code, message } = toMeshError(error);
        this.#options.logger.warn("mcp.watch-ended", { doc, code, message });
      }
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
      pauseMs = Math.min(2 * pauseMs, MAX_RETRY_MS);
      if (!signal.aborted) watch = this.#options.client.watch({ doc }, { signal });
    }
  }

  #tell(uri: string): void {
    if (this.#telling.has(uri)) return;
    this.#telling.add(uri);
    this.#options
      .notify(uri)
      .catch((error: unknown) => {
        this.#options.logger.debug("mcp.notify-failed", { uri, error });
      })
      .finally(() => this.#telling.delete(uri));
  }
}
