// SPDX-License-Identifier: Apache-2.0
/**
 * The client of a node: of one on the same machine, or of one that listens on a port. Browsers get `browser.ts` instead, which knows ports only.
 *
 * ```ts
 * const mesh = connect({ socketPath: "agent-1/agent.sock" });
 * await mesh.put("line-2/press-7", { key: "temperature", value: 71.5, confidence: 0.9 });
 * const fact = await mesh.get("line-2/press-7", "temperature");
 * for await (const { key, fact } of mesh.watch({ doc: "line-2/press-7" })) console.log(key, fact?.value);
 * mesh.close();
 * ```
 */
export { connect } from "./connect.ts";
export type { ConnectOptions, SocketOptions } from "./connect.ts";
export type {
  CallControl,
  ClientOptions,
  ContextClient,
  DecideOptions,
  KeyCandidates,
  PutOptions,
} from "./client.ts";
export type { PortOptions } from "./fetch-transport.ts";
export type { NodeRequest, NodeResponse, Transport } from "./transport.ts";
export type { PutCall, TypedFact, TypedInput, Untyped, ValueOf } from "./types.ts";
export { createView } from "./view.ts";
export type { View, ViewOptions, ViewSource } from "./view.ts";
export type { SchemaCalls, SchemaInput } from "./schemas.ts";
export type { EventCalls, EventFeed, EventOptions } from "./events.ts";
export type { DocumentCalls, EditOptions } from "./documents.ts";
export type { CompareCallOptions, LevelOptions } from "./levels.ts";
export type { HistoryOptions, ListOptions, ReadOptions } from "./reads.ts";
export type { Watch } from "./watch.ts";
