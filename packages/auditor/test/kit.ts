// SPDX-License-Identifier: Apache-2.0
/** A sealed space with its files: bundles, trust root, tiles of the log. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { canonicalJson } from "@ctxmesh/codec";
import { createSigner, generatePrivateKey, toPublicKey } from "@ctxmesh/crypto";
import {
  buildSnapshot,
  createTrustRoot,
  encodeBundle,
  envelopeHash,
  formatTrustRoot,
  openLog,
  openLogPages,
  sealSnapshot,
  snapshotEntry,
} from "@ctxmesh/ledger";
import type { TrustRootDraft } from "@ctxmesh/ledger";
import type { PrivateKey } from "@ctxmesh/crypto";
import { hlcFromMs, parseDeviceKey, parseIncarnationId, parseSpaceId } from "@ctxmesh/model";
import { createMemoryStore, createSeededRandom, createVirtualClock } from "@ctxmesh/testing";

export const NOW = 1_790_000_000_000;
const ORIGIN = "log.ctxmesh.test/auditor";
const PREFIX = new Uint8Array(0);
const space = parseSpaceId("5a".repeat(32));
const writer = parseDeviceKey("0b".repeat(32));

/** The keys of a hub. Two kits of one seed have the same. */
function keysOf(seed: number) {
  const random = createSeededRandom(seed);
  return {
    root: generatePrivateKey("ML-DSA-65-Ed25519", random),
    snapshot: generatePrivateKey("ML-DSA-65-Ed25519", random),
    ed25519: generatePrivateKey("Ed25519", random),
    mldsa44: generatePrivateKey("ML-DSA-44", random),
  };
}

/** A hub that seals, and what it hands out. */
export interface Kit {
  /** The text of the trust root, signed by its own root key. */
  root(changes?: Partial<TrustRootDraft>): string;
  /** The text of a root that says the same, but is by a stranger: a root key of his own has signed it, and it names no other. */
  strangersRoot(version: number): string;
  /** Seals a value, and returns the bundle. */
  seal(value: number): Promise<Uint8Array>;
  /** Writes the log's tiles as they are now. */
  writeTiles(folder: string): Promise<void>;
}

/** A hub with the keys of a seed; `history` makes what it logs its own. */
export async function openKit(seed: number, history = "a"): Promise<Kit> {
  const keys = keysOf(seed);
  const random = createSeededRandom(seed + history.charCodeAt(0) * 1_000);
  const store = createMemoryStore();
  const log = await openLog({
    store,
    prefix: PREFIX,
    origin: ORIGIN,
    signers: { ed25519: createSigner(keys.ed25519), mldsa44: createSigner(keys.mldsa44) },
    clock: createVirtualClock(NOW),
  });
  let previous: string | null = null;
  const rootBy = (rootKey: PrivateKey, changes: Partial<TrustRootDraft>): string => {
    const { version = 1 } = changes;
    const root = createTrustRoot({
      version,
      issued: NOW - 1_000_000 + version,
      expires: NOW + 1_000_000,
      spaces: [space],
      keys: [
        { role: "root", key: toPublicKey(rootKey) },
        { role: "snapshot", key: toPublicKey(keys.snapshot), validFrom: 0 },
      ],
      logs: [
        {
          origin: ORIGIN,
          ed25519: toPublicKey(keys.ed25519),
          mldsa44: toPublicKey(keys.mldsa44),
        },
      ],
      ...changes,
    });
    return formatTrustRoot(root, [createSigner(rootKey)]);
  };
  return {
    root: (changes = {}) => rootBy(keys.root, changes),
    strangersRoot: (version) =>
      rootBy(generatePrivateKey("ML-DSA-65-Ed25519", random), { version }),
    async seal(value) {
      const incarnation = parseIncarnationId("01".repeat(16));
      const said = { writer, incarnation, seq: 1, hlc: hlcFromMs(NOW), value };
      const leaf = canonicalJson({ doc: "line-2/press-7", key: "temperature", ...said });
      const snapshot = buildSnapshot([leaf], random);
      const envelope = sealSnapshot({
        signer: createSigner(keys.snapshot),
        snapshot,
        hub: writer,
        space,
        sequence: log.size + 1,
        previous,
        frontier: [],
        policyEpoch: 0,
        asOf: hlcFromMs(NOW),
        sealedAt: NOW,
      });
      previous = envelopeHash(envelope);
      const { proof } = await log.append(snapshotEntry(envelope));
      return encodeBundle({ leaves: snapshot.leaves, envelope, proof, headers: [] });
    },
    async writeTiles(folder) {
      const path = `tile/0/000.p/${String(log.size)}`;
      const page = await openLogPages(store, PREFIX).page(path);
      if (page === undefined) throw new Error("a tile expected");
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), page.bytes);
    },
  };
}
