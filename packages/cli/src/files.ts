// SPDX-License-Identifier: Apache-2.0
/** Reading the small files that commands and configurations name, and replacing files whole. */
import { open, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import {
  createDeviceVerifier,
  parsePrivateKey,
  parsePublicKey,
  toPublicKey,
} from "@ctxmesh/crypto";
import type { Algorithm, PrivateKey, PublicKey } from "@ctxmesh/crypto";
import { parseSpaceFile } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { LIMITS, MeshError, toMeshError } from "@ctxmesh/model";
import type { MeshErrorCode } from "@ctxmesh/model";

/** Bytes that are read at a time. */
const PART_BYTES = 65_536;
/** The permissions of group and others. */
const OTHERS = 0o077;

/** The text of a file of `LIMITS.smallFileBytes` at most. Throws `LIMIT_EXCEEDED`, or `code` when it can't be read. */
export async function readSmallFile(
  path: string,
  what: string,
  code: MeshErrorCode,
): Promise<string> {
  return readBoundedFile(path, what, code, LIMITS.smallFileBytes);
}

/** The text of a file, as {@link readBoundedBytes} reads it. */
export const readBoundedFile = async (
  path: string,
  what: string,
  code: MeshErrorCode,
  limit: number,
): Promise<string> => (await readBoundedBytes(path, what, code, limit)).toString("utf8");

/** The bytes of a file, a pipe or a device, `limit` at most. Throws `LIMIT_EXCEEDED`, or `code` when it can't be read. */
export async function readBoundedBytes(
  path: string,
  what: string,
  code: MeshErrorCode,
  limit: number,
): Promise<Buffer> {
  const refuse = (size: string): never => {
    throw new MeshError(
      "LIMIT_EXCEEDED",
      `the ${what} ${path} has ${size} bytes; at most ${String(limit)} are read`,
    );
  };
  try {
    await using handle = await open(path);
    const { size } = await handle.stat();
    if (size > limit) refuse(String(size));
    // What is no regular file has no size, and need not end.
    const parts: Buffer[] = [];
    let read = 0;
    for (;;) {
      const part = Buffer.alloc(Math.min(limit + 1 - read, PART_BYTES));
      const { bytesRead } = await handle.read(part);
      if (bytesRead === 0) return Buffer.concat(parts);
      read += bytesRead;
      if (read > limit) refuse(`more than ${String(limit)}`);
      parts.push(part.subarray(0, bytesRead));
    }
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
export function inFile(path: string, error: unknown): MeshError {
  const { code, message, field, remedy } = toMeshError(error);
  return new MeshError(code, `${path}: ${message}`, {
    ...(field === undefined ? {} : { field }),
    ...(remedy === undefined ? {} : { remedy }),
    cause: error,
  });
}

/** Reads a private key file of any algorithm, encrypted or not; warns on stderr of one that is not, and is open to others. Throws `KEY_INVALID`. */
export async function readPrivateKey(path: string): Promise<PrivateKey> {
  const { key, encrypted } = await loadPrivateKey(path);
  if (!encrypted) await warnOfOthers(path);
  return key;
}

async function loadPrivateKey(
  path: string,
): Promise<{ readonly key: PrivateKey; readonly encrypted: boolean }> {
  const text = await readSmallFile(path, "key", "KEY_INVALID");
  try {
    const encrypted = isEncrypted(text);
    return { key: parsePrivateKey(encrypted ? await decrypted(text) : text), encrypted };
  } catch (error) {
    throw inFile(path, error);
  }
}

/** What was warned of in this process, by path. */
const warnedOf = new Set<string>();

/** Says once that a file is open to its group or to others. Nothing is refused: keys that are used so today would stop their hubs. */
async function warnOfOthers(path: string): Promise<void> {
  // systemd closes the folder of credentials; the mode of the files in it shows the mask of an access list.
  const isCredential = dirname(resolve(path)) === process.env["CREDENTIALS_DIRECTORY"];
  const status = await stat(path);
  if (!status.isFile() || isCredential || (status.mode & OTHERS) === 0 || warnedOf.has(path)) {
    return;
  }
  warnedOf.add(path);
  const mode = (status.mode & 0o777).toString(8).padStart(4, "0");
  process.stderr.write(
    `warning: the private key ${path} is open to other users (mode ${mode}): chmod 600 ${path}; if one may have read it, make a new key and revoke this one\n`,
  );
}

/** Most keys are not, and what decrypts takes a while to load. */
const isEncrypted = (text: string): boolean => text.startsWith("-----BEGIN AGE ");

async function decrypted(text: string): Promise<string> {
  const { decryptKeyFile, readPassphrase } = await import("@ctxmesh/vault");
  const path = process.env["CTXMESH_PASSPHRASE_FILE"];
  if (path === undefined || path === "") {
    throw new MeshError("KEY_INVALID", "is encrypted, and CTXMESH_PASSPHRASE_FILE is not set", {
      remedy: "set it to the path of a file that holds the passphrase",
    });
  }
  return decryptKeyFile(text, await readPassphrase(path));
}

/** Reads a private key file, and warns as {@link readPrivateKey} does. Throws `KEY_INVALID`, also for a key of another algorithm. */
export const readKey = async (path: string, alg: Algorithm): Promise<PrivateKey> =>
  keyFor(alg, path, await readPrivateKey(path));

/** {@link readKey} without a warning, for who looks at the file's mode himself. */
export const readKeyQuietly = async (path: string, alg: Algorithm): Promise<PrivateKey> =>
  keyFor(alg, path, (await loadPrivateKey(path)).key);

function keyFor(alg: Algorithm, path: string, key: PrivateKey): PrivateKey {
  if (key.alg === alg) return key;
  throw new MeshError("KEY_INVALID", `${path}: is a key for ${key.alg}; ${alg} is needed here`);
}

/** Reads the public key of a key file: of a public one, or the public part of a private one. Throws `KEY_INVALID`. */
export async function readPublicKey(path: string): Promise<PublicKey> {
  const text = await readSmallFile(path, "key", "KEY_INVALID");
  let jwk: unknown;
  try {
    jwk = JSON.parse(text);
  } catch {
    jwk = undefined;
  }
  const isPublic = typeof jwk === "object" && jwk !== null && !("priv" in jwk || "d" in jwk);
  if (!isPublic) return toPublicKey(await readPrivateKey(path));
  try {
    return parsePublicKey(jwk);
  } catch (error) {
    throw inFile(path, error);
  }
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
