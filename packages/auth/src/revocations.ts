// SPDX-License-Identifier: Apache-2.0
/** Tokens and subjects that are accepted no more, although their tokens are not over. */
import { readFile, stat } from "node:fs/promises";
import { LIMITS, MeshError, toMeshError } from "@ctxmesh/model";
import type { Logger } from "@ctxmesh/model";
import { parseObject } from "./strict-json.ts";

/** What is revoked. */
export interface RevokedTokens {
  /** Ids of tokens (`jti`). */
  readonly tokens: ReadonlySet<string>;
  /** Who they were issued to (`sub`): every token of theirs, until they are taken off the list. */
  readonly subjects: ReadonlySet<string>;
}

/** A list that may change; its listeners hear of it. */
export class Revocations {
  #revoked: RevokedTokens = { tokens: new Set(), subjects: new Set() };
  #listener: () => void = () => undefined;

  /** Whether a token, or all of its subject, are revoked. */
  includes({ token, subject }: { readonly token: string; readonly subject: string }): boolean {
    return this.#revoked.tokens.has(token) || this.#revoked.subjects.has(subject);
  }

  /** Replaces the list. */
  set(revoked: RevokedTokens): void {
    this.#revoked = revoked;
    this.#listener();
  }

  /** Calls `listener` after each change, in place of the one before. */
  onChange(listener: () => void): void {
    this.#listener = listener;
  }
}

/** How often the file is looked at, in milliseconds. */
const LOOK_MS = 1_000;

const malformed = (path: string, why: string): MeshError =>
  new MeshError("CONFIG_INVALID", `${path} ${why}`, {
    field: "auth.revocations",
    remedy: 'write it as { "tokens": ["<jti>"], "subjects": ["<sub>"] }',
  });

function parse(path: string, text: string): RevokedTokens {
  const { tokens = [], subjects = [], ...others } = parseObject(text, path);
  const lists = [tokens, subjects];
  const isRight =
    Object.keys(others).length === 0 &&
    lists.every((list) => Array.isArray(list) && list.every((item) => typeof item === "string"));
  if (!isRight) throw malformed(path, "is no list of revoked tokens and subjects");
  const [tokenIds = [], subjectIds = []] = lists as readonly (readonly string[])[];
  if (tokenIds.length + subjectIds.length > LIMITS.revokedTokens) {
    throw malformed(path, `has more than ${String(LIMITS.revokedTokens)} entries (revokedTokens)`);
  }
  return { tokens: new Set(tokenIds), subjects: new Set(subjectIds) };
}

/** Changes whenever the file does. Throws `CONFIG_INVALID` for a file that is too large to be read. */
async function markOf(path: string): Promise<string> {
  const { ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
  if (size > LIMITS.smallFileBytes) {
    throw malformed(path, `has more than ${String(LIMITS.smallFileBytes)} bytes (smallFileBytes)`);
  }
  return [ino, size, mtimeNs, ctimeNs].join(" ");
}

/** A list that follows a file. */
export interface WatchedRevocations {
  readonly revocations: Revocations;
  /** Ends the watch. */
  stop(): void;
}

/**
 * Reads a file `{ "tokens": [...], "subjects": [...] }`, and again within two seconds of a change. When it can't be read any more, or is wrong, what it said last
 * stays in force, and the log says so. Rejects with `FILE_UNAVAILABLE` or `CONFIG_INVALID` when that is so from the start.
 */
export async function watchRevocations(path: string, logger: Logger): Promise<WatchedRevocations> {
  const revocations = new Revocations();
  let mark = "";
  let failure = "";
  const look = async (): Promise<void> => {
    // Before the content: a change in between is seen the next time.
    const now = await markOf(path);
    if (now === mark) return;
    revocations.set(parse(path, await readFile(path, "utf8")));
    mark = now;
    failure = "";
  };
  await look().catch((cause: unknown) => {
    if (cause instanceof MeshError && cause.code === "CONFIG_INVALID") throw cause;
    if (cause instanceof MeshError) throw malformed(path, "is no JSON object");
    throw new MeshError("FILE_UNAVAILABLE", `${path} can't be read`, { cause });
  });
  let looking = false;
  const timer = setInterval(() => {
    if (looking) return;
    looking = true;
    void look()
      .catch((error: unknown) => {
        const { message } = toMeshError(error);
        if (message !== failure) logger.error("revocations.unavailable", { path, error: message });
        failure = message;
      })
      .finally(() => {
        looking = false;
      });
  }, LOOK_MS);
  timer.unref();
  return { revocations, stop: () => clearInterval(timer) };
}
