// SPDX-License-Identifier: Apache-2.0
import { JS_ENGINE } from "@ctxmesh/facts";
import type {
  ChainFrame,
  ChainId,
  ChangedKeys,
  FactFrame,
  FactStore,
  KeyRange,
  KeySlots,
  PackedFrame,
  Summary,
} from "@ctxmesh/facts";
import { MeshError } from "@ctxmesh/model";
import type { DocumentName } from "@ctxmesh/model";

const NOTHING: ChangedKeys = { count: 0, keys: () => [] };

/**
 * A store whose engine may fail. What it is given was checked and is durable, so whatever it throws is a failure. From
 * then on the facts of the document are lost here: frames are let go, which are in the log, and whoever reads gets `READ_BEHIND`.
 */
export class GuardedStore implements FactStore {
  #store: FactStore;
  readonly #doc: DocumentName;
  readonly #failed: (error: unknown, isLost: boolean) => void;
  #isLost = false;
  /** As it was when that could last be told. */
  #bytes = 0;

  /** `failed` is told once; the second argument says whether anything was lost by it. */
  constructor(
    store: FactStore,
    doc: DocumentName,
    failed: (error: unknown, isLost: boolean) => void,
  ) {
    this.#store = store;
    this.#doc = doc;
    this.#failed = failed;
  }

  #behind(cause?: unknown): MeshError {
    return new MeshError(
      "READ_BEHIND",
      `the engine of the document ${this.#doc} has failed, and its facts are being read again from the log`,
      { remedy: "ask again in a moment", cause },
    );
  }

  #run<T>(call: (store: FactStore) => T): T {
    if (this.#isLost) throw this.#behind();
    try {
      return call(this.#store);
    } catch (error) {
      this.#isLost = true;
      this.#failed(error, true);
      throw this.#behind(error);
    }
  }

  *#each(call: (store: FactStore) => Iterable<string>): Generator<string> {
    const keys = this.#run((store) => call(store)[Symbol.iterator]());
    for (;;) {
      const next = this.#run(() => keys.next());
      if (next.done === true) return;
      yield next.value;
    }
  }

  /** Whether the facts are lost: they have to be read again. */
  get isLost(): boolean {
    return this.#isLost;
  }

  get keyCount(): number {
    return this.#run(({ keyCount }) => keyCount);
  }

  get slotCount(): number {
    return this.#run(({ slotCount }) => slotCount);
  }

  get bytes(): number {
    if (!this.#isLost) {
      try {
        this.#bytes = this.#run(({ bytes }) => bytes);
      } catch {
        // It counts for what it was: limits must not throw.
      }
    }
    return this.#bytes;
  }

  get gaps(): number {
    return this.#isLost ? 0 : this.#run(({ gaps }) => gaps);
  }

  applyFrame(chain: ChainId, frame: FactFrame): readonly string[] {
    return this.#apply((store) => store.applyFrame(chain, frame)) ?? [];
  }

  applyPacked(chain: ChainId, frame: PackedFrame): ChangedKeys {
    return this.#apply((store) => store.applyPacked(chain, frame)) ?? NOTHING;
  }

  #apply<T>(call: (store: FactStore) => T): T | undefined {
    if (this.#isLost) return undefined;
    try {
      return this.#run(call);
    } catch {
      // The log has it.
      return undefined;
    }
  }

  /** Of an empty store, for which there are the bytes still: where its engine fails, another one takes them, or says that they are no frames. */
  merge(frames: Uint8Array): readonly string[] {
    try {
      return this.#store.merge(frames);
    } catch (error) {
      const store = JS_ENGINE();
      const changed = store.merge(frames);
      this.#store = store;
      this.#failed(error, false);
      return changed;
    }
  }

  slots(key: string): KeySlots {
    return this.#run((store) => store.slots(key));
  }

  expires(afterMs: number, upToMs: number): boolean {
    return this.#run((store) => store.expires(afterMs, upToMs));
  }

  keys(range?: KeyRange): Iterable<string> {
    return this.#each((store) => store.keys(range));
  }

  keysBySource(model: string): Iterable<string> {
    return this.#each((store) => store.keysBySource(model));
  }

  keysByTag(tag: string): Iterable<string> {
    return this.#each((store) => store.keysByTag(tag));
  }

  summary(): Summary {
    return this.#run((store) => store.summary());
  }

  diff(known: Summary): readonly ChainFrame[] {
    return this.#run((store) => store.diff(known));
  }

  encodeDiff(known: Summary): Uint8Array {
    return this.#run((store) => store.encodeDiff(known));
  }
}
