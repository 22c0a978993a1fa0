// SPDX-License-Identifier: Apache-2.0
/** The registry of a space's schemas: which values a key may have, and whether a new version keeps its promise. */
export { differencesWithin } from "./compatibility.ts";
export { validatorOf } from "./compile.ts";
export type { Validator, ValueProblem } from "./compile.ts";
export { parseEntry } from "./entry.ts";
export type { ParsedEntry } from "./entry.ts";
export type { Schema } from "./json.ts";
export { encodeModuleEntry, isModuleEntry, parseModuleEntry } from "./module-entry.ts";
export type { ModuleEntry } from "./module-entry.ts";
export { compileOwn } from "./own.ts";
export type { ErrorObject, ValidateFunction } from "./own.ts";
export { Pattern, globPattern } from "./pattern.ts";
export { DocumentSchemas, Registry, assertCompatible, mostUrgent } from "./registry.ts";
export type {
  Admission,
  Defaults,
  ModuleAdmissions,
  PublishedEntry,
  RegisteredVersion,
  Statement,
} from "./registry.ts";
export { parseSchema } from "./subset.ts";
export { typesOf } from "./types.ts";
