// SPDX-License-Identifier: Apache-2.0
/** A store of LangGraph in a mesh. The only importer of `@langchain/langgraph`. */
export { CtxmeshStore } from "./store.ts";
export type { StoreOptions } from "./store.ts";
