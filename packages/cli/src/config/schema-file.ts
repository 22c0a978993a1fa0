// SPDX-License-Identifier: Apache-2.0
/** A version of a schema as people write it: YAML or JSON. What it may hold is for `parseEntry`; here its errors get the line. */
import { MeshError } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import { parseEntry } from "@ctxmesh/schema";
import type { ParsedEntry } from "@ctxmesh/schema";
import { stringify } from "yaml";
import { readSmallFile } from "../files.ts";
import { offsetOf, parseYaml, refuseProblems } from "./yaml-file.ts";
import type { Path } from "./yaml-file.ts";

/** Reads an entry. Throws `FILE_UNAVAILABLE`, `LIMIT_EXCEEDED` or `CONFIG_INVALID`. */
export async function loadEntry(file: string): Promise<ParsedEntry> {
  return parseEntryFile(await readSmallFile(file, "schema", "FILE_UNAVAILABLE"), file);
}

/** Parses an entry's text. Throws `CONFIG_INVALID` with the line. */
export function parseEntryFile(text: string, file: string): ParsedEntry {
  const yaml = parseYaml(text, file);
  try {
    return parseEntry(yaml.value as JsonValue);
  } catch (error) {
    if (!(error instanceof MeshError)) throw error;
    const offset = offsetOf(pathOf(error.field ?? ""), yaml.document);
    refuseProblems(yaml, [{ offset, message: error.message }]);
    throw error;
  }
}

/** Of a member of the entry, or a JSON pointer into its schema. */
function pathOf(field: string): Path {
  if (!field.startsWith("/")) return field === "" ? ["schema"] : [field];
  const steps = field.slice(1).split("/");
  return ["schema", ...steps.map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"))].map(
    (step) => (/^\d+$/u.test(step) ? Number(step) : step),
  );
}

/** An entry as a file that {@link loadEntry} reads. */
export const renderEntry = (entry: ParsedEntry): string => stringify(entry);
