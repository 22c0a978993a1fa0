// SPDX-License-Identifier: Apache-2.0
/** Seals as anybody reads them who holds a bundle: with this file's own code where the ledger's would judge itself. */
import { sha256 } from "@ctxmesh/crypto";
import { parseBundle } from "@ctxmesh/ledger";
import { toHex } from "@ctxmesh/model";
import type { DeviceKey, HeaderHash, Hlc, IncarnationId } from "@ctxmesh/model";
import type { World } from "../world.ts";

/** A place in a chain, and what is there. */
export interface SealedHead {
  readonly replica: DeviceKey;
  readonly incarnation: IncarnationId;
  readonly seq: number;
  readonly hash: HeaderHash;
}

/** A seal, taken apart; nothing of it is verified. */
export interface ReadSeal {
  /** SHA-256 of the envelope, hex. */
  readonly envelopeHash: string;
  readonly hub: DeviceKey;
  readonly sequence: number;
  readonly previous: string | null;
  readonly policyEpoch: number;
  readonly asOf: Hlc;
  readonly frontier: readonly SealedHead[];
  readonly leaves: readonly string[];
  /** Of the log that it is in. */
  readonly index: number;
  readonly size: number;
  /** Base64. */
  readonly root: string;
}

interface Predicate {
  readonly hub: DeviceKey;
  readonly sequence: number;
  readonly previous: string | null;
  readonly policyEpoch: number;
  readonly asOf: Hlc;
  readonly frontier: readonly SealedHead[];
}

const utf8 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("utf8");

/** Reads a bundle. Throws for one that is not well-formed. */
export function readSeal(bundle: Uint8Array): ReadSeal {
  const { envelope, leaves, proof } = parseBundle(bundle);
  const { payload } = JSON.parse(utf8(envelope)) as { readonly payload: string };
  const statement = JSON.parse(Buffer.from(payload, "base64").toString("utf8")) as {
    readonly predicate: Predicate;
  };
  const { hub, sequence, previous, policyEpoch, asOf, frontier } = statement.predicate;
  const end = proof.indexOf("\n\n");
  // C2SP tlog-checkpoint: origin, size and root, a line each.
  const [, size, root = ""] = proof.slice(end + 2).split("\n");
  return {
    envelopeHash: toHex(sha256(envelope)),
    hub,
    sequence,
    previous,
    policyEpoch,
    asOf,
    frontier,
    leaves: leaves.map(({ leaf }) => leaf),
    index: Number(/^index (\d+)$/mu.exec(proof)?.[1]),
    size: Number(size),
    root,
  };
}

/** Reads every seal that a hub has: not those of which its operator knows that they were lost. */
export async function sealsOf(world: World, id: string): Promise<readonly Uint8Array[]> {
  const sealing = world.node(id)?.process?.sealing;
  const bundles: Uint8Array[] = [];
  if (sealing === undefined) return bundles;
  for (let sequence = 1; ; sequence++) {
    try {
      bundles.push(await sealing.bundle(sequence));
    } catch {
      return bundles;
    }
  }
}
