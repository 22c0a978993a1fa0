// SPDX-License-Identifier: Apache-2.0
/** Providers whose key is a text of 43 characters: in a file, a systemd credential, or an environment variable. */
import { randomBytes } from "node:crypto";
import { constants, existsSync } from "node:fs";
import { link, open, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { MeshError } from "@ctxmesh/model";
import { KEY_BYTES } from "./key-wrap.ts";
import type { KeyProvider } from "./provider.ts";
import { formatKeyText, localKeyProvider, parseKeyText } from "./provider.ts";

/** A key file has 44 bytes; this leaves room for what is wrong with it. */
const READ_BYTES = 256;
const OTHERS = 0o077;

/**
 * A key in a file with mode 0600: 32 random bytes as base64url, and a newline. With `create` a
 * missing file is made when the first store key is wrapped, never when one is unwrapped. Its calls
 * throw `KEY_INVALID` when the file is missing, holds something else, or is open to other users,
 * and `FILE_UNAVAILABLE` when it can't be made.
 */
export function fileKeyProvider(
  path: string,
  { create }: { readonly create: boolean },
): KeyProvider {
  const id = `file:${path}`;
  return localKeyProvider(id, async (use) => {
    if (create && use === "wrap") await createKeyFile(path);
    return parseKeyText(id, await readKeyFile(path, OTHERS));
  });
}

/**
 * A key in the systemd credential `name` (`LoadCredential=`, `LoadCredentialEncrypted=`), in the
 * form of a key file. Its calls throw `KEY_INVALID`; the constructor `CONFIG_INVALID` for a name with a slash.
 */
export function credentialKeyProvider(name: string): KeyProvider {
  if (name === "" || basename(name) !== name || name.startsWith(".")) {
    throw new MeshError(
      "CONFIG_INVALID",
      `${JSON.stringify(name)} is no name of a credential: a file name without a slash`,
    );
  }
  const id = `credential:${name}`;
  return localKeyProvider(id, async () => {
    const folder = process.env["CREDENTIALS_DIRECTORY"];
    if (folder === undefined || folder === "") {
      throw new MeshError("KEY_INVALID", `${id}: CREDENTIALS_DIRECTORY is not set`, {
        remedy: `start the program as a systemd service with LoadCredential=${name}:/path/of/the/key`,
      });
    }
    // The folder is closed to others; the mode of the files in it shows the mask of an access list.
    return parseKeyText(id, await readKeyFile(join(folder, name), 0));
  });
}

/** A key in an environment variable, in the form of a key file. Its calls throw `KEY_INVALID`. Child processes inherit it: a file or a credential is better. */
export function environmentKeyProvider(variable: string): KeyProvider {
  const id = `environment:${variable}`;
  return localKeyProvider(id, async () => {
    const text = process.env[variable];
    if (text === undefined) {
      throw new MeshError("KEY_INVALID", `${id}: the environment variable is not set`);
    }
    return parseKeyText(id, await Promise.resolve(text));
  });
}

/** The text of a key file none of whose `forbidden` permission bits is set. */
async function readKeyFile(path: string, forbidden: number): Promise<string> {
  let handle;
  try {
    // O_NONBLOCK: a FIFO in its place must not stop the program.
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw new MeshError("KEY_INVALID", `can't read the key file ${path}: ${codeOf(error)}`, {
      remedy: "give the file that the store was made with, and let this user read it",
      cause: error,
    });
  }
  try {
    const status = await handle.stat();
    if (!status.isFile()) throw new MeshError("KEY_INVALID", `${path} is not a file`);
    if ((status.mode & forbidden) !== 0) {
      throw new MeshError(
        "KEY_INVALID",
        `the key file ${path} is open to other users: mode 0${(status.mode & 0o777).toString(8)}`,
        { remedy: `chmod 600 ${path}; if others may have read it, rotate to a new key` },
      );
    }
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(READ_BYTES), 0, READ_BYTES, 0);
    return buffer.toString("latin1", 0, bytesRead);
  } finally {
    await handle.close();
  }
}

/** Makes a key file unless there is one; it has its whole content, on stable storage, from the moment it is there. */
async function createKeyFile(path: string): Promise<void> {
  if (existsSync(path)) return;
  const aside = `${path}.new-${randomBytes(4).toString("hex")}`;
  try {
    const handle = await open(aside, "wx", 0o600);
    try {
      await handle.writeFile(formatKeyText(randomBytes(KEY_BYTES)));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await link(aside, path).catch((error: unknown) => {
      if (codeOf(error) !== "EEXIST") throw error;
    });
  } catch (error) {
    throw new MeshError("FILE_UNAVAILABLE", `can't make the key file ${path}: ${codeOf(error)}`, {
      remedy: "create its folder, and let this user write to it",
      cause: error,
    });
  } finally {
    await rm(aside, { force: true });
  }
  const folder = await open(dirname(path), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : String(error);
}
