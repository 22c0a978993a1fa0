// SPDX-License-Identifier: Apache-2.0
/**
 * What `node:crypto` does for this package: hashes, and signatures by OpenSSL. The only module that imports it, so
 * that a bundle for browsers has one module to replace: by hashes of its own, and an engine for nothing.
 */
import { createHash, createPrivateKey, createPublicKey, hash, sign, verify } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { MeshError } from "@ctxmesh/model";
import type { Engine, PrimitiveName } from "./engine.ts";

/** SHA-256 (FIPS 180-4) of the concatenation of `parts`: 32 bytes. */
export function sha256(...parts: Uint8Array[]): Uint8Array {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined)
    return new Uint8Array(hash("sha256", only, "buffer"));
  const digest = createHash("sha256");
  for (const part of parts) digest.update(part);
  return new Uint8Array(digest.digest());
}

/** SHA-256 of a text's UTF-8, hex: without a buffer in between, of which facts that are answered many times a second would leave many. */
export const sha256Hex = (text: string): string => hash("sha256", text, "hex");

/** SHA-512 (FIPS 180-4) of `bytes`: 64 bytes. */
export const sha512 = (bytes: Uint8Array): Uint8Array<ArrayBuffer> =>
  new Uint8Array(hash("sha512", bytes, "buffer"));

/** R = (0, 1), the one small-order encoding that an OpenSSL before 3.5 lets pass under a torsion-free key. */
function hasIdentityR(signature: Uint8Array): boolean {
  if (signature[0] !== 1) return false;
  for (let i = 1; i < 32; i++) if (signature[i] !== 0) return false;
  return true;
}

function imported(name: PrimitiveName, create: () => KeyObject): KeyObject {
  try {
    return create();
  } catch {
    // The cause is left out on purpose: nothing that touched key bytes goes into an error.
    throw new MeshError("KEY_INVALID", `OpenSSL refuses the ${name} key`);
  }
}

const publicKeyObject = (name: PrimitiveName, raw: Uint8Array): KeyObject =>
  imported(name, () =>
    createPublicKey({ key: Buffer.from(raw), format: "raw-public", asymmetricKeyType: name }),
  );

const privateKeyObject = (name: PrimitiveName, seed: Uint8Array): KeyObject =>
  imported(name, () =>
    createPrivateKey({
      key: Buffer.from(seed),
      format: name === "ed25519" ? "raw-private" : "raw-seed",
      asymmetricKeyType: name,
    }),
  );

/** OpenSSL. Importing a key is dear (0.1 to 0.4 ms), so callers keep what they get. */
const openSsl: Engine = {
  keyPair(name, seed) {
    const key = privateKeyObject(name, seed);
    return {
      publicKey: new Uint8Array(createPublicKey(key).export({ format: "raw-public" })),
      sign: (message, context) =>
        new Uint8Array(sign(null, message, context === undefined ? key : { key, context })),
    };
  },
  verifier(name, publicKey) {
    const key = publicKeyObject(name, publicKey);
    // OpenSSL checks S < L, recomputes R = [S]B - [k]A and compares encodings; with a torsion-free A that point
    // is torsion-free and canonically encoded, so only the identity is left to refuse.
    if (name === "ed25519") {
      return (message, signature) =>
        !hasIdentityR(signature) && verify(null, message, key, signature);
    }
    return (message, signature, context) =>
      verify(null, message, context === undefined ? key : { key, context }, signature);
  },
};

function hasMlDsa(): boolean {
  try {
    privateKeyObject("ml-dsa-44", new Uint8Array(32));
    return true;
  } catch {
    return false;
  }
}

let mlDsa: boolean | undefined;

/** OpenSSL where it knows the primitive; it lacks ML-DSA in a Node that was built with one before 3.5, of which one warning tells. */
export function nativeEngine(name: PrimitiveName): Engine | undefined {
  if (name === "ed25519") return openSsl;
  if (mlDsa === undefined) {
    mlDsa = hasMlDsa();
    if (!mlDsa) {
      process.emitWarning(
        "this Node has no ML-DSA, so signatures are made in JavaScript: slowly, and not in constant time. Use a Node 24 with OpenSSL 3.5 where keys are kept",
        { code: "CTXMESH_NO_NATIVE_ML_DSA" },
      );
    }
  }
  return mlDsa ? openSsl : undefined;
}
