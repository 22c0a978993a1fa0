// SPDX-License-Identifier: Apache-2.0
/** JSON in which every member is said once: parsers differ in which of two they take (RFC 8259, 4), and what one checks another must not read otherwise. */
import { MeshError } from "@ctxmesh/model";

/** A JSON object, before its members are looked at. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Strings and what structures them; all else in valid JSON does not matter here. */
const TOKENS = /"(?:[^"\\]|\\.)*"|[{}[\],]/gsu;

/** Whether valid JSON has an object with the same member twice, in whatever spelling. */
function hasDuplicates(text: string): boolean {
  const open: (Set<string> | undefined)[] = [];
  let isName = false;
  for (const [token] of text.matchAll(TOKENS)) {
    if (token === "{" || token === "[") open.push(token === "{" ? new Set() : undefined);
    else if (token === "}" || token === "]") open.pop();
    const members = open.at(-1);
    if (token === "{" || token === ",") isName = members !== undefined;
    else if (token.startsWith('"') && isName && members !== undefined) {
      const name = JSON.parse(token) as string;
      if (members.has(name)) return true;
      members.add(name);
      isName = false;
    } else isName = false;
  }
  return false;
}

/** The JSON object that UTF-8 bytes, or a text, are. Throws `INPUT_INVALID`, with `what` it was meant to be. */
export function parseObject(input: Uint8Array | string, what: string): JsonObject {
  let text: string;
  let value: unknown;
  try {
    text =
      typeof input === "string"
        ? input
        : new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(input);
    value = JSON.parse(text);
  } catch (cause) {
    throw new MeshError("INPUT_INVALID", `${what} is no JSON`, { cause });
  }
  if (!isObject(value)) throw new MeshError("INPUT_INVALID", `${what} is no JSON object`);
  if (hasDuplicates(text)) {
    throw new MeshError("INPUT_INVALID", `${what} has a member twice`);
  }
  return value;
}

/** Whether a value is an object, and no array. */
export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);
