// SPDX-License-Identifier: Apache-2.0
/** Every implementation of a primitive by itself, and what is asked of all of them. */
import type { Engine, PrimitiveName, Verify } from "../src/engine.ts";
import { nativeEngine } from "../src/native.ts";
import { portableEngine } from "../src/portable.ts";
import { assertPrimitiveKey, primitiveVerifier } from "../src/primitives.ts";

/** OpenSSL's, which the Node of the tests has. */
export function native(name: PrimitiveName): Engine {
  const engine = nativeEngine(name);
  if (engine === undefined) throw new Error(`OpenSSL lacks ${name}`);
  return engine;
}

/** Verifying functions by who verifies; each checks the key first, as {@link primitiveVerifier} does. */
export const VERIFIERS: readonly (readonly [
  string,
  (name: PrimitiveName, publicKey: Uint8Array) => Verify,
])[] = [
  ["OpenSSL", (name, key) => (assertPrimitiveKey(name, key), native(name).verifier(name, key))],
  ["noble", (name, key) => (assertPrimitiveKey(name, key), portableEngine.verifier(name, key))],
  ["the fast verifier", (name, key) => primitiveVerifier(name, key, false)],
  ["the cross-checking verifier", (name, key) => primitiveVerifier(name, key, true)],
];

/** Whether a verifier accepts; a key that can't be loaded is a refusal. */
export function accepts(
  verifierOf: (typeof VERIFIERS)[number][1],
  name: PrimitiveName,
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
  context?: Uint8Array,
): boolean {
  try {
    return verifierOf(name, publicKey)(message, signature, context);
  } catch {
    return false;
  }
}
