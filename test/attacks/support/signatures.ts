// SPDX-License-Identifier: Apache-2.0
/** Ed25519 signatures by the definition (RFC 8032), with what some verifiers let pass. */
import { createHash } from "node:crypto";
import { Point } from "@noble/ed25519";
import { fromHex, toHex } from "@ctxmesh/model";

/** The order of the prime-order group. */
const L = 2n ** 252n + 27742317777372353535851937790883648493n;
/** A point of order 8. */
const TORSION = Point.fromBytes(
  fromHex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
);

const sha512 = (...parts: readonly Uint8Array[]): Uint8Array => {
  const hash = createHash("sha512");
  for (const part of parts) hash.update(part);
  return hash.digest();
};

const numberOf = (bytes: Uint8Array): bigint => BigInt(`0x${toHex(bytes.toReversed())}`);

const bytesOf = (number: bigint): Uint8Array =>
  fromHex(number.toString(16).padStart(64, "0")).toReversed();

/** The secret scalar of a device's 32-byte seed. */
function scalarOf(seed: Uint8Array): bigint {
  const hashed = sha512(seed).slice(0, 32);
  hashed[0] = (hashed[0] ?? 0) & 0xf8;
  hashed[31] = ((hashed[31] ?? 0) & 0x7f) | 0x40;
  return numberOf(hashed) % L;
}

function signWith(seed: Uint8Array, message: Uint8Array, nonce: bigint, extra: Point): Uint8Array {
  const scalar = scalarOf(seed);
  const key = Point.BASE.multiply(scalar).toBytes();
  const base = nonce === 0n ? Point.ZERO : Point.BASE.multiply(nonce);
  const r = base.add(extra).toBytes();
  const s = (nonce + (numberOf(sha512(r, key, message)) % L) * scalar) % L;
  return Uint8Array.from([...r, ...bytesOf(s)]);
}

const NONCE = 987654321n;

/** Ways to sign `message` with the seed of a device, of which only the first is valid everywhere. */
export const SIGNATURES = {
  plain: (seed: Uint8Array, message: Uint8Array) => signWith(seed, message, NONCE, Point.ZERO),
  /** Verifiers that multiply by the cofactor accept it. */
  torsionInR: (seed: Uint8Array, message: Uint8Array) => signWith(seed, message, NONCE, TORSION),
  identityR: (seed: Uint8Array, message: Uint8Array) => signWith(seed, message, 0n, Point.ZERO),
  /** The same signature in other bytes, for verifiers that don't look at S < L. */
  sPlusL(seed: Uint8Array, message: Uint8Array): Uint8Array {
    const signature = signWith(seed, message, NONCE, Point.ZERO);
    const s = numberOf(signature.slice(32)) + L;
    return Uint8Array.from([...signature.subarray(0, 32), ...bytesOf(s)]);
  },
} as const;
