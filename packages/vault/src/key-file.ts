// SPDX-License-Identifier: Apache-2.0
/**
 * Key files that a passphrase protects: age (C2SP age.md), armored, with one scrypt stanza of N = 2^17, r = 8 (128 MiB and a
 * third of a second for each file). The only importer of age-encryption, which is loaded when it is needed. There are no recipients: who mixes
 * classical and post-quantum ones has the protection of the weaker.
 */
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { MeshError } from "@ctxmesh/model";

const ARMOR = "-----BEGIN AGE ENCRYPTED FILE-----";
const WORK_FACTOR = 17;
/** The work factor of age's own command. One more doubles the memory that whoever hands us a file makes us take. */
const MOST_WORK = 18;
/** What a file that age encrypted with a passphrase begins with; nothing else may be in its header. */
const HEADER =
  /^age-encryption\.org\/v1\n-> scrypt [A-Za-z0-9+/]{22} (?<work>[1-9][0-9]?)\n[A-Za-z0-9+/]{43}\n---/u;
/** The longest private key has about 6 KiB. */
const MAX_TEXT = 65_536;
const MAX_PASSPHRASE = 1_024;
const LEAST_PASSPHRASE = 8;
const OTHERS = 0o077;

/** Whether the text of a file is encrypted by age. */
export const isEncryptedKeyFile = (text: string): boolean => text.startsWith(ARMOR);

const refused = (message: string, remedy?: string, cause?: unknown): MeshError =>
  new MeshError("KEY_INVALID", message, {
    ...(remedy === undefined ? {} : { remedy }),
    ...(cause === undefined ? {} : { cause }),
  });

/** Encrypts the text of a key file. Throws `KEY_INVALID` for a passphrase of fewer than eight characters. */
export async function encryptKeyFile(text: string, passphrase: string): Promise<string> {
  if (passphrase.length < LEAST_PASSPHRASE) {
    throw refused(
      "a passphrase has eight characters or more",
      "take four or five random words, or 20 random characters",
    );
  }
  const { Encrypter, armor } = await import("age-encryption");
  const encrypter = new Encrypter();
  encrypter.setPassphrase(passphrase);
  encrypter.setScryptWorkFactor(WORK_FACTOR);
  return `${armor.encode(await encrypter.encrypt(text)).trimEnd()}\n`;
}

/** Decrypts the text of an encrypted key file. Throws `KEY_INVALID` for another passphrase, a damaged file, or one that is encrypted in another way. */
export async function decryptKeyFile(text: string, passphrase: string): Promise<string> {
  const { Decrypter, armor } = await import("age-encryption");
  let file: Uint8Array = new Uint8Array();
  try {
    if (text.length <= MAX_TEXT) file = armor.decode(text);
  } catch {
    // Below: it has no header, then.
  }
  const { work } = HEADER.exec(Buffer.from(file).toString("latin1", 0, 200))?.groups ?? {};
  if (work === undefined) throw refused("is not encrypted by age with a passphrase");
  if (Number(work) > MOST_WORK) {
    throw refused(`asks for a scrypt work factor of ${work}; at most ${String(MOST_WORK)} is done`);
  }
  const decrypter = new Decrypter();
  decrypter.addPassphrase(passphrase);
  try {
    return await decrypter.decrypt(file, "text");
  } catch {
    // The cause is left out on purpose: nothing that touched key bytes goes into an error.
    throw refused(
      "can't be decrypted: it is damaged, or this is not its passphrase",
      "see which file CTXMESH_PASSPHRASE_FILE names",
    );
  }
}

/** Whether systemd guards a file: its folder is closed to others, and the mode of the file shows the mask of an access list. */
const isCredential = (path: string): boolean =>
  dirname(resolve(path)) === process.env["CREDENTIALS_DIRECTORY"];

/**
 * The passphrase in a file, a pipe or a systemd credential: its first line. Throws `KEY_INVALID` when it can't be read, is empty, or is
 * a file that others may read.
 */
export async function readPassphrase(path: string): Promise<string> {
  let handle;
  try {
    handle = await open(path, constants.O_RDONLY);
  } catch (error) {
    throw refused(
      `can't read the passphrase in ${path}`,
      "check the path, and that this user may read it",
      error,
    );
  }
  try {
    const status = await handle.stat();
    if (status.isFile() && !isCredential(path) && (status.mode & OTHERS) !== 0) {
      throw refused(
        `the passphrase file ${path} is open to other users: mode 0${(status.mode & 0o777).toString(8)}`,
        `chmod 600 ${path}`,
      );
    }
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(MAX_PASSPHRASE + 1));
    const [line = ""] = buffer.toString("utf8", 0, bytesRead).split(/\r?\n/u, 1);
    if (line === "" || bytesRead > MAX_PASSPHRASE) {
      throw refused(`${path} does not hold a passphrase on its first line`);
    }
    return line;
  } finally {
    await handle.close();
  }
}
