// SPDX-License-Identifier: Apache-2.0
/** Reading one untrusted file, whole and bounded. */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { MeshError } from "@ctxmesh/model";

const unavailable = (what: string, path: string, why: string, cause?: unknown): MeshError =>
  new MeshError("FILE_UNAVAILABLE", `${what} ${path} ${why}`, {
    field: what,
    remedy: "give the path of a file that this user can read",
    cause,
  });

function open(what: string, path: string): number {
  try {
    // Without O_NONBLOCK the opening of a named pipe would wait for a writer.
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === "ENOENT" ? "does not exist" : `can't be opened (${code ?? "error"})`;
    throw unavailable(what, path, why, error);
  }
}

/** Fills `bytes` from the file; returns how many there were. */
function fill(fd: number, bytes: Uint8Array): number {
  let length = 0;
  while (length < bytes.length) {
    const count = readSync(fd, bytes, length, bytes.length - length, null);
    if (count === 0) break;
    length += count;
  }
  return length;
}

/**
 * The bytes of a regular file of `limit` bytes at most. Throws `FILE_UNAVAILABLE`, or
 * `LIMIT_EXCEEDED` before anything is read; `what` names the file in messages.
 */
export function readBounded(what: string, path: string, limit: number): Uint8Array {
  const fd = open(what, path);
  try {
    const { size } = regularFile(what, path, fd);
    if (size > limit) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `${what} ${path} has ${String(size)} bytes; at most ${String(limit)} are read`,
        { field: what },
      );
    }
    const bytes = new Uint8Array(size);
    return bytes.subarray(0, fill(fd, bytes));
  } catch (error) {
    if (error instanceof MeshError) throw error;
    throw unavailable(what, path, "can't be read", error);
  } finally {
    closeSync(fd);
  }
}

function regularFile(what: string, path: string, fd: number): { readonly size: number } {
  const stat = fstatSync(fd);
  if (!stat.isFile()) throw unavailable(what, path, "is not a regular file");
  return stat;
}
