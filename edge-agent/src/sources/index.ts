// SPDX-License-Identifier: Apache-2.0
/** The built-in sources of facts: the machine itself, and files replayed. */
import { createCsvSource } from "./csv.ts";
import type { CsvSourceOptions } from "./csv.ts";
import { createHostSource } from "./host.ts";
import type { HostSourceOptions } from "./host.ts";
import type { Source, SourceDeps } from "./source.ts";

export type { CsvSourceOptions } from "./csv.ts";
export type { HostSourceOptions } from "./host.ts";
export type { AlsoKey, Source, SourceDeps, SourceWrite, Wait, WriteFacts } from "./source.ts";

/** A source as configured. */
export type SourceOptions =
  | ({ readonly type: "host" } & HostSourceOptions)
  | ({ readonly type: "csv" } & CsvSourceOptions);

/**
 * Creates the configured sources, all or none; nothing is written before each one's `start`.
 * Throws `FILE_UNAVAILABLE` or `CONFIG_INVALID` for a file that is not to be had or not what it should be.
 */
export async function openSources(
  options: readonly SourceOptions[],
  deps: SourceDeps,
): Promise<readonly Source[]> {
  const sources: Source[] = [];
  for (const source of options) {
    sources.push(
      source.type === "host" ? createHostSource(source, deps) : await createCsvSource(source, deps),
    );
  }
  return sources;
}
