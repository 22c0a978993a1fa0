// SPDX-License-Identifier: Apache-2.0
/**
 * I9: when honest nodes have both sides of a fork, all of them have a proof within a minute of healing, and agree on what still
 * counts. What they have is read from their disks.
 */
import { decodeCbor, decodeHeader } from "@ctxmesh/codec";
import { LIMITS, toHex } from "@ctxmesh/model";
import type { DeviceKey, IncarnationId } from "@ctxmesh/model";
import type { DiskEntry, DiskImage } from "../disk-image.ts";
import type { Checker, NodeView, World } from "../world.ts";
import { membersOf } from "./chronicle.ts";

const WITHIN_MS = 60_000;
/** Tags of the store keys of the index by chain, and of proofs. */
const CHAIN_TAG = 3;
const PROOF_TAG = 7;

/** The lowest position at which a chain is seen to fork. */
interface SeenFork {
  readonly replica: DeviceKey;
  readonly incarnation: IncarnationId;
  readonly seq: number;
}

const entriesOf = (image: DiskImage, tag: number): readonly DiskEntry[] =>
  image
    .range({ gte: Uint8Array.of(tag), lt: Uint8Array.of(tag + 1) })
    .filter(({ damaged }) => !damaged);

/** Adds a fork, unless a lower one of its chain is known. */
function note(forks: Map<string, SeenFork>, fork: SeenFork): void {
  const chain = fork.replica + fork.incarnation;
  const lowest = forks.get(chain)?.seq ?? Number.POSITIVE_INFINITY;
  if (fork.seq < lowest) forks.set(chain, fork);
}

/** Forks that nodes would see if they laid their logs side by side, by position and header hash; and those of which one has a proof. */
function forksAmong(nodes: readonly NodeView[]): readonly SeenFork[] {
  const hashes = new Map<string, string>();
  const forks = new Map<string, SeenFork>();
  for (const { image } of nodes) {
    for (const { key, value } of entriesOf(image, CHAIN_TAG)) {
      const at = toHex(key.subarray(1));
      const hash = toHex(value.subarray(8, 40));
      const before = hashes.get(at);
      if (before === undefined) hashes.set(at, hash);
      if (before === undefined || before === hash) continue;
      const replica = at.slice(0, 64) as DeviceKey;
      const incarnation = at.slice(64, 96) as IncarnationId;
      note(forks, { replica, incarnation, seq: Number.parseInt(at.slice(96), 16) });
    }
    for (const { value } of entriesOf(image, PROOF_TAG)) {
      const proof = decodeCbor(value, 2 * LIMITS.batchBytes, "proof") as readonly Uint8Array[][];
      const [header] = proof[0] ?? [];
      if (header !== undefined) note(forks, decodeHeader(header));
    }
  }
  return [...forks.values()];
}

/** Makes the checker. */
export function createEquivocationChecker(): Checker {
  let forks: readonly SeenFork[] = [];
  let dueMs = Number.POSITIVE_INFINITY;

  const check = (world: World): void => {
    dueMs = Number.POSITIVE_INFINITY;
    for (const { replica, incarnation, seq } of forks) {
      const name = `the fork of ${replica.slice(0, 8)} ${incarnation.slice(0, 8)}`;
      let agreed: number | undefined;
      for (const { node, replica: own } of membersOf(world)) {
        const limit = own.limitOf(replica, incarnation);
        // Cut off below it by a revocation, it needs no proof.
        if (limit >= seq) throw new Error(`${node.id} has no proof of ${name} at ${String(seq)}`);
        agreed ??= limit;
        if (agreed !== limit) throw new Error(`${node.id} lets another part of ${name} count`);
      }
    }
  };

  return {
    name: "I9",
    onEvent(event, world) {
      if (event.type === "healing") {
        const honest = world.nodes.filter((node) => node.cloneOf === undefined);
        forks = forksAmong(honest.filter(({ image }) => image.damaged === 0));
        dueMs = world.nowMs + WITHIN_MS;
      } else if (event.type === "settled" && world.nowMs >= dueMs) check(world);
    },
    atEnd: check,
  };
}
