// SPDX-License-Identifier: Apache-2.0
/** The HTTP servers of a node: the local API on a Unix socket and loopback TCP, and health endpoints on TCP. The only importer of fastify. */
export { createControlServer } from "./control-server.ts";
export type { ControlServer, ControlServerOptions } from "./control-server.ts";
export type { LoopbackOptions } from "./loopback.ts";
export type { AcceptSocket } from "./stream-sockets.ts";
export { createHealthServer } from "./health-server.ts";
export type { HealthServer, HealthServerOptions } from "./health-server.ts";
export type { LogRouteOptions, ServedLog, ServedPage, ServedWitness } from "./log-routes.ts";
export type { NodeMetrics } from "./metrics.ts";
export { PROBLEM_MEDIA_TYPE } from "./problem.ts";
export type { Problem } from "./problem.ts";
export type { DoorTls } from "./tls.ts";
