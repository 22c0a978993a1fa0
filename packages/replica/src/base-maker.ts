// SPDX-License-Identifier: Apache-2.0
/**
 * Making a base of what a hub has: of its newest checkpoint, whose documents are in the store as they have to be, the
 * headers of heads and void batches, and the hashes. Beside everything else; what changes meanwhile is not in it.
 */
import { MeshError, toHex } from "@ctxmesh/model";
import type {
  Clock,
  DeviceKey,
  DeviceSigner,
  DocumentName,
  HeaderHash,
  Store,
  Vault,
} from "@ctxmesh/model";
import {
  HASH_BYTES,
  PART_CONTENT_BYTES,
  encodeHeaders,
  encodeMarks,
  encodePart,
  encodePieces,
  endsPart,
  isWithinLimits,
  signManifest,
} from "./base-format.ts";
import type { DocumentPiece, PartKind, PartRef, SignedManifest } from "./base-format.ts";
import type { BaseShelf } from "./base-shelf.ts";
import type { Checkpoint } from "./checkpoint-format.ts";
import { encodeDocument } from "./checkpoint-format.ts";
import { openDocument } from "./checkpoints.ts";
import type { Core } from "./core.ts";
import { encodeSignedHeader } from "./evidence.ts";
import { documentRange, hashRange, logRange, readDocumentKey, readHashEntry } from "./layout.ts";
import { staleChains } from "./prune.ts";
import { stateView } from "./state.ts";
import { factsOf, isVoid } from "./void-headers.ts";

/** What a base is made of and with. */
export interface BaseMakerContext {
  readonly core: () => Core;
  readonly store: Store;
  readonly vault?: Vault;
  readonly signer: DeviceSigner;
  readonly device: DeviceKey;
  readonly clock: Clock;
  readonly shelf: BaseShelf;
  /** Makes a checkpoint of everything that is applied. */
  readonly checkpoint: () => Promise<void>;
  readonly rest?: () => Promise<void>;
}

/** Batches whose sizes tell what one has on average: the newest. */
const SAMPLE = 256;
/** A part may end early where it has that much. */
const ENOUGH_BYTES = 32_768;
/** Around an item of a part. */
const ITEM_BYTES = 16;

/** Why there is no base of what is here. */
const none = (why: string): never => {
  throw new MeshError("NOT_FOUND", `no base can be made: ${why}`);
};

/** Writes the parts of one base. */
class Parts {
  readonly refs: PartRef[] = [];
  readonly #shelf: BaseShelf;
  readonly #rest: (() => Promise<void>) | undefined;

  constructor(shelf: BaseShelf, rest: (() => Promise<void>) | undefined) {
    this.#shelf = shelf;
    this.#rest = rest;
  }

  async add(kind: PartKind, content: Uint8Array): Promise<void> {
    const { ref, bytes } = encodePart(kind, content);
    this.refs.push(ref);
    if (!isWithinLimits({ parts: this.refs })) none("it would be larger than any may be");
    this.#shelf.pin(ref);
    if (!(await this.#shelf.has(ref))) await this.#shelf.put(ref, bytes);
    await this.#rest?.();
  }

  /** Headers, in as many parts as they take. */
  async addHeaders(kind: "heads" | "void", headers: AsyncIterable<Uint8Array>): Promise<void> {
    let some: Uint8Array[] = [];
    let bytes = 0;
    for await (const header of headers) {
      if (some.length > 0 && bytes + header.length + ITEM_BYTES > PART_CONTENT_BYTES) {
        await this.add(kind, encodeHeaders(some));
        [some, bytes] = [[], 0];
      }
      some.push(header);
      bytes += header.length + ITEM_BYTES;
    }
    if (some.length > 0) await this.add(kind, encodeHeaders(some));
  }

  /** Documents by name. */
  async addDocuments(
    docs: AsyncIterable<readonly [doc: DocumentName, state: Uint8Array]>,
  ): Promise<void> {
    let pieces: DocumentPiece[] = [];
    let bytes = 0;
    const flush = async (): Promise<void> => {
      if (pieces.length > 0) await this.add("documents", encodePieces(pieces));
      [pieces, bytes] = [[], 0];
    };
    for await (const [doc, state] of docs) {
      const size = state.length + doc.length + ITEM_BYTES;
      if (bytes + size > PART_CONTENT_BYTES) await flush();
      const piece = PART_CONTENT_BYTES - doc.length - ITEM_BYTES;
      for (let at = 0; at === 0 || at < state.length; at += piece) {
        const more = at + piece < state.length;
        pieces.push({ doc, state: state.subarray(at, at + piece), more });
        if (more) await flush();
      }
      bytes += size % PART_CONTENT_BYTES;
      if (bytes >= ENOUGH_BYTES && endsPart(doc)) await flush();
    }
    await flush();
  }

  /** Rising hashes; returns how many. */
  async addHashes(hashes: AsyncIterable<Uint8Array>): Promise<number> {
    const room = Math.floor(PART_CONTENT_BYTES / HASH_BYTES) * HASH_BYTES;
    let some = new Uint8Array(room);
    let used = 0;
    let count = 0;
    for await (const hash of hashes) {
      some.set(hash, used);
      used += HASH_BYTES;
      count++;
      if (used < room) continue;
      await this.add("hashes", some);
      [some, used] = [new Uint8Array(room), 0];
    }
    if (used > 0) await this.add("hashes", some.subarray(0, used));
    return count;
  }
}

async function* headsOf({ heads }: Checkpoint, { log }: Core): AsyncGenerator<Uint8Array> {
  for (const { hash } of heads) {
    const header = await log.header(hash);
    yield encodeSignedHeader(header ?? none("a head is pruned"));
  }
}

/** The headers of the void batches that are here, of one chain by rising seq. */
async function* voidsOf(core: Core, { heads, voids }: Checkpoint): AsyncGenerator<Uint8Array> {
  const { log, voidHeaders, records, state } = core;
  const view = stateView(records, voidHeaders, state);
  const told = new Set<HeaderHash>();
  const counted = new Map(heads.map((head) => [head.replica + head.incarnation, head.seq]));
  for (const { head } of voids) {
    const { replica, incarnation } = head;
    const from = (counted.get(replica + incarnation) ?? 0) + 1;
    for (let seq = from; seq <= head.seq; seq++) {
      const hash = await log.hashAt(replica, incarnation, seq);
      const header = hash === undefined ? undefined : await log.header(hash);
      if (header === undefined) continue;
      const alone = records.standing(header.header, header.hash).kind === "void";
      // Whoever has the header alone could not tell that it is void.
      if (seq === from && !alone) none("what is void is so for its content");
      told.add(header.hash);
      yield encodeSignedHeader(header);
    }
  }
  const others = [...voidHeaders.values()].filter(
    (header) => !told.has(header.hash) && isVoid(records, view, header),
  );
  for (const { hash } of others.toSorted((a, b) => a.seq - b.seq)) {
    const header = await voidHeaders.signed(hash);
    if (header !== undefined && isVoid(records, view, factsOf(header))) {
      yield encodeSignedHeader(header);
    }
  }
}

/** The documents of a checkpoint by name; that they are the ones which it names is up to the caller, who looks whether it still is the newest. */
async function* documentsOf(
  { store, vault }: BaseMakerContext,
  { documents }: Checkpoint,
): AsyncGenerator<readonly [DocumentName, Uint8Array]> {
  const keys = new Map<DocumentName, Uint8Array>();
  for await (const [key] of store.scan(documentRange)) {
    const { doc, position } = readDocumentKey(key);
    if (documents.get(doc) === position) keys.set(doc, key);
  }
  for (const doc of [...documents.keys()].toSorted()) {
    const key = keys.get(doc);
    const sealed = key === undefined ? undefined : await store.get(key);
    if (key === undefined || sealed === undefined) return none("a newer checkpoint took its place");
    yield [doc, encodeDocument(openDocument(doc, key, sealed, vault))];
  }
}

/** The hashes of the log up to a position whose batches count, rising. */
async function* loggedHashes(
  store: Store,
  position: number,
  isVoidHash: (hash: Uint8Array) => boolean,
): AsyncGenerator<Uint8Array> {
  for await (const [key, value] of store.scan(hashRange)) {
    const hash = key.subarray(1);
    if (readHashEntry(value) <= position && !isVoidHash(hash)) yield hash;
  }
}

/** Two rising rows as one, without what is in both. */
async function* merged(
  a: AsyncGenerator<Uint8Array>,
  b: AsyncGenerator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let [one, other] = [await a.next(), await b.next()];
  for (;;) {
    if (one.done === true) {
      if (other.done === true) return;
      yield other.value;
      other = await b.next();
      continue;
    }
    const order = other.done === true ? -1 : Buffer.compare(one.value, other.value);
    yield order <= 0 || other.done === true ? one.value : other.value;
    if (order >= 0) other = await b.next();
    if (order <= 0) one = await a.next();
  }
}

async function voidHashes({ log }: Core, { heads, voids }: Checkpoint): Promise<Set<string>> {
  const counted = new Map(heads.map((head) => [head.replica + head.incarnation, head.seq]));
  const hashes = new Set<string>();
  for (const { head } of voids) {
    const { replica, incarnation } = head;
    const from = (counted.get(replica + incarnation) ?? 0) + 1;
    for (let seq = from; seq <= head.seq; seq++) {
      const hash = await log.hashAt(replica, incarnation, seq);
      if (hash !== undefined) hashes.add(hash);
    }
  }
  return hashes;
}

/** The mean size of a stored batch. */
async function batchBytesOf(store: Store, position: number): Promise<number> {
  const sizes: number[] = [];
  for await (const [, value] of store.scan(logRange(Math.max(1, position - SAMPLE + 1)))) {
    sizes.push(value.length);
  }
  return Math.ceil(sizes.reduce((sum, size) => sum + size, 0) / Math.max(1, sizes.length));
}

/**
 * Makes a base of everything that is applied now, signs it and puts it on the shelf. Throws `NOT_FOUND` when none can be made: a
 * batch waits, a head's header is pruned, something is void that its header does not tell, or records changed on the way.
 */
export async function makeBase(context: BaseMakerContext): Promise<SignedManifest> {
  const { store, shelf, signer, device, clock } = context;
  await context.checkpoint();
  const core = context.core();
  const { checkpoints, records, log } = core;
  // Nothing may come in between from here to the last look at it.
  const { latest } = checkpoints;
  const whole = latest ?? checkpoints.base;
  if (whole === undefined) return none("there is no checkpoint");
  if (staleChains(whole, records, device).length > 0) none("more is pruned than counts");
  const time = clock.now();
  if (core.state.documents.omissions.summary(time).documents > 0) none("not all content is here");
  const acts = records.space.heads;
  const parts = new Parts(shelf, context.rest);
  await parts.addHeaders("heads", headsOf(whole, core));
  await parts.addHeaders("void", voidsOf(core, whole));
  const indexes = new Map(whole.heads.map(({ hash }, i) => [hash, i]));
  const unnamed = whole.unnamed.flatMap(({ hash }) => indexes.get(hash) ?? []);
  await parts.add("marks", encodeMarks({ unnamed, voidParts: whole.voidParts }));
  await parts.addDocuments(documentsOf(context, whole));
  const voids = await voidHashes(core, whole);
  const isVoidHash = (hash: Uint8Array): boolean => voids.size > 0 && voids.has(toHex(hash));
  const hashes = merged(loggedHashes(store, whole.position, isVoidHash), log.baseHashes.all());
  const count = await parts.addHashes(hashes);
  const batches = whole.heads.reduce((sum, { seq }) => sum + seq, 0);
  if (count !== batches) none("the log has other hashes than its heads say");
  if (context.core().records !== records) none("records changed on the way");
  const batchBytes = await batchBytesOf(store, whole.position);
  const { space } = records;
  const manifest = {
    space: space.id,
    hub: device,
    time,
    acts,
    batches,
    batchBytes,
    parts: parts.refs,
  };
  const signed = signManifest(manifest, signer);
  await shelf.finish(signed, time);
  return signed;
}
