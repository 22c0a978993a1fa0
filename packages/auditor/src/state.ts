// SPDX-License-Identifier: Apache-2.0
/**
 * What an auditor has seen before, in a folder of its own: for each log the largest tree head that verified, and
 * the newest trust root under which something was valid. A file is replaced whole, so a crash leaves the one before.
 *
 * ```
 * log-<first 32 hex digits of SHA-256(origin)>.json   {"format":"ctxmesh-seen-log/v1","origin","root":base64,"size":uint}
 * root.json                                           the trust root's file, byte for byte
 * ```
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import {
  canonicalJson,
  fromBase64,
  parseCanonicalJson,
  toBase64,
  utf8Decode,
} from "@ctxmesh/codec";
import { sha256Hex } from "@ctxmesh/crypto";
import { parseTrustRoot } from "@ctxmesh/ledger";
import type { TreeHead, TrustRoot } from "@ctxmesh/ledger";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import { readBounded } from "./files.ts";

const LOG_FORMAT = "ctxmesh-seen-log/v1";
const HASH_BYTES = 32;

type Members = Readonly<Record<string, JsonValue>>;

const damaged = (path: string): never => {
  throw new MeshError("FORMAT_INVALID", `state file ${path} is not what was written`, {
    remedy: "find out who changed it; what this auditor has seen before is lost with it",
  });
};

/** Writes a file whole, and durably: beside it, synced, renamed, and the folder synced. Throws `FILE_UNAVAILABLE`. */
export function replaceFile(what: string, path: string, content: string): void {
  const partial = `${path}.partial-${String(process.pid)}`;
  try {
    const file = openSync(partial, "wx", 0o644);
    try {
      writeSync(file, content);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(partial, path);
    const folder = openSync(join(path, ".."), "r");
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
  } catch (error) {
    rmSync(partial, { force: true });
    const { code = "error" } = error as NodeJS.ErrnoException;
    throw new MeshError("FILE_UNAVAILABLE", `${what} ${path} can't be written (${code})`, {
      field: what,
      remedy: "give a path in a folder that exists and that this user may write to",
      cause: error,
    });
  }
}

function readMembers(path: string, format: string): Members | undefined {
  if (!existsSync(path)) return undefined;
  const bytes = readBounded("state file", path, LIMITS.smallFileBytes);
  let value: JsonValue;
  try {
    value = parseCanonicalJson(utf8Decode(bytes), "state file");
  } catch {
    return damaged(path);
  }
  const isOurs =
    typeof value === "object" && value !== null && "format" in value && value["format"] === format;
  return isOurs ? (value as Members) : damaged(path);
}

/** What was seen before. */
export class AuditState {
  readonly #folder: string;

  /** The folder is made where it is missing. Throws `FILE_UNAVAILABLE`. */
  constructor(folder: string) {
    this.#folder = folder;
    try {
      mkdirSync(folder, { recursive: true });
    } catch (error) {
      const { code = "error" } = error as NodeJS.ErrnoException;
      throw new MeshError("FILE_UNAVAILABLE", `state ${folder} can't be made (${code})`, {
        field: "state",
        cause: error,
      });
    }
  }

  #logPath(origin: string): string {
    return join(this.#folder, `log-${sha256Hex(origin).slice(0, HASH_BYTES)}.json`);
  }

  /** The largest tree head of a log that was remembered. Throws `FORMAT_INVALID` for a damaged file. */
  head(origin: string): TreeHead | undefined {
    const path = this.#logPath(origin);
    const members = readMembers(path, LOG_FORMAT);
    if (members === undefined) return undefined;
    const { size, root, origin: named } = members;
    const isSize = typeof size === "number" && Number.isSafeInteger(size) && size > 0;
    if (named !== origin || !isSize || typeof root !== "string") return damaged(path);
    const bytes = fromBase64(root);
    return bytes.length === HASH_BYTES ? { origin, size, root: bytes } : damaged(path);
  }

  /** Remembers a tree head. Throws `FILE_UNAVAILABLE`. */
  remember({ origin, size, root }: TreeHead): void {
    const text = canonicalJson({ format: LOG_FORMAT, origin, size, root: toBase64(root) });
    replaceFile("state file", this.#logPath(origin), text);
  }

  get #rootPath(): string {
    return join(this.#folder, "root.json");
  }

  /** The newest trust root that was remembered. Throws `FORMAT_INVALID` for a damaged file. */
  root(): TrustRoot | undefined {
    const path = this.#rootPath;
    if (!existsSync(path)) return undefined;
    const bytes = readBounded("state file", path, LIMITS.smallFileBytes);
    try {
      return parseTrustRoot(utf8Decode(bytes));
    } catch {
      return damaged(path);
    }
  }

  /** Remembers a trust root by the text of its file. Throws `FILE_UNAVAILABLE`. */
  rememberRoot(text: string): void {
    replaceFile("state file", this.#rootPath, text);
  }
}
