// SPDX-License-Identifier: Apache-2.0
import { JS_ENGINE, documentEngine, hasWasm } from "@ctxmesh/facts";
import type { FactEngine, FactEngineName } from "@ctxmesh/facts";
import type { DocumentName, Logger, RandomSource } from "@ctxmesh/model";
import { GuardedStore } from "./guarded-store.ts";
import type { ReplicaOptions } from "./replica-options.ts";

/** The part of a replica's options that says what keeps its facts. */
export interface EngineOptions {
  readonly random: RandomSource;
  readonly logger: Logger;
  /**
   * What keeps the facts of documents, by its name (see `documentEngine`) or as what makes a store; JavaScript without it, and where there is no
   * WebAssembly. An engine that fails is replaced by that, document by document.
   */
  readonly factEngine?: FactEngineName | FactEngine;
}

/** What a replica is made of once its engines are. */
export type ReplicaParts = ReplicaOptions & WithEngines;

/** What has the engines of a replica's documents. */
export interface WithEngines {
  readonly engines: DocumentEngines;
}

/**
 * Which engine keeps the facts of which document. One that fails has lost the facts of one document: they are read again from the
 * log (`reload.ts`), and the engine in JavaScript keeps them from then on, so that no input makes an engine fail twice.
 */
export class DocumentEngines {
  readonly #engine: FactEngine;
  readonly #failed = new Set<DocumentName>();
  /** Those that were not read again yet. */
  readonly #lost = new Set<DocumentName>();
  readonly #logger: Logger;
  /** Called when facts of a document are lost. */
  onLost: (() => void) | undefined;

  /** What keeps the facts of large documents. */
  readonly name: FactEngineName;

  constructor(engine: FactEngine, logger: Logger, name: FactEngineName = "js") {
    this.#engine = engine;
    this.#logger = logger;
    this.name = name;
  }

  /** Those that the options of a replica want, as far as they are to be had. */
  static of({ factEngine = "js", random, logger }: EngineOptions): DocumentEngines {
    if (typeof factEngine === "function") return new DocumentEngines(factEngine, logger, "wasm");
    if (factEngine === "wasm" && !hasWasm()) {
      logger.warn("replica.no-wasm", { remedy: "without --jitless, Node runs WebAssembly" });
      return new DocumentEngines(JS_ENGINE, logger);
    }
    return new DocumentEngines(documentEngine(factEngine, random), logger, factEngine);
  }

  /** What makes the store of a document. */
  of(doc: DocumentName): FactEngine {
    if (this.#engine === JS_ENGINE || this.#failed.has(doc)) return JS_ENGINE;
    return () =>
      new GuardedStore(this.#engine(), doc, (error, isLost) => {
        this.#failed.add(doc);
        this.#logger.error("replica.fact-engine-failed", { doc, error });
        if (!isLost) return;
        this.#lost.add(doc);
        this.onLost?.();
      });
  }

  /** The documents that are to be read again. */
  get lost(): ReadonlySet<DocumentName> {
    return this.#lost;
  }

  /** They are about to be. */
  reload(): void {
    this.#lost.clear();
  }
}
