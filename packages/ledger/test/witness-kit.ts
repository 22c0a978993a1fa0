// SPDX-License-Identifier: Apache-2.0
/** Witnesses with real keys, and logs whose entries are chosen. */
import { utf8Encode } from "@ctxmesh/codec";
import { createSigner, generatePrivateKey, toPublicKey } from "@ctxmesh/crypto";
import type { Signer } from "@ctxmesh/crypto";
import {
  consistencyProof,
  createWitness,
  formatAddCheckpoint,
  leafHash,
  merkleRoot,
} from "@ctxmesh/ledger";
import type { LogKeys, TreeHead, Witness, WitnessKey, WitnessOptions } from "@ctxmesh/ledger";
import type { Logger, Store } from "@ctxmesh/model";
import { createVirtualClock } from "@ctxmesh/testing";
import { signCheckpoint } from "../src/note.ts";
import { NOW, ORIGIN, logKeys, logSigners, random } from "./fixture.ts";

export const SECONDS: number = NOW / 1_000;

/** The log of the fixture. */
export const log: LogKeys = {
  origin: ORIGIN,
  ed25519: toPublicKey(logKeys.ed25519),
  mldsa44: toPublicKey(logKeys.mldsa44),
};

/** A witness's keys. */
export interface Cosigner {
  readonly name: string;
  readonly signers: readonly Signer[];
  /** The public parts. */
  readonly keys: readonly WitnessKey[];
}

/** A witness with a key of each suite. */
export function cosigner(name: string, ...algs: ("Ed25519" | "ML-DSA-44")[]): Cosigner {
  const suites = algs.length === 0 ? (["Ed25519", "ML-DSA-44"] as const) : algs;
  const signers = suites.map((alg) => createSigner(generatePrivateKey(alg, random)));
  return { name, signers, keys: signers.map(({ key }) => ({ name, key })) };
}

/** What a logger heard. */
export interface Heard {
  readonly event: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** A logger that remembers. */
export function listening(heard: Heard[]): Logger {
  const hear = (event: string, fields: Readonly<Record<string, unknown>> = {}): void => {
    heard.push({ event, fields });
  };
  return { debug: hear, info: hear, warn: hear, error: hear };
}

/** A witness of the log of the fixture on a store. */
export const witnessOn = (
  store: Pick<Store, "get" | "write">,
  by: Cosigner,
  changes: Partial<WitnessOptions> = {},
): Witness =>
  createWitness({
    name: by.name,
    signers: by.signers,
    logs: [{ origin: ORIGIN, keys: [log.ed25519, log.mldsa44] }],
    store,
    prefix: utf8Encode("w/"),
    clock: createVirtualClock(NOW),
    logger: listening([]),
    ...changes,
  });

/** Hashes of entries; another `branch` has others from index `from` on. */
export const hashesOf = (size: number, branch = 0, from = 0): Uint8Array[] =>
  Array.from({ length: size }, (_, i) =>
    leafHash(Uint8Array.of(i >= from ? branch : 0, i, i >> 8)),
  );

/** The head of a tree over these leaf hashes. */
export const headOf = (hashes: readonly Uint8Array[]): TreeHead => ({
  origin: ORIGIN,
  size: hashes.length,
  root: merkleRoot(hashes),
});

/** The signed checkpoint of a tree. */
export const checkpointOf = (hashes: readonly Uint8Array[]): string =>
  signCheckpoint(headOf(hashes), logSigners, SECONDS);

/** A request that goes on from the first `oldSize` of these. */
export const requestOf = (oldSize: number, hashes: readonly Uint8Array[]): Uint8Array =>
  utf8Encode(
    formatAddCheckpoint({
      oldSize,
      proof: oldSize === 0 || oldSize > hashes.length ? [] : consistencyProof(hashes, oldSize),
      checkpoint: checkpointOf(hashes),
    }),
  );
