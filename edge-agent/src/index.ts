// SPDX-License-Identifier: Apache-2.0
/** The edge agent: a replica with a mesh, hub connections, a local API and sources. */
export { createAgent } from "./agent.ts";
export { Retainer } from "./retainer.ts";
export type { RetainerOptions } from "./retainer.ts";
export type { Agent, AgentOptions } from "./agent.ts";
export { isHubAddress, joinSpace } from "./join.ts";
export type { JoinOptions, JoinStep } from "./join.ts";
export { createCsvSource, createHostSource } from "./sources/index.ts";
export type { AlsoKey, CsvSourceOptions, HostSourceOptions, Source } from "./sources/index.ts";
