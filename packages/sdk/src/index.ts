// SPDX-License-Identifier: Apache-2.0
/**
 * The client of a node on the same machine.
 *
 * ```ts
 * const mesh = connect({ socketPath: "agent-1/agent.sock" });
 * await mesh.put("line-2/press-7", { key: "temperature", value: 71.5, confidence: 0.9 });
 * const fact = await mesh.get("line-2/press-7", "temperature");
 * for await (const { key, fact } of mesh.watch({ doc: "line-2/press-7" })) console.log(key, fact?.value);
 * mesh.close();
 * ```
 */
export { connect } from "./client.ts";
export type { ConnectOptions, ContextClient, KeyCandidates } from "./client.ts";
export type { EventCalls, EventFeed, EventOptions } from "./events.ts";
export type { HistoryOptions, ListOptions, ReadOptions } from "./reads.ts";
export type { Watch } from "./watch.ts";
