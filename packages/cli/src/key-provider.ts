// SPDX-License-Identifier: Apache-2.0
/** Who protects the key of a node's store, as configured. */
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { MeshError } from "@ctxmesh/model";
import {
  credentialKeyProvider,
  environmentKeyProvider,
  fileKeyProvider,
  pkcs11KeyProvider,
} from "@ctxmesh/vault";
import type { KeyProvider } from "@ctxmesh/vault";
import type { NodeConfig } from "./config/types.ts";

/** The file that protects the store when nothing else is configured, beside the device key. */
const DEFAULT_NAME = "store.key";

async function readPin(path: string): Promise<string> {
  try {
    return (await readFile(path, "utf8")).trim();
  } catch (error) {
    throw new MeshError("KEY_INVALID", `can't read the PIN in ${path}`, {
      field: "encryption.pkcs11.pinFile",
      cause: error,
    });
  }
}

async function providerOf(
  config: Pick<NodeConfig, "key" | "encryption">,
): Promise<KeyProvider | undefined> {
  const { off, keyFile, credential, environment, pkcs11 } = config.encryption ?? {};
  if (off === true) return undefined;
  if (credential !== undefined) return credentialKeyProvider(credential);
  if (environment !== undefined) return environmentKeyProvider(environment);
  if (pkcs11 !== undefined) {
    const { module, token, key, pinFile } = pkcs11;
    const pin = await readPin(pinFile);
    return pkcs11KeyProvider({ module, tokenLabel: token, keyLabel: key, pin });
  }
  return fileKeyProvider(keyFile ?? join(dirname(config.key), DEFAULT_NAME), { create: true });
}

/** The provider of a configuration; no member when encryption is off. Throws `CONFIG_INVALID` or `KEY_INVALID`. */
export async function keyProviderOf(
  config: Pick<NodeConfig, "key" | "encryption">,
): Promise<{ readonly keyProvider?: KeyProvider }> {
  const keyProvider = await providerOf(config);
  return keyProvider === undefined ? {} : { keyProvider };
}
