// SPDX-License-Identifier: Apache-2.0
/** The `Engine` port on PostgreSQL: what several hubs share. */
export { openPostgresEngine } from "./engine.ts";
export type { PostgresEngineOptions } from "./engine.ts";
