// SPDX-License-Identifier: Apache-2.0
/** What the page of `wasm-browser.test.ts` runs: both engines on the same frames. */
import { SlotStore, WasmStore, encodeState } from "@ctxmesh/facts";
import { toHex } from "@ctxmesh/model";
import { deviceFrames } from "./wasm-frames.ts";

interface Page {
  readonly document: { readonly body: { textContent: string } };
}

const { body } = (globalThis as unknown as Page).document;
try {
  const wasm = new WasmStore(new Uint8Array(WasmStore.seedBytes));
  const js = new SlotStore();
  for (const { chain, bytes, frame } of deviceFrames()) {
    wasm.applyBytes(chain, bytes);
    js.applyFrame(chain, frame);
  }
  const isSame = toHex(encodeState(wasm)) === toHex(encodeState(js));
  body.textContent = `${isSame ? "same" : "different"} ${toHex(wasm.digest())} end`;
} catch (error) {
  body.textContent = String(error);
}
