// SPDX-License-Identifier: Apache-2.0
/** What an agent and a hub have in common: their assembly, the node's operations over its replica, the system's clock and randomness. */
export { LatencyWindow } from "./latency-window.ts";
export { NodeService } from "./node-service.ts";
export type { NodeServiceOptions } from "./node-service.ts";
export { openReplica, serve, startSync } from "./node.ts";
export type { NodeDeps, NodeOptions, OpenReplica } from "./node.ts";
export { systemClock, systemRandom } from "./system.ts";
