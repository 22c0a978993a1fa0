// SPDX-License-Identifier: Apache-2.0
/**
 * What was written, kept outside of the nodes: each batch as its writer made it, by its hash; and how often each node's
 * replica was handed one. Checkers compare the nodes with this.
 */
import { decodeBatch, decodeBody } from "@ctxmesh/codec";
import type { Batch } from "@ctxmesh/codec";
import { decodeFrame } from "@ctxmesh/facts";
import type { Retraction } from "@ctxmesh/facts";
import type { DeviceKey, DocumentName, HeaderHash, IncarnationId } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import type { NodeView, SimEvent, World } from "../world.ts";

/** The name of a chain in maps. */
export const chainOf = (replica: DeviceKey, incarnation: IncarnationId): string =>
  replica + incarnation;

/** The name of a key of a document in maps. */
export const placeOf = (doc: string, key: string): string => `${doc}\n${key}`;

const leavesOut = ({ bodies }: Batch): boolean => bodies.includes(null);

/** A batch as it was written. */
export interface Written extends Batch {
  readonly hash: HeaderHash;
  readonly bytes: Uint8Array;
}

/** A ruling of a manager on what another device has said, and the batch that carries it. */
export interface Ruling extends Retraction {
  readonly by: Pick<Batch["header"], "replica" | "incarnation" | "seq">;
}

/** Calls of a replica's `receive`, as those who made them saw it. */
export interface Handed {
  /** It was handed what a damaged store had before anybody counted. */
  readonly isRefilled: boolean;
  answered: number;
  /** Not answered yet. */
  waiting: number;
  waitingBytes: number;
}

/** Keeps what was written in a run. */
export class Chronicle {
  readonly #written = new Map<HeaderHash, Written>();
  readonly #rulings = new Map<string, Ruling[]>();
  readonly #handed = new WeakMap<Replica, Handed>();
  #batchBytes = 0;

  /** A batch by its hash; undefined when nobody was seen to apply it. */
  get(hash: HeaderHash): Written | undefined {
    return this.#written.get(hash);
  }

  /** All batches that were seen, in the order in which they were first applied somewhere. */
  all(): Iterable<Written> {
    return this.#written.values();
  }

  /** Bytes of all of them. */
  get batchBytes(): number {
    return this.#batchBytes;
  }

  /** The rulings about a key. */
  rulings(doc: string, key: string): readonly Ruling[] {
    return this.#rulings.get(placeOf(doc, key)) ?? [];
  }

  /** What a replica was handed since it was opened. */
  handed(replica: Replica): Handed | undefined {
    return this.#handed.get(replica);
  }

  /** Is told of all events before the checkers are. */
  onEvent(event: SimEvent, world: World): void {
    if (event.type === "applied") this.#note(event.batch.head.hash, event.batch.bytes);
    if (event.type === "opened") this.#listen(world.node(event.node), event.healed);
  }

  #note(hash: HeaderHash, bytes: Uint8Array): void {
    const before = this.#written.get(hash);
    if (before !== undefined && !leavesOut(before)) return;
    const batch = decodeBatch(bytes);
    // Of one whose writer died right after it was durable, a part may be seen first.
    if (before !== undefined && leavesOut(batch)) return;
    this.#written.set(hash, { ...batch, hash, bytes });
    this.#batchBytes += bytes.length - (before?.bytes.length ?? 0);
    for (const [i, { doc, kind }] of batch.header.sections.entries()) {
      if (kind === "facts") this.#noteRulings(batch, doc, batch.bodies[i]);
    }
  }

  #noteRulings(
    { header: by }: Batch,
    doc: DocumentName,
    body: Uint8Array | null | undefined,
  ): void {
    if (body === undefined || body === null) return;
    for (const { key, retract } of decodeFrame(decodeBody(body)).records) {
      if (retract === undefined) continue;
      const place = placeOf(doc, key);
      const others = this.#rulings.get(place);
      if (others === undefined) this.#rulings.set(place, [{ ...retract, by }]);
      else others.push({ ...retract, by });
    }
  }

  /** Counts calls of a replica's way in; what it does stays as it is. */
  #listen(node: NodeView | undefined, isHealed: boolean): void {
    const replica = node?.process?.replica;
    if (replica === undefined) return;
    const isRefilled = isHealed || replica.counters().received > 0 || replica.degraded().length > 0;
    const handed: Handed = { isRefilled, answered: 0, waiting: 0, waitingBytes: 0 };
    this.#handed.set(replica, handed);
    const receive = replica.receive.bind(replica);
    replica.receive = async (bytes, source) => {
      handed.waiting += 1;
      handed.waitingBytes += bytes.length;
      try {
        const outcome = await receive(bytes, source);
        handed.answered += 1;
        return outcome;
      } finally {
        handed.waiting -= 1;
        handed.waitingBytes -= bytes.length;
      }
    };
  }
}

/** A node that is up. */
export interface UpNode {
  readonly node: NodeView;
  readonly replica: Replica;
}

/** The nodes that are up, and no copies of another one. */
export const upOf = ({ nodes }: World): readonly UpNode[] =>
  nodes.flatMap((node) => {
    const replica = node.cloneOf === undefined ? node.process?.replica : undefined;
    return replica === undefined ? [] : [{ node, replica }];
  });

/** Whether a replica keeps everything of a document, or of all. */
export function keepsAll({ subscription }: Replica, doc?: string): boolean {
  const docs = subscription?.docs;
  return docs === undefined || docs.some((prefix) => doc?.startsWith(prefix) === true);
}

/** Those of them that belong to the space, as all of them see it. */
export function membersOf(world: World): readonly UpNode[] {
  const up = upOf(world);
  return up.filter(({ node }) => up.every(({ replica }) => replica.space.grants.has(node.device)));
}
