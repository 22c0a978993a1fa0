// SPDX-License-Identifier: Apache-2.0
/** Reading the small files that commands and configurations name, and replacing files whole. */
import { readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { createDeviceVerifier, parsePrivateKey } from "@ctxmesh/crypto";
import type { Algorithm, PrivateKey } from "@ctxmesh/crypto";
import { parseSpaceFile } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { LIMITS, MeshError, toMeshError } from "@ctxmesh/model";
import type { MeshErrorCode } from "@ctxmesh/model";

/** The text of a file of `LIMITS.smallFileBytes` at most. Throws `LIMIT_EXCEEDED`, or `code` when it can't be read. */
export async function readSmallFile(
  path: string,
  what: string,
  code: MeshErrorCode,
): Promise<string> {
  return readBoundedFile(path, what, code, LIMITS.smallFileBytes);
}

/** The text of a file of `limit` bytes at most. Throws `LIMIT_EXCEEDED`, or `code` when it can't be read. */
export async function readBoundedFile(
  path: string,
  what: string,
  code: MeshErrorCode,
  limit: number,
): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size > limit) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `the ${what} ${path} has ${String(size)} bytes; at most ${String(limit)} are read`,
      );
    }
    return await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof MeshError) throw error;
    const reason = error instanceof Error && "code" in error ? String(error.code) : String(error);
    throw new MeshError(code, `can't read the ${what} ${path}: ${reason}`, {
      remedy: "check the path, and that this user may read it",
      cause: error,
    });
  }
}

/** The error of a parser with the file's path in front. */
function inFile(path: string, error: unknown): MeshError {
  const { code, message, field, remedy } = toMeshError(error);
  return new MeshError(code, `${path}: ${message}`, {
    ...(field === undefined ? {} : { field }),
    ...(remedy === undefined ? {} : { remedy }),
    cause: error,
  });
}

/** Reads a private key file. Throws `KEY_INVALID`, also for a key of another algorithm. */
export async function readKey(path: string, alg: Algorithm): Promise<PrivateKey> {
  const text = await readSmallFile(path, "key", "KEY_INVALID");
  let key: PrivateKey;
  try {
    key = parsePrivateKey(text);
  } catch (error) {
    throw inFile(path, error);
  }
  if (key.alg === alg) return key;
  throw new MeshError("KEY_INVALID", `${path}: is a key for ${key.alg}; ${alg} is needed here`);
}

/** Reads a space file and verifies every signature in it. Throws `FILE_UNAVAILABLE` and what the parser throws. */
export async function readSpace(path: string): Promise<Space> {
  const limit = LIMITS.spaceFileBytes;
  const text = await readBoundedFile(path, "space file", "FILE_UNAVAILABLE", limit);
  try {
    return parseSpaceFile(text, createDeviceVerifier());
  } catch (error) {
    throw inFile(path, error);
  }
}

/**
 * Writes beside the target and renames, so that a failure leaves no half a file. Throws `FILE_UNAVAILABLE`
 * with the option or file at fault and what to do.
 */
export async function writeWhole(
  path: string,
  data: Uint8Array | string,
  options: { readonly mode?: number; readonly field: string; readonly remedy: string },
): Promise<void> {
  const { mode = 0o644, field, remedy } = options;
  const partial = `${path}.partial-${String(process.pid)}`;
  try {
    await writeFile(partial, data, { flag: "wx", mode, flush: true });
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    const reason = error instanceof Error && "code" in error ? String(error.code) : String(error);
    throw new MeshError("FILE_UNAVAILABLE", `can't write ${path}: ${reason}`, {
      field,
      remedy,
      cause: error,
    });
  }
}
