// SPDX-License-Identifier: Apache-2.0
/** The built-in sources of facts: the machine itself, and files replayed. */
export { createCsvSource } from "./csv.ts";
export type { CsvSourceOptions } from "./csv.ts";
export { createHostSource } from "./host.ts";
export type { HostSourceOptions } from "./host.ts";
export type { AlsoKey, Source, SourceDeps, SourceWrite, Wait, WriteFacts } from "./source.ts";
