// SPDX-License-Identifier: Apache-2.0
/** Encryption at rest: the `Vault` port over the keys of a store, and providers of the key that protects them. The only importer of koffi and age-encryption. */
export { decryptKeyFile, encryptKeyFile, isEncryptedKeyFile, readPassphrase } from "./key-file.ts";
export { keyProviderAt, parseKeyLocation } from "./key-location.ts";
export type { KeyLocation } from "./key-location.ts";
export {
  credentialKeyProvider,
  environmentKeyProvider,
  fileKeyProvider,
} from "./local-providers.ts";
export { pkcs11KeyProvider } from "./pkcs11-provider.ts";
export type { Pkcs11Options } from "./pkcs11-provider.ts";
export { createPlainVault } from "./plain.ts";
export type { KeyProvider } from "./provider.ts";
export { openVault } from "./vault.ts";
export type { RotationReport, StoreVault, VaultOptions, VaultStats } from "./vault.ts";
