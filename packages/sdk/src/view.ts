// SPDX-License-Identifier: Apache-2.0
/** Materialized views: facts mapped and reduced to one value, which is there whenever it is read. */
import { MeshError } from "@ctxmesh/model";
import type { ChangeEvent, VisibleFact, WatchQuery } from "@ctxmesh/model";
import type { ListOptions } from "./reads.ts";
import { isPassing, pause, pauseMs } from "./retry.ts";
import { SlotTree } from "./slot-tree.ts";
import type { Watch } from "./watch.ts";

/** Facts of a page, the most that a node lists at once. */
const PAGE = 10_000;

/** What a view is of. */
export interface ViewOptions<Mapped> extends WatchQuery {
  /** What a fact comes to; undefined leaves it out. */
  readonly map: (fact: VisibleFact) => Mapped | undefined;
  /** Two of those as one. It must be associative and commutative: in which order facts are combined is not said. */
  readonly reduce: (a: Mapped, b: Mapped) => Mapped;
}

/** A value that follows the facts of a node. */
export interface View<Mapped> extends AsyncDisposable {
  /**
   * All that is mapped, reduced; undefined when that is nothing, and before {@link ready}. Reading it costs no more than a property. Throws what ended
   * the view: an error of `map` or `reduce`, or of the node (`INPUT_INVALID`).
   */
  readonly value: Mapped | undefined;
  /** What one fact came to. Throws as {@link value}. */
  get(doc: string, key: string): Mapped | undefined;
  /** Number of facts that are mapped to something. */
  readonly size: number;
  /** Whether it follows the node at present. If not, the value is that of the moment at which the node went away. */
  readonly current: boolean;
  /** Resolves when the value is there for the first time; rejects with what ended the view before. */
  readonly ready: Promise<void>;
}

/** The calls that a view is made of. */
export interface ViewSource {
  list(query: ListOptions): Promise<readonly VisibleFact[]>;
  watch(query: WatchQuery, options: { readonly signal: AbortSignal }): Watch;
}

const nameOf = ({ doc, key }: { readonly doc: string; readonly key: string }): string =>
  `${doc}\n${key}`;

/** Starts a view. */
export const createView = <Mapped>(
  source: ViewSource,
  options: ViewOptions<Mapped>,
): View<Mapped> => new LiveView(source, options);

/** What was mapped, by document and key. */
class Mappings<Mapped> {
  readonly #options: ViewOptions<Mapped>;
  readonly #slots = new Map<string, number>();
  readonly #tree: SlotTree<Mapped>;

  constructor(options: ViewOptions<Mapped>) {
    this.#options = options;
    this.#tree = new SlotTree(options.reduce);
  }

  get size(): number {
    return this.#slots.size;
  }

  get whole(): Mapped | undefined {
    return this.#tree.whole;
  }

  get(name: string): Mapped | undefined {
    const slot = this.#slots.get(name);
    return slot === undefined ? undefined : this.#tree.at(slot);
  }

  set(name: string, fact: VisibleFact | undefined): void {
    const mapped = fact === undefined ? undefined : this.#options.map(fact);
    const slot = this.#slots.get(name);
    if (slot !== undefined) {
      this.#tree.set(slot, mapped);
      if (mapped === undefined) this.#slots.delete(name);
    } else if (mapped !== undefined) {
      this.#slots.set(name, this.#tree.add(mapped));
    }
  }
}

class LiveView<Mapped> implements View<Mapped> {
  readonly ready: Promise<void>;
  readonly #source: ViewSource;
  readonly #options: ViewOptions<Mapped>;
  readonly #query: WatchQuery;
  readonly #ending = new AbortController();
  readonly #built = Promise.withResolvers<void>();
  readonly #running: Promise<void>;
  #mappings: Mappings<Mapped>;
  #value: Mapped | undefined;
  #failure: { readonly error: unknown } | undefined;
  #current = false;
  /** Attempts in a row that came to nothing. */
  #attempts = 0;

  constructor(source: ViewSource, options: ViewOptions<Mapped>) {
    const { doc, prefix } = options;
    this.#source = source;
    this.#options = options;
    this.#query = {
      ...(doc === undefined ? {} : { doc }),
      ...(prefix === undefined ? {} : { prefix }),
    };
    this.#mappings = new Mappings(options);
    this.ready = this.#built.promise;
    // Who reads the value gets the error; `ready` need not be looked at.
    this.ready.catch(() => undefined);
    this.#running = this.#run();
  }

  get value(): Mapped | undefined {
    if (this.#failure !== undefined) throw this.#failure.error;
    return this.#value;
  }

  get(doc: string, key: string): Mapped | undefined {
    if (this.#failure !== undefined) throw this.#failure.error;
    return this.#mappings.get(nameOf({ doc, key }));
  }

  get size(): number {
    return this.#mappings.size;
  }

  get current(): boolean {
    return this.#current;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      try {
        await this.#follow();
      } catch (error) {
        if (!isPassing(error)) {
          this.#failure = { error };
          break;
        }
      } finally {
        this.#current = false;
      }
      await pause(pauseMs(this.#attempts++, Math.random), signal);
    }
    const ended = new MeshError("CLOSED", "the view was ended");
    this.#built.reject(this.#failure?.error ?? ended);
  }

  /** Makes the view anew and keeps it up to date until the watch ends. What changes while the facts are listed is watched already, and counts after them. */
  async #follow(): Promise<void> {
    const round = new AbortController();
    const signal = AbortSignal.any([this.#ending.signal, round.signal]);
    const watch = this.#source.watch(this.#query, { signal });
    let mappings: Mappings<Mapped> | undefined;
    const meanwhile = new Map<string, ChangeEvent>();
    const watching = (async () => {
      for await (const event of watch) {
        if (mappings === undefined) meanwhile.set(nameOf(event), event);
        else this.#apply(mappings, event);
      }
    })();
    // Looked at below, after the list.
    watching.catch(() => undefined);
    try {
      await watch.ready;
      const made = new Mappings(this.#options);
      for (const fact of await this.#listAll(signal)) made.set(nameOf(fact), fact);
      for (const [name, { fact }] of meanwhile) made.set(name, fact);
      mappings = made;
      this.#mappings = made;
      this.#value = made.whole;
      this.#current = true;
      this.#attempts = 0;
      this.#built.resolve();
      await watching;
    } finally {
      round.abort();
    }
  }

  #apply(mappings: Mappings<Mapped>, event: ChangeEvent): void {
    mappings.set(nameOf(event), event.fact);
    this.#value = mappings.whole;
  }

  async #listAll(signal: AbortSignal): Promise<readonly VisibleFact[]> {
    const { doc } = this.#query;
    const all: VisibleFact[] = [];
    let after: string | undefined;
    for (;;) {
      const page = await this.#source.list({
        ...this.#query,
        ...(after === undefined ? {} : { after }),
        limit: PAGE,
        signal,
      });
      all.push(...page);
      if (page.length < PAGE) return all;
      if (doc === undefined) {
        throw new MeshError(
          "INPUT_INVALID",
          `a view over all documents has ${String(PAGE)} facts at most`,
          { field: "doc", remedy: "name a document, or a longer prefix" },
        );
      }
      after = page.at(-1)?.key;
    }
  }
}
