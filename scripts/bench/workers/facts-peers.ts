// SPDX-License-Identifier: Apache-2.0
/**
 * The other engines of the `facts` benchmark, each used the way its documentation shows: one map, one
 * transaction per change, values as plain objects. They are installed in `../peers`, so their
 * types are not there for the compiler; the interfaces below are the part that is used.
 */
import { createRequire } from "node:module";
import type { Row } from "../facts-trace.ts";
import type { Engine, EngineDocument } from "./facts-contract.ts";

const require = createRequire(new URL("../peers/package.json", import.meta.url));
const ROOT = "facts";
/** Writers are small numbers; client ids of 0 are special to some. */
const FIRST_CLIENT = 1_000;

type Value = Row["value"];

interface Yjs {
  readonly Doc: new () => YDoc;
  applyUpdate(doc: YDoc, update: Uint8Array): void;
  encodeStateAsUpdate(doc: YDoc, have?: Uint8Array): Uint8Array;
  encodeStateVector(doc: YDoc): Uint8Array;
}

interface YDoc {
  clientID: number;
  getMap(name: string): { get(key: string): unknown; set(key: string, value: Value): void };
  transact(change: () => void): void;
  on(event: "update", listener: (update: Uint8Array) => void): void;
}

function yjs(): Engine {
  const Y = require("yjs") as Yjs;
  const wrap = (doc: YDoc): EngineDocument => {
    const map = doc.getMap(ROOT);
    let last = new Uint8Array();
    doc.on("update", (update) => {
      last = new Uint8Array(update);
    });
    return {
      set: (rows, writer) => {
        doc.clientID = FIRST_CLIENT + writer;
        doc.transact(() => {
          for (const { key, value } of rows) map.set(key, value);
        });
        return last;
      },
      apply: (update) => {
        Y.applyUpdate(doc, update);
      },
      encode: () => Y.encodeStateAsUpdate(doc),
      reader: () => Promise.resolve((key) => map.get(key)),
      have: () => Y.encodeStateVector(doc),
      diff: (have) => Y.encodeStateAsUpdate(doc, have as Uint8Array),
      check: () => Y.encodeStateVector(doc),
    };
  };
  const create = (): EngineDocument => wrap(new Y.Doc());
  return {
    create,
    load: (state) => {
      const document = create();
      document.apply(state, 0);
      return document;
    },
  };
}

interface Ywasm {
  readonly YDoc: new (options: { readonly clientID: number }) => YwasmDoc;
  applyUpdate(doc: YwasmDoc, update: Uint8Array, origin: unknown): void;
  encodeStateAsUpdate(doc: YwasmDoc, have?: Uint8Array): Uint8Array;
  encodeStateVector(doc: YwasmDoc): Uint8Array;
}

interface YwasmDoc {
  getMap(name: string): {
    get(key: string, transaction?: unknown): unknown;
    set(key: string, value: Value, transaction: unknown): void;
  };
  beginTransaction(origin: unknown): { commit(): void; free(): void };
  onUpdate(listener: (update: Uint8Array) => void): unknown;
}

function ywasm(): Engine {
  const Y = require("ywasm") as Ywasm;
  const create = (): EngineDocument => {
    const doc = new Y.YDoc({ clientID: FIRST_CLIENT });
    const map = doc.getMap(ROOT);
    let last = new Uint8Array();
    const observer = doc.onUpdate((update) => {
      last = new Uint8Array(update);
    });
    return {
      // A document has one client id; updates of many writers come from Yjs, which has the same format.
      set: (rows) => {
        const transaction = doc.beginTransaction(observer);
        for (const { key, value } of rows) map.set(key, value, transaction);
        transaction.commit();
        transaction.free();
        return last;
      },
      apply: (update) => {
        Y.applyUpdate(doc, update, "peer");
      },
      encode: () => Y.encodeStateAsUpdate(doc),
      reader: () => Promise.resolve((key) => map.get(key)),
      have: () => Y.encodeStateVector(doc),
      diff: (have) => Y.encodeStateAsUpdate(doc, have as Uint8Array),
      check: () => Y.encodeStateVector(doc),
    };
  };
  return {
    create,
    load: (state) => {
      const document = create();
      document.apply(state, 0);
      return document;
    },
  };
}

type Automerged = Readonly<Record<string, unknown>>;

interface Automerge {
  readonly ImmutableString: new (text: string) => unknown;
  init(options: { readonly actor: string }): Automerged;
  clone(doc: Automerged, options: { readonly actor: string }): Automerged;
  free(doc: Automerged): void;
  change(doc: Automerged, change: (draft: Record<string, unknown>) => void): Automerged;
  getLastLocalChange(doc: Automerged): Uint8Array | undefined;
  applyChanges(doc: Automerged, changes: readonly Uint8Array[]): readonly [Automerged];
  save(doc: Automerged): Uint8Array;
  load(state: Uint8Array): Automerged;
  getHeads(doc: Automerged): readonly string[];
  saveSince(doc: Automerged, heads: readonly string[]): Uint8Array;
  initSyncState(): unknown;
  generateSyncMessage(doc: Automerged, state: unknown): readonly [unknown, Uint8Array | null];
}

const actorOf = (writer: number): string => (FIRST_CLIENT + writer).toString(16).padStart(32, "0");

function automerge(): Engine {
  const A = require("@automerge/automerge") as Automerge;
  const wrap = (start: Automerged): EngineDocument => {
    let doc = start;
    let actor = 0;
    return {
      set: (rows, writer) => {
        if (writer !== actor) {
          const before = doc;
          doc = A.clone(before, { actor: actorOf(writer) });
          A.free(before);
          actor = writer;
        }
        doc = A.change(doc, (draft) => {
          // As one value, like the others: a nested map takes six times as long.
          for (const { key, value } of rows) {
            draft[key] = new A.ImmutableString(JSON.stringify(value));
          }
        });
        return A.getLastLocalChange(doc) ?? new Uint8Array();
      },
      apply: (update) => {
        [doc] = A.applyChanges(doc, [update]);
      },
      encode: () => A.save(doc),
      reader: () => Promise.resolve((key) => JSON.parse(String(doc[key])) as unknown),
      have: () => A.getHeads(doc),
      diff: (have) => A.saveSince(doc, have as readonly string[]),
      check: () => A.generateSyncMessage(doc, A.initSyncState())[1] ?? new Uint8Array(),
    };
  };
  return {
    create: () => wrap(A.init({ actor: actorOf(0) })),
    load: (state) => wrap(A.load(state)),
  };
}

interface Loro {
  readonly LoroDoc: new () => LoroDoc;
}

interface LoroVersion {
  encode(): Uint8Array;
}

interface LoroDoc {
  setPeerId(peer: bigint): void;
  getMap(name: string): { get(key: string): unknown; set(key: string, value: Value): void };
  commit(): void;
  import(bytes: Uint8Array): void;
  version(): LoroVersion;
  export(
    mode: { readonly mode: "snapshot" } | { readonly mode: "update"; readonly from: LoroVersion },
  ): Uint8Array;
  subscribeLocalUpdates(listener: (update: Uint8Array) => void): () => void;
}

function loro(): Engine {
  const { LoroDoc } = require("loro-crdt") as Loro;
  const create = (): EngineDocument => {
    const doc = new LoroDoc();
    const map = doc.getMap(ROOT);
    let last = new Uint8Array();
    let peer = -1;
    doc.subscribeLocalUpdates((update) => {
      last = new Uint8Array(update);
    });
    return {
      set: (rows, writer) => {
        if (writer !== peer) doc.setPeerId(BigInt(FIRST_CLIENT + writer));
        peer = writer;
        for (const { key, value } of rows) map.set(key, value);
        doc.commit();
        return last;
      },
      apply: (update) => {
        doc.import(update);
      },
      encode: () => doc.export({ mode: "snapshot" }),
      reader: () => Promise.resolve((key) => map.get(key)),
      have: () => doc.version(),
      diff: (have) => doc.export({ mode: "update", from: have as LoroVersion }),
      check: () => doc.version().encode(),
    };
  };
  return {
    create,
    load: (state) => {
      const document = create();
      document.apply(state, 0);
      return document;
    },
  };
}

/** Loads an engine by the name of its figure. */
export const PEER_ENGINES: Readonly<Record<string, () => Engine>> = {
  "Y.Map": yjs,
  ywasm,
  Automerge: automerge,
  Loro: loro,
};
