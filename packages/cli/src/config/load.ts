// SPDX-License-Identifier: Apache-2.0
/**
 * Reads a configuration file: YAML 1.2, one document, validated against its JSON Schema. Every
 * problem is reported at once, each as `FILE:LINE:COLUMN: what`.
 */
import { readFile, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { LIMITS, MeshError } from "@ctxmesh/model";
import { compileOwn } from "@ctxmesh/schema";
import type { ErrorObject, ValidateFunction } from "@ctxmesh/schema";
import { isMap } from "yaml";
import type { Document } from "yaml";
import { CONFIG_SCHEMAS } from "./schema.ts";
import type { Schema } from "./schema.ts";
import { suggest } from "./suggest.ts";
import type { ConfigByKind, ConfigKind } from "./types.ts";
import { keyOffset, offsetOf, parseYaml, refuseProblems } from "./yaml-file.ts";
import type { Path, Problem } from "./yaml-file.ts";

/** Reads, validates and completes a file. Throws `FILE_UNAVAILABLE` or `CONFIG_INVALID`. */
export async function loadConfig<Kind extends ConfigKind>(
  kind: Kind,
  file: string,
): Promise<ConfigByKind[Kind]> {
  return parseConfig(kind, await readText(file), file);
}

/** Which daemon a file is meant for: the hub when it says how to seal, as only a hub's does. Throws like {@link loadConfig}. */
export async function configKindOf(file: string): Promise<ConfigKind> {
  const { document } = parseYaml(await readText(file), file);
  return document.has("seal") ? "hub" : "agent";
}

/** Validates and completes a file's text. Relative paths resolve against the file's folder. Throws `CONFIG_INVALID`. */
export function parseConfig<Kind extends ConfigKind>(
  kind: Kind,
  text: string,
  file: string,
): ConfigByKind[Kind] {
  const yaml = parseYaml(text, file);
  const { value, document } = yaml;
  const validate = validatorOf(kind);
  validate(value);
  const problems = (validate.errors ?? [])
    // Says no more than the error inside its `then`.
    .filter(({ keyword }) => keyword !== "if")
    .map((error) => problemOf(error, document));
  refuseProblems(yaml, problems);
  return resolvePaths(value, CONFIG_SCHEMAS[kind], dirname(resolve(file))) as ConfigByKind[Kind];
}

const validators = new Map<ConfigKind, ValidateFunction>();

function validatorOf(kind: ConfigKind): ValidateFunction {
  const known = validators.get(kind);
  if (known !== undefined) return known;
  const validate = compileOwn(CONFIG_SCHEMAS[kind], ["path"]);
  validators.set(kind, validate);
  return validate;
}

async function readText(file: string): Promise<string> {
  try {
    const { size } = await stat(file);
    if (size > LIMITS.smallFileBytes) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `${file} has ${String(size)} bytes; a configuration file has at most ${String(LIMITS.smallFileBytes)}`,
      );
    }
    return await readFile(file, "utf8");
  } catch (error) {
    if (error instanceof MeshError) throw error;
    const reason = error instanceof Error && "code" in error ? String(error.code) : String(error);
    throw new MeshError("FILE_UNAVAILABLE", `can't read the configuration ${file}: ${reason}`, {
      remedy: "check the path; ctxmesh init makes a folder with configurations",
      cause: error,
    });
  }
}

/** `/mesh/peers/0` (RFC 6901) as a path; numbers stay text where the parent is a mapping. */
function pathOf(pointer: string, document: Document): Path {
  const path: (string | number)[] = [];
  for (const part of pointer.split("/").slice(1)) {
    const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
    const parent: unknown = path.length === 0 ? document.contents : document.getIn(path, true);
    path.push(isMap(parent) || !/^[0-9]+$/u.test(name) ? name : Number(name));
  }
  return path;
}

const showPath = (path: Path): string =>
  path
    .map((part, index) =>
      typeof part === "number" ? `[${String(part)}]` : index === 0 ? part : `.${part}`,
    )
    .join("");

function problemOf(error: ErrorObject, document: Document): Problem {
  const path = pathOf(error.instancePath, document);
  const place = path.length === 0 ? "" : ` in ${showPath(path)}`;
  const schema: Schema | undefined = error.parentSchema;
  const params = error.params as Readonly<Record<string, unknown>>;
  const at = path.length === 0 ? "the configuration" : showPath(path);
  const offset = offsetOf(path, document);
  switch (error.keyword) {
    case "additionalProperties": {
      const key = String(params["additionalProperty"]);
      const known = Object.keys(schema?.properties ?? {});
      const meant = suggest(key, known);
      const hint =
        meant === undefined ? `known are ${known.join(", ")}` : `did you mean "${meant}"?`;
      const message = `unknown key ${JSON.stringify(key)}${place}; ${hint}`;
      return { offset: keyOffset(path, key, document), message };
    }
    case "required":
      return {
        offset,
        message: `the key "${String(params["missingProperty"])}" is missing${place}`,
      };
    case "enum": {
      const allowed = (params["allowedValues"] as readonly unknown[]).map(String);
      const meant = suggest(String(error.data), allowed);
      const hint = meant === undefined ? "" : `; did you mean "${meant}"?`;
      return { offset, message: `${at} must be one of ${allowed.join(", ")}${hint}` };
    }
    case "uniqueItems":
    case "maxItems":
      return { offset, message: `${at} ${error.message ?? "is not valid"}` };
    default: {
      const expected = schema?.title ?? (schema?.["type"] === "object" ? "a mapping" : undefined);
      const message =
        expected === undefined ? (error.message ?? "is wrong") : `must be ${expected}`;
      return { offset, message: `${at} ${message}` };
    }
  }
}

/** A copy in which every string of format `path` is absolute. */
function resolvePaths(value: unknown, schema: Schema | undefined, folder: string): unknown {
  if (schema?.["format"] === "path") return resolve(folder, String(value));
  if (Array.isArray(value)) {
    return value.map((item: unknown) => resolvePaths(item, schema?.items, folder));
  }
  if (typeof value !== "object" || value === null) return value;
  const properties = { ...schema?.properties, ...variantOf(value, schema)?.properties };
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, resolvePaths(item, properties[key], folder)]),
  );
}

/** The `then` schema of the alternative that a value's `type` chooses. */
function variantOf(value: object, schema: Schema | undefined): Schema | undefined {
  const variants = (schema?.["allOf"] ?? []) as readonly { readonly then: Schema }[];
  const type = "type" in value ? value.type : undefined;
  return variants.find(({ then }) => then.properties?.["type"]?.["const"] === type)?.then;
}
