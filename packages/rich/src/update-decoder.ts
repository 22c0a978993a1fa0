// SPDX-License-Identifier: Apache-2.0
/**
 * Decodes a Yjs V1 update (https://github.com/yjs/yjs, `src/utils/encoding.js`) under a budget, without
 * a document. Yjs itself integrates while it parses and so can fail half-way; this reads to the last
 * byte first, knows only what our own replicas write, and never allocates by a declared count. What a gateway carries for a Yjs
 * client may besides hold garbage, of which Yjs forgot where it was, and deleted entries of the root `traces`.
 *
 * ```
 * update  = clients:uint (0 or 1) [ structs:uint client:uint clock:uint struct... ]  deletes
 * struct  = info:u8 [origin:id] [rightOrigin:id] [ 1 root:text | 0 parent:id ] [key:text] content | 0:u8 length:uint
 * deletes = clients:uint { client:uint ranges:uint { clock:uint length:uint }... }...
 * id      = client:uint clock:uint
 * ```
 */
import { LIMITS } from "@ctxmesh/model";
import { ByteReader } from "./byte-reader.ts";
import { assertAtMost, malformed } from "./errors.ts";
import { TRACES_ROOT, parseWireRoot } from "./names.ts";
import type { TypeKind } from "./names.ts";

/** Structs in one update. */
export const MAX_STRUCTS = 10_000;
/** Ranges in one update's delete set. */
export const MAX_DELETE_RANGES = 1_000;
/** Clocks that one update may take. Text that came and went within it takes clocks but no bytes. */
export const MAX_CLOCKS: number = LIMITS.bodyBytes;

/** The name of one character, list element, map entry or format mark. */
export interface StructId {
  readonly client: number;
  readonly clock: number;
}

/**
 * What a struct holds. `deleted` is content that its own update deleted again; `gone` has no place either. `undefined` is that of JavaScript by
 * itself, which editors write as the value of an attribute that is not set.
 */
export type StructContent =
  | "gone"
  | "deleted"
  | "string"
  | "embed"
  | "format"
  | "any"
  | "undefined"
  | TypeKind;

/** A run of operations, as it stands in the update. */
export interface DecodedStruct {
  readonly clock: number;
  /** Clocks that it takes: UTF-16 units of text, elements, else 1. */
  readonly length: number;
  readonly origin: StructId | undefined;
  readonly rightOrigin: StructId | undefined;
  /** The parent, when there is neither origin nor right origin to take it from. */
  readonly parent: StructId | string | undefined;
  /** Whether it is an entry of a map; its key is in `key` only where `parent` is given. */
  readonly hasKey: boolean;
  readonly key: string | undefined;
  readonly content: StructContent;
  /** Nesting of the deepest value in it. */
  readonly depth: number;
}

/** A range of a delete set. */
export interface DecodedDelete extends StructId {
  readonly length: number;
}

/** An update in parts. Without structs (deletions only) `client` is undefined and `from` equals `to`. */
export interface DecodedUpdate {
  readonly client: number | undefined;
  readonly from: number;
  readonly to: number;
  readonly structs: readonly DecodedStruct[];
  readonly deletes: readonly DecodedDelete[];
}

const INFO = { origin: 0x80, rightOrigin: 0x40, key: 0x20, content: 0x1f } as const;
const CONTENT = { deleted: 1, string: 4, embed: 5, format: 6, type: 7, any: 8 } as const;
/** By their numbers in Yjs. A fragment (4) is only a root, and a hook (5) is nothing here. */
const TYPES: readonly (TypeKind | undefined)[] = [
  "list",
  "map",
  "text",
  "element",
  undefined,
  undefined,
  "xmltext",
];

const readId = (read: ByteReader): StructId => ({ client: read.uint(), clock: read.uint() });

function readParent(read: ByteReader, isCarried: boolean): StructId | string {
  const isRoot = read.uint();
  if (isRoot === 0) return readId(read);
  if (isRoot !== 1) malformed(`parent marker ${String(isRoot)}`, "parent");
  const root = read.text();
  if (parseWireRoot(root) === undefined && !(isCarried && root === TRACES_ROOT)) {
    malformed(`the root ${JSON.stringify(root.slice(0, 80))}`, "root");
  }
  return root;
}

type ReadContent = Pick<DecodedStruct, "content" | "length" | "depth">;

function readAnyContent(read: ByteReader): ReadContent {
  const length = read.uint();
  if (length === 1 && read.skipUndefined()) return { content: "undefined", length, depth: 0 };
  let depth = 0;
  for (let i = 0; i < length; i++) depth = Math.max(depth, read.skipAny());
  return { content: "any", length, depth };
}

function readTypeContent(read: ByteReader): ReadContent {
  const ref = read.uint();
  const content = TYPES[ref] ?? malformed(`shared type ${String(ref)}`, "type");
  if (content === "element") {
    const name = read.key();
    if (name === "") malformed("an element without a name", "name");
    assertAtMost(name.length, LIMITS.keyBytes, "characters in a name");
  }
  return { content, length: 1, depth: 0 };
}

function readContent(read: ByteReader, ref: number): ReadContent {
  switch (ref) {
    case CONTENT.deleted:
      return { content: "deleted", length: read.uint(), depth: 0 };
    case CONTENT.string:
      return { content: "string", length: read.text().length, depth: 0 };
    case CONTENT.embed: {
      const { value, depth } = read.json();
      if (typeof value !== "object" || value === null || Array.isArray(value)) {
        malformed("an embed that is not an object", "embed");
      }
      return { content: "embed", length: 1, depth };
    }
    case CONTENT.format:
      read.key();
      return { content: "format", length: 1, depth: read.json().depth };
    case CONTENT.type:
      return readTypeContent(read);
    case CONTENT.any:
      return readAnyContent(read);
    default:
      return malformed(`struct of type ${String(ref)}`, "struct");
  }
}

/** Garbage, as Yjs leaves it of what was in something deleted. */
function readGone(read: ByteReader, clock: number): DecodedStruct {
  const none = { origin: undefined, rightOrigin: undefined, parent: undefined, key: undefined };
  const length = read.uint();
  if (length === 0) malformed("an empty struct", "struct");
  return { clock, length, ...none, hasKey: false, content: "gone", depth: 0 };
}

function readStruct(read: ByteReader, clock: number, isCarried: boolean): DecodedStruct {
  const info = read.u8();
  if (info === 0 && isCarried) return readGone(read, clock);
  const origin = (info & INFO.origin) === 0 ? undefined : readId(read);
  const rightOrigin = (info & INFO.rightOrigin) === 0 ? undefined : readId(read);
  const hasKey = (info & INFO.key) !== 0;
  const inherits = origin !== undefined || rightOrigin !== undefined;
  // The type is looked at before the parent: garbage (0) and gaps (10) have none.
  const ref = info & INFO.content;
  if (ref === 0 || ref === 10) malformed(ref === 0 ? "a garbage struct" : "a gap", "struct");
  const parent = inherits ? undefined : readParent(read, isCarried);
  const key = inherits || !hasKey ? undefined : read.key();
  if (key !== undefined) assertAtMost(key.length, LIMITS.keyBytes, "characters in a key");
  const struct = { clock, origin, rightOrigin, parent, hasKey, key, ...readContent(read, ref) };
  if (struct.length === 0) malformed("an empty struct", "struct");
  return struct;
}

function readStructs(read: ByteReader, isCarried: boolean): Omit<DecodedUpdate, "deletes"> {
  const clients = read.uint();
  if (clients === 0) return { client: undefined, from: 0, to: 0, structs: [] };
  if (clients !== 1) malformed(`structs of ${String(clients)} clients`, "client");
  const count = read.uint();
  assertAtMost(count, MAX_STRUCTS, "structs");
  if (count === 0) malformed("a client without structs", "struct");
  const client = read.uint();
  const from = read.uint();
  const structs: DecodedStruct[] = [];
  let to = from;
  for (let i = 0; i < count; i++) {
    const struct = readStruct(read, to, isCarried);
    structs.push(struct);
    to += struct.length;
    assertAtMost(to - from, MAX_CLOCKS, "clocks");
  }
  if (!Number.isSafeInteger(to)) malformed("clocks over 2^53 - 1", "clock");
  return { client, from, to, structs };
}

/** Clients fall and ranges rise without touching, as Yjs writes them. */
function readDeletes(read: ByteReader): DecodedDelete[] {
  const deletes: DecodedDelete[] = [];
  const clients = read.uint();
  for (let i = 0, before = Infinity; i < clients; i++) {
    const client = read.uint();
    if (client >= before) malformed("delete set out of order", "deletes");
    before = client;
    const ranges = read.uint();
    if (ranges === 0) malformed("a client without deletions", "deletes");
    assertAtMost(deletes.length + ranges, MAX_DELETE_RANGES, "delete ranges");
    for (let j = 0, end = -1; j < ranges; j++) {
      const clock = read.uint();
      const length = read.uint();
      if (clock <= end || length === 0) malformed("delete set out of order", "deletes");
      end = clock + length;
      if (!Number.isSafeInteger(end)) malformed("clocks over 2^53 - 1", "deletes");
      deletes.push({ client, clock, length });
    }
  }
  return deletes;
}

/** Decodes all of `bytes`, which a gateway may carry. Throws `FORMAT_INVALID` or `LIMIT_EXCEEDED`; a V2 update is the former. */
export function decodeUpdate(bytes: Uint8Array, isCarried = false): DecodedUpdate {
  assertAtMost(bytes.length, LIMITS.writeBytes, "bytes");
  const read = new ByteReader(bytes);
  const parts = readStructs(read, isCarried);
  const deletes = readDeletes(read);
  if (!read.atEnd) malformed("bytes after its end", "bytes");
  if (parts.structs.length === 0 && deletes.length === 0) malformed("it changes nothing", "bytes");
  return { ...parts, deletes };
}
