// SPDX-License-Identifier: Apache-2.0
import type { Lane } from "@ctxmesh/codec";
import type { HlcClock } from "@ctxmesh/facts";
import { MeshError, parseIncarnationId, toHex, toMeshError } from "@ctxmesh/model";
import type {
  Clock,
  DeviceKey,
  DeviceSigner,
  DocumentName,
  Hlc,
  IncarnationId,
  Priority,
  RandomSource,
  StoreChange,
  WriteReceipt,
} from "@ctxmesh/model";
import type { Core } from "./core.ts";
import type { Group } from "./group.ts";
import type { CarriedContent, RichRoots } from "@ctxmesh/rich";
import { incarnationChange } from "./layout.ts";
import {
  OwnNumbers,
  buildBatch,
  hasIncrement,
  packWrites,
  prepareUpdate,
  stampWrites,
} from "./local-batch.ts";
import type { PreparedWrite, StampedWrite } from "./local-batch.ts";
import { OwnExpiry } from "./own-expiry.ts";
import { clientOf } from "./parts.ts";

/** What a local writer is made of. */
export interface LocalWriterOptions {
  readonly core: Core;
  readonly device: DeviceKey;
  /** Of what is neither urgent nor can wait; its record is in the store, or is put there by whoever made it. */
  readonly incarnation: IncarnationId;
  readonly signer: DeviceSigner;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly hlc: HlcClock;
}

/** What goes with a local write. */
export interface WithWrite {
  /** Changes of the store that become durable with the write, or not at all. Called once its batch is made; not at all when it changed nothing. */
  readonly also?: (receipt: WriteReceipt) => readonly StoreChange[];
}

/** A local write: facts, or an edit of rich content that runs when its group is built. */
export type LocalWrite = (PreparedWrite | LocalEdit | LocalCarry) & WithWrite;

/** An edit of a document's rich content. */
export interface LocalEdit {
  readonly doc: DocumentName;
  readonly edit: (roots: RichRoots) => void;
}

/** Rich content that stock Yjs clients made, which becomes one batch for each section or erasure. */
export interface LocalCarry {
  readonly doc: DocumentName;
  readonly carry: CarriedContent;
}

/** The bytes of what is carried. */
export const bytesCarried = ({ sections, erasures }: CarriedContent): number =>
  [...sections.map(({ bytes }) => bytes), ...erasures].reduce((sum, { length }) => sum + length, 0);

/** When a write was made, by the HLC of its last fact, and the batch that carries it. */
export interface WriteStamp {
  readonly hlc: Hlc;
  readonly incarnation: IncarnationId;
  readonly seq: number;
}

/** What became of local writes. */
export interface BuiltWrites {
  /** For each write its stamp, undefined when it changed nothing, or the error of an edit that threw. */
  readonly results: readonly (WriteStamp | Error | undefined)[];
  /** Records of incarnations that were begun, to be written with, or before, their first batches. */
  readonly fresh: readonly StoreChange[];
}

/** A write that may yet be taken back. */
export interface Attempt {
  readonly stamp: WriteStamp;
  readonly undo: () => void;
}

/** A chain that this process life writes. */
interface LocalChain {
  readonly incarnation: IncarnationId;
  /** Last fact seq per document. */
  readonly seqs: Map<DocumentName, number>;
}

/** In the order in which batches of one group are written and sent. */
const PRIORITIES: readonly Priority[] = ["high", "normal", "low"];

const laneOf = (priority: Priority): Lane | undefined =>
  priority === "normal" ? undefined : priority;

/** Why rich content can't be written here: an edit names what is there, and nobody knows here what that is. */
export const closedError = (doc: DocumentName): MeshError =>
  new MeshError("POLICY_REFUSED", `rich content of ${doc} is left out on this node`, {
    field: "doc",
    remedy: `fetch it first: ctxmesh fetch ${doc}`,
  });

const NO_NUMBERS: ReadonlyMap<string, number> = new Map();
const numberName = (doc: DocumentName, key: string): string => `${doc}\n${key}`;

/**
 * Turns local writes into the next batches of this process life's chains: one for each priority, since a chain is strictly
 * ordered and what is urgent must not wait for what is not. A lane's chain is begun by its first write, so a
 * life without urgent writes adds one chain, as ever.
 */
export class LocalWriter {
  readonly #options: LocalWriterOptions;
  readonly #chains = new Map<Priority, LocalChain>();
  /** The incarnation's Yjs client id; 0 until its first rich write, so that lives without one add none. */
  #client = 0;

  constructor(options: LocalWriterOptions) {
    this.#options = options;
    this.#chains.set("normal", { incarnation: options.incarnation, seqs: new Map() });
  }

  /** The incarnations of all chains that are written here. */
  incarnations(): readonly IncarnationId[] {
    return [...this.#chains.values()].map(({ incarnation }) => incarnation);
  }

  /** Whether a chain is written here. */
  owns(incarnation: IncarnationId): boolean {
    for (const chain of this.#chains.values()) {
      if (chain.incarnation === incarnation) return true;
    }
    return false;
  }

  /** Adds the batches of the writes to a group. */
  build(writes: readonly LocalWrite[], group: Group): BuiltWrites {
    const numbers = new Map<string, number>();
    const prepared = writes.map((write) => this.#prepare(write, numbers));
    const fresh: StoreChange[] = [];
    const ready = prepared.flatMap((each) => (each instanceof Error ? [] : each));
    const stamps = this.#buildBatches(ready, group, fresh, numbers);
    const results = prepared.map((each) => {
      if (each instanceof Error) return each;
      const last = each.at(-1);
      return last && stamps.get(last);
    });
    return { results, fresh };
  }

  /** Adds the batch of one write of facts to a group; `undo` takes it back, if nobody was told of it. */
  attempt(write: PreparedWrite, group: Group): Attempt {
    const { seqs } = this.#chainOf("normal", []);
    const before = seqs.get(write.doc);
    const stamp = this.#buildBatches([write], group, [], NO_NUMBERS).get(write);
    if (stamp === undefined) throw new MeshError("INTERNAL", "a write has no batch");
    return {
      stamp,
      undo: () => {
        if (before === undefined) seqs.delete(write.doc);
        else seqs.set(write.doc, before);
      },
    };
  }

  /** Runs an edit, or takes what is carried, which stages it; a write of facts is ready as it is. Puts the numbers to which it adds into `numbers`. */
  #prepare(write: LocalWrite, numbers: Map<string, number>): readonly PreparedWrite[] | Error {
    const { core, device, incarnation } = this.#options;
    if ("drafts" in write) return this.#readable(write, numbers);
    const client = clientOf(device, incarnation);
    if (core.state.documents.omissions.isClosed(write.doc)) return closedError(write.doc);
    const { documents } = core.state;
    try {
      const edited =
        "edit" in write
          ? [documents.editRich(write.doc, client, write.edit)]
          : documents.carryRich(write.doc, client, write.carry);
      const updates = edited.filter((update) => update !== undefined);
      if (updates.length > 0) this.#client = client;
      return updates.map((update) => prepareUpdate(write.doc, update));
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  /** A write of facts; the error where a number to which it adds can't be read, which must stop no other write. */
  #readable(write: PreparedWrite, numbers: Map<string, number>): readonly PreparedWrite[] | Error {
    if (!hasIncrement(write)) return [write];
    const { core, device, clock } = this.#options;
    const { doc, drafts } = write;
    try {
      for (const { key } of drafts) {
        const number = core.state.documents.ownNumber(doc, key, device, clock.now());
        numbers.set(numberName(doc, key), number);
      }
      return [write];
    } catch (error) {
      return toMeshError(error);
    }
  }

  #chainOf(priority: Priority, fresh: StoreChange[]): LocalChain {
    const known = this.#chains.get(priority);
    if (known !== undefined) return known;
    const { random, clock } = this.#options;
    const incarnation = parseIncarnationId(toHex(random.bytes(16)));
    fresh.push(incarnationChange(incarnation, clock.now()));
    const chain: LocalChain = { incarnation, seqs: new Map() };
    this.#chains.set(priority, chain);
    return chain;
  }

  #buildBatches(
    writes: readonly PreparedWrite[],
    group: Group,
    fresh: StoreChange[],
    numbers: ReadonlyMap<string, number>,
  ): ReadonlyMap<PreparedWrite, WriteStamp> {
    // Not read again: a document may be lost by now.
    const own = writes.some(hasIncrement)
      ? new OwnNumbers((doc, key) => numbers.get(numberName(doc, key)) ?? 0)
      : undefined;
    const stamped = this.#withExpiry(stampWrites(writes, this.#options.hlc, own));
    const stamps = new Map<PreparedWrite, WriteStamp>();
    for (const priority of PRIORITIES) {
      const some = stamped.filter((write) => (write.priority ?? "normal") === priority);
      if (some.length === 0) continue;
      const chain = this.#chainOf(priority, fresh);
      for (const pack of packWrites(some)) {
        const at = this.#buildBatch(pack, chain, laneOf(priority), group);
        for (const { made, hlc: stamp } of pack) stamps.set(made, { ...at, hlc: stamp });
      }
    }
    return stamps;
  }

  #withExpiry(writes: readonly StampedWrite[]): readonly StampedWrite[] {
    if (!writes.some(({ records }) => records.some(({ ttlMs }) => ttlMs !== undefined))) {
      return writes;
    }
    const { core, device } = this.#options;
    const { documents } = core.state;
    const expiry = new OwnExpiry((doc, key) => documents.ownStatement(doc, key, device));
    return writes.map((write) => {
      const chain = this.#chains.get(write.priority ?? "normal");
      return { ...write, until: expiry.settle(write.doc, write.records, chain?.incarnation) };
    });
  }

  #buildBatch(
    pack: readonly StampedWrite[],
    { incarnation, seqs }: LocalChain,
    lane: Lane | undefined,
    group: Group,
  ): Pick<WriteStamp, "incarnation" | "seq"> {
    const { core, device, signer, clock } = this.#options;
    const { space } = core.records;
    const { omissions } = core.state.documents;
    const nowMs = clock.now();
    const isWhole = (chain: string): boolean => omissions.isWhole(chain, nowMs);
    const head = group.head(device, incarnation);
    const position = {
      space: space.id,
      replica: device,
      incarnation,
      seq: (head?.seq ?? 0) + 1,
      prev: head?.hash ?? null,
      deps: lane === undefined ? group.depsFor(device, incarnation, isWhole) : [],
      client: lane === undefined ? this.#client : 0,
      ...(lane === undefined ? {} : { lane }),
    };
    group.add(buildBatch(pack, position, seqs, { signer, epoch: space.policy.epoch }));
    return { incarnation, seq: position.seq };
  }
}
