// SPDX-License-Identifier: Apache-2.0
/** What adds a module to a space: `{"module": base64, "name": text}`, an entry of the registry beside those of schemas. */
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import { isObject } from "./json.ts";

/** A module as an act has it; whether it can be used is for whoever runs it to say. */
export interface ModuleEntry {
  /** 1 to `LIMITS.moduleText` characters without control characters, for people. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

const NAME = /^\P{Cc}+$/v;
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/u;

function refuse(field: string, problem: string): never {
  throw new MeshError("INPUT_INVALID", `module entry: ${field} ${problem}`, { field });
}

/** Whether an entry is of a module, right or wrong. */
export const isModuleEntry = (value: JsonValue): boolean => isObject(value) && "module" in value;

/** As many arguments as any engine takes. */
const CHUNK = 4_096;

function toBase64(bytes: Uint8Array): string {
  let units = "";
  for (let at = 0; at < bytes.length; at += CHUNK) {
    units += String.fromCharCode(...bytes.subarray(at, at + CHUNK));
  }
  return btoa(units);
}

/** An entry as plain data. */
export const encodeModuleEntry = ({ name, bytes }: ModuleEntry): JsonValue => ({
  module: toBase64(bytes),
  name,
});

/** Parses an untrusted entry: these members and no others, base64 as {@link encodeModuleEntry} writes it. Throws `INPUT_INVALID`, `LIMIT_EXCEEDED`. */
export function parseModuleEntry(value: JsonValue): ModuleEntry {
  if (!isObject(value)) return refuse("entry", "is not an object");
  const { module, name, ...rest } = value;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) refuse(unknown.slice(0, 80), "is no member; there are module, name");
  if (typeof name !== "string" || name.length > LIMITS.moduleText || !NAME.test(name)) {
    return refuse(
      "name",
      `is not 1 to ${String(LIMITS.moduleText)} characters without control characters`,
    );
  }
  if (typeof module !== "string" || !BASE64.test(module)) return refuse("module", "is not base64");
  if (module.length > Math.ceil(LIMITS.moduleBytes / 3) * 4) {
    throw new MeshError(
      "LIMIT_EXCEEDED",
      `the module has over ${String(LIMITS.moduleBytes)} bytes, which is the limit`,
      { field: "module" },
    );
  }
  return { name, bytes: bytesOf(module) };
}

function bytesOf(base64: string): Uint8Array {
  // Only the last characters could say the same otherwise, with other bits behind the last byte.
  if (base64.length % 4 !== 0) return refuse("module", "is not base64");
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const end = bytes.subarray(bytes.length - (bytes.length % 3));
  return base64.endsWith(toBase64(end)) ? bytes : refuse("module", "is not base64");
}
