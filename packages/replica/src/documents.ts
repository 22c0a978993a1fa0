// SPDX-License-Identifier: Apache-2.0
/** The documents of a space, their facts under the space's policy, and the canonical leaves. */
import { canonicalJson } from "@ctxmesh/codec";
import { Resolvers } from "@ctxmesh/facts";
import type { ChangedKeys, FactRecord, KeySlots, Slot } from "@ctxmesh/facts";
import type { Space } from "@ctxmesh/membership";
import { LIMITS, MeshError, hlcToMs } from "@ctxmesh/model";
import type {
  Candidate,
  DeviceKey,
  DocumentName,
  Hlc,
  ListQuery,
  VisibleFact,
} from "@ctxmesh/model";
import { RichDocument } from "@ctxmesh/rich";
import type { CarriedContent, RichContent, RichRoots, RichUpdate } from "@ctxmesh/rich";
import { Registry } from "@ctxmesh/schema";
import type { DocumentState } from "./checkpoint-format.ts";
import type { CheckedBatch } from "./checks.ts";
import type { DocumentEngines } from "./document-engines.ts";
import { DocumentFacts } from "./document-facts.ts";
import type { MissingOperation } from "./hold.ts";
import type { OwnStatement } from "./own-expiry.ts";
import type { OpenRich } from "./parts.ts";
import { Shelf } from "./shelf.ts";
import { SpaceModules, isUnrunnable } from "./space-modules.ts";
import { Omissions } from "./omissions.ts";
import { VoidContent } from "./void-content.ts";
import type { ChainView } from "./void-content.ts";

/** A key whose slots changed. */
export interface ChangedKey {
  readonly doc: DocumentName;
  readonly key: string;
}

/** Facts of a list without a limit. */
export const DEFAULT_LIST_LIMIT = 1_000;

const MAX_LIST = 10_000;

/** Throws `INPUT_INVALID` for a bad limit. */
export function checkList({ limit }: ListQuery): void {
  if (limit === undefined || (Number.isInteger(limit) && limit >= 1 && limit <= MAX_LIST)) return;
  throw new MeshError("INPUT_INVALID", `limit must be 1 to ${String(MAX_LIST)}`, {
    field: "limit",
  });
}

/** What of a space decides what its documents show. */
export type DocumentRules = Pick<Space, "policy" | "schemas">;

const NOTHING = { facts: 0, contested: 0 };

/** What a read says; or something else where the facts of the document are lost, or are found to be. */
function unlessLost<T>(facts: DocumentFacts, read: () => T, otherwise: T): T {
  try {
    return read();
  } catch (error) {
    if (!facts.isLost) throw error;
    return otherwise;
  }
}

/** Of an answer that can't be told, since this machine can't run a module. */
const UNKNOWN = "";

type Version = ChangedKey & { readonly version: string };
/** As of `ReplicaOptions`. */
type Rest = (() => Promise<void>) | undefined;

function versionOf(facts: DocumentFacts, key: string, nowMs: number): string | undefined {
  try {
    const fact = facts.visible(key, nowMs);
    // Another resolver may make another answer of the same candidates.
    return fact && `${fact.version} ${fact.resolver}`;
  } catch (error) {
    if (!isUnrunnable(error)) throw error;
    return UNKNOWN;
  }
}

function countOf(facts: DocumentFacts, nowMs: number): { facts: number; contested: number } {
  try {
    return unlessLost(facts, () => facts.count(nowMs), NOTHING);
  } catch (error) {
    if (!isUnrunnable(error)) throw error;
    return NOTHING;
  }
}

/** All documents of one space. */
export class Documents {
  readonly #factsByDoc = new Shelf<DocumentFacts>(
    {
      decode: (doc, state) => this.newFacts(doc, state),
      encode: (facts) => facts.encode(),
      sizeOf: ({ bytes }) => bytes,
      isWhole: ({ isLost }) => !isLost,
    },
    LIMITS.openDocumentBytes,
  );
  readonly #richByDoc = new Shelf<RichDocument>(
    {
      decode: (_, state) => RichDocument.fromState(state),
      encode: (rich) => rich.encodeState(),
      sizeOf: ({ bytes }) => bytes,
      isWhole: ({ isStaged }) => !isStaged,
    },
    LIMITS.openDocumentBytes,
  );
  readonly #resolvers: Resolvers;
  /** Those that changed since they were last written to the store. */
  #dirty = new Set<DocumentName>();
  /** Rich operations that never come. */
  readonly voids: VoidContent = new VoidContent();
  /** What is left out of the batches that are applied, or staged. */
  readonly omissions: Omissions = new Omissions();

  /** Which values may be shown. */
  readonly schemas: Registry;

  /** What policy and schemas may leave to modules. */
  readonly modules: SpaceModules;

  readonly #engines: DocumentEngines;

  constructor({ policy, schemas }: DocumentRules, engines: DocumentEngines) {
    this.#engines = engines;
    this.modules = new SpaceModules({ schemas });
    this.#resolvers = new Resolvers(policy, this.modules);
    this.schemas = new Registry(schemas, this.modules);
  }

  /** Number of documents. */
  get size(): number {
    return new Set([...this.#factsByDoc.docs(), ...this.#richByDoc.docs()]).size;
  }

  /** Their names, in order. */
  names(): readonly DocumentName[] {
    return [...new Set([...this.#factsByDoc.docs(), ...this.#richByDoc.docs()])].toSorted();
  }

  /** Takes a document as it was encoded. */
  load(doc: DocumentName, { facts, rich }: DocumentState): void {
    if (facts !== undefined) this.#factsByDoc.put(doc, facts);
    if (rich !== undefined) this.#richByDoc.put(doc, rich);
  }

  /** A document as it is applied, without what is only staged. */
  encode(doc: DocumentName): DocumentState {
    return {
      facts: this.#factsByDoc.encode(doc),
      rich: this.#richByDoc.encode(doc),
    };
  }

  /** The documents that changed since they were last taken here. */
  takeDirty(): Set<DocumentName> {
    const dirty = this.#dirty;
    this.#dirty = new Set();
    return dirty;
  }

  /** Every document has to be written again, since what was written may not be used any more. */
  setDirty(): void {
    for (const doc of [...this.#factsByDoc.docs(), ...this.#richByDoc.docs()]) this.#dirty.add(doc);
  }

  /** About the encoded size of all documents that changed. */
  dirtyBytes(): number {
    let bytes = 0;
    for (const doc of this.#dirty) bytes += this.bytesOf(doc);
    return bytes;
  }

  /** About the encoded size of a document. */
  bytesOf(doc: DocumentName): number {
    return this.#factsByDoc.bytesOf(doc) + this.#richByDoc.bytesOf(doc);
  }

  #facts(doc: DocumentName): DocumentFacts {
    return this.#factsByDoc.getOrMake(doc, () => this.newFacts(doc));
  }

  /** Facts of a document that are not its own yet: none, or those of a state. Throws `FORMAT_INVALID`. */
  newFacts(doc: DocumentName, state?: Uint8Array): DocumentFacts {
    const schemas = this.schemas.forDocument(doc);
    return new DocumentFacts(doc, this.#resolvers, schemas, state, this.#engines.of(doc));
  }

  /** Whether the engine of a document's facts has failed, so that they have to be read again. */
  isLost(doc: DocumentName): boolean {
    return this.#factsByDoc.get(doc)?.isLost === true;
  }

  /** Takes the facts of a document in the place of those that were lost. */
  setFacts(doc: DocumentName, facts: DocumentFacts): void {
    this.#factsByDoc.set(doc, facts);
  }

  #rich(doc: DocumentName): RichDocument {
    return this.#richByDoc.getOrMake(doc, () => new RichDocument());
  }

  /** Checks rich updates against what is staged; changes nothing. */
  openRich(view: ChainView): OpenRich {
    return (doc, bytes, interval) => {
      if (this.omissions.isClosed(doc)) return { kind: "closed" };
      if (this.voids.follows(doc, interval.client, interval.from)) return { kind: "void" };
      const verdict = (this.#richByDoc.get(doc) ?? new RichDocument()).check(bytes, interval);
      return verdict.kind === "missing" &&
        this.voids.isVoid(doc, verdict.client, verdict.clock, view)
        ? { kind: "void" }
        : verdict;
    };
  }

  /** Whether a rich operation that was not here is by now, or never comes, or nobody can tell any more. */
  isSettled({ doc, client, clock }: MissingOperation, view: ChainView): boolean {
    if (this.omissions.isClosed(doc)) return true;
    const isKnown = this.#richByDoc.get(doc)?.knows(client, clock) === true;
    return isKnown || this.voids.isVoid(doc, client, clock, view);
  }

  /** Makes a local rich edit and stages it; undefined when it changed nothing. */
  editRich(
    doc: DocumentName,
    client: number,
    edit: (roots: RichRoots) => void,
  ): RichUpdate | undefined {
    return this.#rich(doc).change(client, edit);
  }

  /** Checks what a gateway carries for Yjs clients, and stages it; `client` is the gateway's own. Throws as `RichDocument.carry`. */
  carryRich(doc: DocumentName, client: number, content: CarriedContent): readonly RichUpdate[] {
    this.#assertCounts(doc, content);
    return this.#rich(doc).carry(client, content);
  }

  /** As {@link carryRich}, and stages nothing. */
  judgeCarry(doc: DocumentName, client: number, content: CarriedContent): void {
    this.#assertCounts(doc, content);
    (this.#richByDoc.get(doc) ?? new RichDocument()).judge(client, content);
  }

  #assertCounts(doc: DocumentName, { sections }: CarriedContent): void {
    if (!sections.some(({ client, to }) => this.voids.follows(doc, client, to))) return;
    throw new MeshError("POLICY_REFUSED", `what this Yjs client writes in ${doc} is void`, {
      field: "doc",
      remedy: "load the page again",
    });
  }

  /** The applied state of a document's rich content; undefined when there is none. */
  richState(doc: DocumentName): Uint8Array | undefined {
    const rich = this.#richByDoc.get(doc);
    return rich === undefined || rich.isEmpty ? undefined : rich.encodeState();
  }

  /** Takes an accepted batch's rich updates as ones that will be applied; later checks build on them. */
  stage({ header, parts }: Pick<CheckedBatch, "header" | "parts">): void {
    for (const part of parts) {
      if (part.kind === "omitted") this.omissions.count(header, part.section);
      if (part.kind === "rich") this.#rich(part.doc).stage(part.update);
      if (part.kind === "void") this.voids.addPart(part.doc, part.client, part.from);
    }
  }

  /** Merges a batch that was staged; returns what tells the fact keys whose slots changed. */
  apply({ header, parts }: Pick<CheckedBatch, "header" | "parts">): () => readonly ChangedKey[] {
    const chain = { writer: header.replica, incarnation: header.incarnation };
    const changes: (readonly [DocumentName, ChangedKeys])[] = [];
    for (const part of parts) {
      const { doc } = part;
      if (part.kind === "void" || part.kind === "omitted" || part.kind === "closed") continue;
      this.#dirty.add(doc);
      if (part.kind === "rich") {
        this.#rich(doc).apply(part.update);
        continue;
      }
      changes.push([doc, this.#facts(doc).applyPacked(chain, part.frame)]);
    }
    let changed: readonly ChangedKey[] | undefined;
    return () =>
      (changed ??= changes.flatMap(([doc, keys]) => keys.keys().map((key) => ({ doc, key }))));
  }

  /** The plain content of a document's rich roots, by kind and name. */
  content(doc: DocumentName): readonly RichContent[] {
    return this.#richByDoc.get(doc)?.content() ?? [];
  }

  /** The answer to reading a key; undefined when nothing is visible. */
  get(doc: DocumentName, key: string, nowMs: number): VisibleFact | undefined {
    return this.#factsByDoc.get(doc)?.visible(key, nowMs, this.omissions.isIncomplete(doc, nowMs));
  }

  /** Whether a fact of a document expires after one time and up to another, Unix milliseconds. */
  expires(doc: DocumentName, afterMs: number, upToMs: number): boolean {
    return this.#factsByDoc.get(doc)?.expires(afterMs, upToMs) ?? false;
  }

  /** Every writer's candidate, newest first, each with its standing. */
  candidates(doc: DocumentName, key: string, nowMs: number): readonly Candidate[] {
    return this.#factsByDoc.get(doc)?.candidates(key, nowMs) ?? [];
  }

  /** The resolvers of the policy. */
  get resolvers(): Resolvers {
    return this.#resolvers;
  }

  /** Whether a statement counts once it is made, and something is visible under its key then. */
  wouldShow(doc: DocumentName, slot: Slot, nowMs: number): boolean {
    return this.#facts(doc).wouldShow(slot, nowMs);
  }

  /** The slots of a key as they are now; both lists may change later. */
  slots(doc: DocumentName, key: string): KeySlots | undefined {
    return this.#factsByDoc.get(doc)?.slots(key);
  }

  /** The clock of a writer's newest statement about a key, or undefined. */
  statedAt(doc: DocumentName, key: string, writer: DeviceKey): Hlc | undefined {
    return this.#factsByDoc.get(doc)?.statement(key, writer)?.hlc;
  }

  /** Whether a writer's statement or ruling in a record, or a newer one, is known to be here. */
  hasStated(doc: DocumentName, writer: DeviceKey, record: FactRecord): boolean {
    const facts = this.#factsByDoc.get(doc);
    return facts !== undefined && unlessLost(facts, () => facts.hasStated(writer, record), false);
  }

  /** A writer's own number under a key: 0 when its newest statement is none, is deleted, or does not count. */
  ownNumber(doc: DocumentName, key: string, writer: DeviceKey, nowMs: number): number {
    return this.#factsByDoc.get(doc)?.ownNumber(key, writer, nowMs) ?? 0;
  }

  /** A writer's newest statement about a key, counting or not; undefined also where it can't be told for now. */
  ownStatement(doc: DocumentName, key: string, writer: DeviceKey): OwnStatement | undefined {
    const facts = this.#factsByDoc.get(doc);
    return facts && unlessLost(facts, () => facts.ownStatement(key, writer), undefined);
  }

  /** Visible facts in document and key order. */
  list(query: ListQuery, nowMs: number): readonly VisibleFact[] {
    const limit = query.limit ?? DEFAULT_LIST_LIMIT;
    const found: VisibleFact[] = [];
    const docs =
      query.doc === undefined ? this.#factsByDoc.docs().toSorted() : [query.doc as DocumentName];
    for (const doc of docs) {
      if (found.length >= limit) break;
      const facts = this.#factsByDoc.get(doc);
      const incomplete = this.omissions.isIncomplete(doc, nowMs);
      if (facts === undefined) continue;
      found.push(...facts.list(query, nowMs, limit - found.length, incomplete));
    }
    return found;
  }

  /** The version of each key's answer now, and who picked it, by document and key. */
  async #versions(nowMs: number, rest: Rest): Promise<Map<string, Version>> {
    const versions = new Map<string, Version>();
    for (const [doc, facts] of this.#factsByDoc.entries()) {
      for (const key of unlessLost(facts, () => [...facts.keys({})], [])) {
        if (this.modules.isRestDue()) await rest?.();
        const version = unlessLost(facts, () => versionOf(facts, key, nowMs), undefined);
        if (version !== undefined) versions.set(`${doc}\n${key}`, { doc, key, version });
      }
    }
    return versions;
  }

  /**
   * The keys whose answer is another one in `other`, which took this one's place, or can't be told; neither may change meanwhile. While modules are called,
   * others have their turn.
   */
  async changedIn(other: Documents, nowMs: number, rest?: Rest): Promise<readonly ChangedKey[]> {
    const before = await this.#versions(nowMs, rest);
    const changed: ChangedKey[] = [];
    for (const [name, { doc, key, version }] of await other.#versions(nowMs, rest)) {
      if (version === UNKNOWN || before.get(name)?.version !== version) changed.push({ doc, key });
      before.delete(name);
    }
    for (const { doc, key } of before.values()) changed.push({ doc, key });
    return changed;
  }

  /** Number of visible facts, and how many of them are contested, without the documents of which that can't be told. */
  count(nowMs: number): { facts: number; contested: number } {
    let facts = 0;
    let contested = 0;
    for (const [, document] of this.#factsByDoc.entries()) {
      const count = countOf(document, nowMs);
      facts += count.facts;
      contested += count.contested;
    }
    return { facts, contested };
  }

  /**
   * The canonical leaves of the undominated, counting candidates and of all retractions as of an HLC, and
   * of every rich root, sorted: a function of the applied batches and the policy alone when `asOf` is the frontier's own time.
   */
  leaves(asOf: Hlc): readonly string[] {
    const leaves: string[] = [];
    for (const [, facts] of this.#factsByDoc.entries()) {
      for (const leaf of facts.leaves(hlcToMs(asOf))) leaves.push(leaf);
    }
    for (const [doc, rich] of this.#richByDoc.entries()) {
      for (const root of rich.content()) leaves.push(canonicalJson({ doc, ...root }));
    }
    return leaves.toSorted((a, b) => (a < b ? -1 : 1));
  }
}
