// SPDX-License-Identifier: Apache-2.0
/** Witnesses and the logs that they look after, as files name them. */
import { createSigner } from "@ctxmesh/crypto";
import type { PublicKey } from "@ctxmesh/crypto";
import type { HubAsWitness, HubWitness } from "@ctxmesh/hub";
import { parseTrustRoot, parseVkeys } from "@ctxmesh/ledger";
import type { WitnessedLog } from "@ctxmesh/ledger";
import { inFile, readPrivateKey, readPublicKey, readSmallFile } from "./files.ts";

/** Origin and key, for each key in a file: a trust root's logs, or verifier keys (C2SP), one on a line. */
async function logKeysIn(path: string): Promise<(readonly [origin: string, key: PublicKey])[]> {
  const text = await readSmallFile(path, "list of logs", "FILE_UNAVAILABLE");
  try {
    if (!text.trimStart().startsWith("{")) {
      return parseVkeys(text).map(({ name, key }) => [name, key] as const);
    }
    return parseTrustRoot(text).logs.flatMap(({ origin, ed25519, mldsa44 }) => [
      [origin, ed25519] as const,
      [origin, mldsa44] as const,
    ]);
  } catch (error) {
    throw inFile(path, error);
  }
}

/** The logs in some files, each with all keys that they name for it. Throws `FILE_UNAVAILABLE`, and what is wrong with a file. */
export async function readLogs(paths: readonly string[]): Promise<WitnessedLog[]> {
  const logs = new Map<string, PublicKey[]>();
  for (const path of paths) {
    for (const [origin, key] of await logKeysIn(path)) {
      const keys = logs.get(origin) ?? [];
      if (!keys.some(({ keyid }) => keyid === key.keyid)) keys.push(key);
      logs.set(origin, keys);
    }
  }
  return [...logs].map(([origin, keys]) => ({ origin, keys }));
}

/** A witness as files name it. */
export interface WitnessFiles {
  readonly name: string;
  /** Paths of private key files. */
  readonly keys: readonly string[];
  /** Paths for {@link readLogs}. */
  readonly logs: readonly string[];
}

/** A witness with its keys and logs. Throws `KEY_INVALID`, `FILE_UNAVAILABLE`, and what is wrong with a file. */
export async function readAsWitness({ name, keys, logs }: WitnessFiles): Promise<HubAsWitness> {
  const signers = await Promise.all(
    keys.map(async (path) => createSigner(await readPrivateKey(path))),
  );
  return { name, signers, logs: await readLogs(logs) };
}

/** A witness that a hub asks, as its configuration names it. */
export interface AskedWitness {
  readonly url: string;
  readonly name: string;
  /** Paths of key files; their public part is used. */
  readonly keys: readonly string[];
}

/** The witnesses that a hub asks. Throws `KEY_INVALID`. */
export const readAskedWitnesses = async (
  witnesses: readonly AskedWitness[],
): Promise<readonly HubWitness[]> =>
  Promise.all(
    witnesses.map(async ({ url, name, keys }) => ({
      url: url.replace(/\/+$/u, ""),
      keys: await Promise.all(keys.map(async (path) => ({ name, key: await readPublicKey(path) }))),
    })),
  );
