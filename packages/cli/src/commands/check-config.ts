// SPDX-License-Identifier: Apache-2.0
import { loadConfig } from "../config/load.ts";
import { renderConfig, renderConfigJson } from "../config/render.ts";
import { schemaFileText } from "../config/schema.ts";
import type { ConfigKind } from "../config/types.ts";
import { createOutput } from "../output.ts";

/** Prints the effective configuration of a file, or throws what is wrong with it. */
export async function checkConfig(
  kind: ConfigKind,
  file: string,
  options: { readonly json?: boolean },
): Promise<void> {
  const config = await loadConfig(kind, file);
  const output = createOutput(options);
  await output.line(output.json ? renderConfigJson(config) : renderConfig(config).trimEnd());
}

/** Prints the JSON Schema of a daemon's configuration. */
export async function printSchema(kind: ConfigKind): Promise<void> {
  await createOutput({}).line(schemaFileText(kind).trimEnd());
}
