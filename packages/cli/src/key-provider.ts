// SPDX-License-Identifier: Apache-2.0
/** Who protects the key of a node's store, as configured. */
import { dirname, join } from "node:path";
import { keyProviderAt } from "@ctxmesh/vault";
import type { KeyLocation, KeyProvider } from "@ctxmesh/vault";
import type { EncryptionConfig, NodeConfig } from "./config/types.ts";

/** The file that protects the store when nothing else is configured, beside the device key. */
const DEFAULT_NAME = "store.key";

function locationOf(config: Pick<NodeConfig, "key" | "encryption">): KeyLocation | undefined {
  const { off, keyFile, credential, environment, pkcs11 } = config.encryption ?? {};
  if (off === true) return undefined;
  if (credential !== undefined) return { kind: "credential", name: credential };
  if (environment !== undefined) return { kind: "environment", name: environment };
  if (pkcs11 !== undefined) return { kind: "pkcs11", ...pkcs11 };
  return { kind: "file", path: keyFile ?? join(dirname(config.key), DEFAULT_NAME) };
}

/** The provider of a configuration; no member when encryption is off. Throws `CONFIG_INVALID` or `KEY_INVALID`. */
export async function keyProviderOf(
  config: Pick<NodeConfig, "key" | "encryption">,
): Promise<{ readonly keyProvider?: KeyProvider }> {
  const location = locationOf(config);
  return location === undefined ? {} : { keyProvider: await keyProviderAt(location) };
}

/** The part `encryption` of a configuration that names the key at a location. */
export function encryptionAt(location: KeyLocation): EncryptionConfig {
  switch (location.kind) {
    case "file":
      return { keyFile: location.path };
    case "credential":
      return { credential: location.name };
    case "environment":
      return { environment: location.name };
    case "pkcs11": {
      const { kind: _, ...pkcs11 } = location;
      return { pkcs11 };
    }
  }
}
