// SPDX-License-Identifier: Apache-2.0
/** The facts CRDT as an engine of the `facts` benchmark. */
import { assertJsonValue, canonicalJson } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import {
  HlcClock,
  SlotStore,
  WasmStore,
  decodeFrame,
  decodeState,
  encodeFrame,
  encodeFrames,
  encodeState,
  isFactKey,
} from "@ctxmesh/facts";
import type { ChainId, FactRecord, FactStore, Summary } from "@ctxmesh/facts";
import { parseDeviceKey, parseIncarnationId, toHex } from "@ctxmesh/model";
import type { Hlc } from "@ctxmesh/model";
import { systemClock, systemRandom } from "@ctxmesh/service";
import { encodeMessage } from "@ctxmesh/sync";
import type { Row } from "../facts-trace.ts";
import type { Engine, EngineDocument } from "./facts-contract.ts";
import { replicaReader } from "./facts-replica.ts";

const DIGEST_BYTES = 16;

/** Keys as they are: hash values, in bytes of their own. */
const chainOf = (writer: number): ChainId => {
  const name = sha256(Buffer.from(`writer ${String(writer)}`));
  return {
    writer: parseDeviceKey(toHex(name)),
    incarnation: parseIncarnationId(toHex(name.subarray(0, 16))),
  };
};

/** A store of facts behind the contract, with the parts of a local write that a replica adds. */
class SlotDocument<S extends FactStore> implements EngineDocument {
  protected readonly store: S;
  readonly #clock = new HlcClock(systemClock, 0 as Hlc);
  readonly #chains = new Map<number, ChainId>();
  readonly #seqs = new Map<number, number>();

  constructor(store: S) {
    this.store = store;
  }

  protected chain(writer: number): ChainId {
    let chain = this.#chains.get(writer);
    if (chain === undefined) {
      chain = chainOf(writer);
      this.#chains.set(writer, chain);
    }
    return chain;
  }

  set(rows: readonly Row[], writer: number): Uint8Array {
    const from = this.#seqs.get(writer) ?? 0;
    const records = rows.map(({ key, value }, i): FactRecord => {
      if (!isFactKey(key) || !key.isWellFormed()) throw new Error("not a key");
      assertJsonValue(value, "value");
      return { key, valueJson: canonicalJson(value), seq: from + i + 1, hlc: this.#clock.tick() };
    });
    const to = from + rows.length;
    this.#seqs.set(writer, to);
    const frame = { from, to, records };
    this.store.applyFrame(this.chain(writer), frame);
    return encodeFrame(frame);
  }

  apply(update: Uint8Array, writer: number): void {
    this.store.applyFrame(this.chain(writer), decodeFrame(update));
  }

  encode(): Uint8Array {
    return encodeState(this.store);
  }

  async reader(rows: readonly Row[], contested: boolean): Promise<(key: string) => unknown> {
    return replicaReader(rows, contested);
  }

  have(): Summary {
    return this.store.summary();
  }

  diff(have: unknown): Uint8Array {
    return encodeFrames(this.store.diff(have as Summary));
  }

  check(): Uint8Array {
    const digest = new Uint8Array(DIGEST_BYTES);
    return encodeMessage({ type: "digest", digest, records: digest, asks: true });
  }
}

/** The engine. */
export const ctxmesh: Engine = {
  create: () => new SlotDocument(new SlotStore()),
  load: (state) => new SlotDocument(decodeState(state)),
};

/** In WebAssembly: frames go in as bytes. */
class WasmDocument extends SlotDocument<WasmStore> {
  override apply(update: Uint8Array, writer: number): void {
    this.store.applyBytes(this.chain(writer), update);
  }
}

const wasmStore = (): WasmStore => new WasmStore(systemRandom.bytes(WasmStore.seedBytes));

/** The engine in WebAssembly. */
export const ctxmeshWasm: Engine = {
  create: () => new WasmDocument(wasmStore()),
  load: (state) => new WasmDocument(decodeState(state, wasmStore)),
};
