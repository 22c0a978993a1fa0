// SPDX-License-Identifier: Apache-2.0
/** `ctxmesh keys new`, `public`, `encrypt` and `decrypt`: key files, without a daemon. */
import {
  formatPrivateKey,
  generatePrivateKey,
  parsePrivateKey,
  toPublicJwk,
} from "@ctxmesh/crypto";
import type { Algorithm } from "@ctxmesh/crypto";
import { MeshError } from "@ctxmesh/model";
import { systemRandom } from "@ctxmesh/service";
import { decryptKeyFile, encryptKeyFile, isEncryptedKeyFile, readPassphrase } from "@ctxmesh/vault";
import { writeFile } from "node:fs/promises";
import { inFile, readPublicKey, readSmallFile, writeWhole } from "../files.ts";
import { createOutput } from "../output.ts";

/** Options of `ctxmesh keys new`. */
export interface NewKeyOptions {
  readonly alg: Algorithm;
  readonly json?: boolean;
}

/** Options of `ctxmesh keys encrypt` and `decrypt`. */
export interface EncryptOptions {
  readonly passphraseFile?: string;
  readonly json?: boolean;
}

/** Makes a private key file with mode 0600, never in the place of another file. Throws `FILE_UNAVAILABLE`. */
export async function runKeysNew(path: string, { alg, ...options }: NewKeyOptions): Promise<void> {
  const key = generatePrivateKey(alg, systemRandom);
  try {
    await writeFile(path, formatPrivateKey(key), { flag: "wx", mode: 0o600, flush: true });
  } catch (error) {
    const reason = error instanceof Error && "code" in error ? String(error.code) : String(error);
    throw new MeshError("FILE_UNAVAILABLE", `can't make the key file ${path}: ${reason}`, {
      remedy: "name a file that does not exist, in a folder that you may write to",
      cause: error,
    });
  }
  const output = createOutput(options);
  await output.line(
    output.json
      ? JSON.stringify({ path, alg, keyid: key.keyid })
      : `made ${path}: ${alg} key ${key.keyid}`,
  );
}

/** Prints the public part of a key file. */
export async function runKeysPublic(path: string): Promise<void> {
  const key = await readPublicKey(path);
  await createOutput({}).line(JSON.stringify(toPublicJwk(key)));
}

async function passphraseOf({ passphraseFile }: EncryptOptions): Promise<string> {
  const path = passphraseFile ?? process.env["CTXMESH_PASSPHRASE_FILE"];
  if (path === undefined || path === "") {
    throw new MeshError("USAGE", "which passphrase?", {
      remedy: "give --passphrase-file FILE, or set CTXMESH_PASSPHRASE_FILE",
    });
  }
  return readPassphrase(path);
}

/** Puts the changed text of a key file in its place. */
async function replaceKeyFile(
  path: string,
  options: EncryptOptions,
  done: "encrypted" | "decrypted",
  change: (text: string, passphrase: string) => Promise<string>,
): Promise<void> {
  const text = await readSmallFile(path, "key", "KEY_INVALID");
  const passphrase = await passphraseOf(options);
  let changed;
  try {
    changed = await change(text, passphrase);
  } catch (error) {
    throw inFile(path, error);
  }
  const remedy = "let this user write to its folder";
  await writeWhole(path, changed, { mode: 0o600, field: path, remedy });
  const output = createOutput(options);
  await output.line(output.json ? JSON.stringify({ path, done }) : `${done} ${path}`);
}

/** Encrypts a private key file in its place. Throws `KEY_INVALID`, `USAGE`, `FILE_UNAVAILABLE`. */
export async function runKeysEncrypt(path: string, options: EncryptOptions): Promise<void> {
  await replaceKeyFile(path, options, "encrypted", async (text, passphrase) => {
    if (isEncryptedKeyFile(text)) throw new MeshError("KEY_INVALID", "is encrypted already");
    // Only what is a key: anything else would be found out too late.
    parsePrivateKey(text);
    const encrypted = await encryptKeyFile(text, passphrase);
    if ((await decryptKeyFile(encrypted, passphrase)) === text) return encrypted;
    throw new MeshError("INTERNAL", "does not come back from its encryption");
  });
}

/** Decrypts a private key file in its place. Throws `KEY_INVALID`, `USAGE`, `FILE_UNAVAILABLE`. */
export async function runKeysDecrypt(path: string, options: EncryptOptions): Promise<void> {
  await replaceKeyFile(path, options, "decrypted", async (text, passphrase) => {
    if (!isEncryptedKeyFile(text)) throw new MeshError("KEY_INVALID", "is not encrypted");
    const plain = await decryptKeyFile(text, passphrase);
    parsePrivateKey(plain);
    return plain;
  });
}
