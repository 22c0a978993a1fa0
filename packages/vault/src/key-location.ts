// SPDX-License-Identifier: Apache-2.0
/**
 * Where a key that protects a store is, as one text:
 *
 *     file:/etc/ctxmesh/store.key
 *     credential:store-key
 *     environment:CTXMESH_STORE_KEY
 *     pkcs11:token=mesh;object=store?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/etc/ctxmesh/pin
 *
 * The last is a PKCS #11 URI (RFC 7512) of just these attributes, in any order; other characters than letters,
 * digits and `-._~/:` are percent-encoded in it.
 */
import { readFile } from "node:fs/promises";
import { isAbsolute } from "node:path";
import { MeshError } from "@ctxmesh/model";
import {
  credentialKeyProvider,
  environmentKeyProvider,
  fileKeyProvider,
} from "./local-providers.ts";
import { pkcs11KeyProvider } from "./pkcs11-provider.ts";
import type { KeyProvider } from "./provider.ts";

/** Where a key is. Paths are absolute. */
export type KeyLocation =
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "credential"; readonly name: string }
  | { readonly kind: "environment"; readonly name: string }
  | {
      readonly kind: "pkcs11";
      /** Path of the vendor's library. */
      readonly module: string;
      readonly token: string;
      readonly key: string;
      /** Path of a file that holds the user PIN. */
      readonly pinFile: string;
    };

/** The attributes of a PKCS #11 URI that are known, by the part that they are in. */
const PATH_ATTRIBUTES = ["token", "object"];
const QUERY_ATTRIBUTES = ["module-path", "pin-source"];

/** Parses a location. Throws `INPUT_INVALID` with `field` "to". */
export function parseKeyLocation(text: string): KeyLocation {
  const [, kind, rest] = /^([a-z0-9]+):(.+)$/su.exec(text) ?? [];
  if (rest !== undefined && kind === "file") return { kind, path: absolute(rest) };
  if (rest !== undefined && kind === "credential") return { kind, name: rest };
  if (rest !== undefined && kind === "environment") return { kind, name: rest };
  if (rest !== undefined && kind === "pkcs11") return parsePkcs11(rest);
  throw refused(`${JSON.stringify(text.slice(0, 200))} does not say where a key is`);
}

function parsePkcs11(rest: string): KeyLocation {
  const [path = "", query = ""] = rest.split("?", 2);
  const attributes = new Map<string, string>();
  for (const [part, separator, known] of [
    [path, ";", PATH_ATTRIBUTES],
    [query, "&", QUERY_ATTRIBUTES],
  ] as const) {
    for (const attribute of part.split(separator)) {
      const [, name = "", value = ""] = /^([a-z-]+)=(.+)$/su.exec(attribute) ?? [];
      if (!known.includes(name) || attributes.has(name)) {
        throw refused(`the PKCS #11 URI has ${JSON.stringify(attribute)}, unknown or given twice`);
      }
      attributes.set(name, decoded(value));
    }
  }
  const get = (name: string): string => {
    const value = attributes.get(name);
    if (value === undefined) throw refused(`the PKCS #11 URI has no ${name}`);
    return value;
  };
  return {
    kind: "pkcs11",
    module: absolute(get("module-path")),
    token: get("token"),
    key: get("object"),
    pinFile: absolute(get("pin-source").replace(/^file:/u, "")),
  };
}

function decoded(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    throw refused(`${JSON.stringify(value)} is not percent-encoded UTF-8`);
  }
}

function absolute(path: string): string {
  if (isAbsolute(path)) return path;
  throw refused(`the path ${JSON.stringify(path)} is not absolute`);
}

const refused = (message: string): MeshError =>
  new MeshError("INPUT_INVALID", message, {
    field: "to",
    remedy:
      "use file:PATH, credential:NAME, environment:NAME, or pkcs11:token=TOKEN;object=KEY?module-path=LIBRARY&pin-source=FILE, paths being absolute",
  });

/**
 * The provider of a key. A key file that is missing is made when a store key is wrapped with it. Throws
 * `KEY_INVALID` when the PIN can't be read, `CONFIG_INVALID` for a name that no credential has.
 */
export async function keyProviderAt(location: KeyLocation): Promise<KeyProvider> {
  switch (location.kind) {
    case "file":
      return fileKeyProvider(location.path, { create: true });
    case "credential":
      return credentialKeyProvider(location.name);
    case "environment":
      return environmentKeyProvider(location.name);
    case "pkcs11": {
      const { module, token, key, pinFile } = location;
      const pin = await readPin(pinFile);
      return pkcs11KeyProvider({ module, tokenLabel: token, keyLabel: key, pin });
    }
  }
}

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
