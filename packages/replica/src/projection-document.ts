// SPDX-License-Identifier: Apache-2.0
/** One document as stock Yjs clients see it: follows what is applied, and writes what they make. */
import { sha256 } from "@ctxmesh/crypto";
import { LIMITS, MeshError, toHex } from "@ctxmesh/model";
import type {
  Clock,
  DocumentName,
  FactInput,
  JsonValue,
  Logger,
  ProjectionWriter,
  RandomSource,
} from "@ctxmesh/model";
import { ProjectedDoc, overlayClient } from "@ctxmesh/rich";
import type { ProjectedWrite } from "@ctxmesh/rich";
import { Listeners } from "./listeners.ts";
import { prepareDelete } from "./local-batch.ts";
import type { Replica } from "./replica.ts";
import type { AppliedBatch } from "./tasks.ts";

/** What projections are made of. */
export interface ProjectionDeps {
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  /** Resolves once the event loop has gone round. With it, a large document that is opened leaves other work its turns. */
  readonly rest?: () => Promise<void>;
}

/** Facts that are read at a time. */
const PAGE = 1_000;
/** An overlay with so many entries, and four times as many as it shows, is made anew. */
const OVERLAY_ENTRIES = 16_384;
const OVERLAY_FACTOR = 4;

/** With so many bytes of values a put has room for the largest one more. */
const PUT_BYTES = LIMITS.writeBytes / 4;

const OWNER_BYTES = 16;

function chunksOf<T>(items: readonly T[], size: number): T[][] {
  const chunks: T[][] = [];
  for (let i = 0; i < items.length; i += size) chunks.push(items.slice(i, i + size));
  return chunks;
}

/** Facts in runs that each are one put. */
function packFacts(facts: readonly FactInput[]): FactInput[][] {
  const puts: FactInput[][] = [];
  let bytes = 0;
  for (const fact of facts) {
    const last = puts.at(-1);
    if (last === undefined || bytes > PUT_BYTES || last.length >= LIMITS.factsPerWrite) {
      puts.push([fact]);
      bytes = 0;
    } else last.push(fact);
    bytes += Buffer.byteLength(JSON.stringify(fact));
  }
  return puts;
}

/** What stands for whom the clients of a writer are. The name alone counts: the same subject comes in at other gateways, too. */
const ownerOf = ({ model }: ProjectionWriter["source"]): string =>
  toHex(
    sha256(new TextEncoder().encode(`ctxmesh/yjs-writer/v1\n${model}`)).subarray(0, OWNER_BYTES),
  );

/** One document that is in memory. */
export class DocumentProjection {
  readonly doc: DocumentName;
  readonly #replica: Replica;
  readonly #deps: ProjectionDeps;
  readonly #listeners: Listeners<Uint8Array>;
  #view: ProjectedDoc;
  #writes: Promise<unknown> = Promise.resolve();
  /** When it was last looked what has expired, Unix milliseconds. */
  #refreshedMs: number;
  /** Resolves once everything is shown. */
  readonly ready: Promise<void>;
  /** How many have it open. */
  users = 0;
  isClosed = false;

  constructor(doc: DocumentName, replica: Replica, deps: ProjectionDeps) {
    this.doc = doc;
    this.#replica = replica;
    this.#deps = deps;
    this.#listeners = new Listeners(deps.logger);
    this.#refreshedMs = deps.clock.now();
    this.#view = this.#found(0);
    this.ready = this.#showFirst();
  }

  get view(): ProjectedDoc {
    return this.#view;
  }

  /** A view of the content as it is now, under an overlay above `above`. */
  #found(above: number): ProjectedDoc {
    const { clock, random } = this.#deps;
    const overlay = overlayClient(clock.now(), random.bytes(2));
    const view = new ProjectedDoc(this.#replica.richState(this.doc), Math.max(overlay, above + 1));
    view.onUpdate((bytes) => {
      if (view === this.#view) this.#listeners.tell(bytes);
    });
    return view;
  }

  *#pages(): Generator<readonly (readonly [key: string, value: JsonValue])[]> {
    let after: string | undefined;
    for (;;) {
      const facts = this.#replica.list({
        doc: this.doc,
        limit: PAGE,
        ...(after === undefined ? {} : { after }),
      });
      yield facts.map(({ key, value }) => [key, value] as const);
      if (facts.length < PAGE) return;
      after = facts.at(-1)?.key;
    }
  }

  async #showFirst(): Promise<void> {
    for (const page of this.#pages()) {
      this.#view.show(page);
      await this.#deps.rest?.();
    }
  }

  /** Shows what is visible now, and nothing else. Takes no time when nothing has expired since it was last called. */
  refresh(): void {
    const [sinceMs, nowMs] = [this.#refreshedMs, this.#deps.clock.now()];
    this.#refreshedMs = nowMs;
    // Where the clock was set back, what had expired counts again.
    if (sinceMs <= nowMs && !this.#replica.expires(this.doc, sinceMs, nowMs)) return;
    const gone = new Map<string, JsonValue | undefined>(
      this.#view.keys().map((key) => [key, undefined]),
    );
    const changed: (readonly [string, JsonValue | undefined])[] = [];
    for (const page of this.#pages()) {
      for (const [key, value] of page) {
        gone.delete(key);
        changed.push([key, value]);
      }
    }
    this.#view.show([...changed, ...gone]);
  }

  /** Makes the view anew: what counts is another now, the overlay is long, or a client has a newer one from elsewhere. */
  renew(above: number = this.#view.overlay): void {
    const before = this.#view;
    const view = this.#found(above);
    this.#view = view;
    view.follow(before);
    for (const page of this.#pages()) view.show(page);
    this.#listeners.tell(view.diff(before.stateVector()));
  }

  /** Shows what a batch changed. */
  follow(batch: AppliedBatch): void {
    for (const { doc, update } of batch.rich) if (doc === this.doc) this.#view.takeRich(update);
    const keys = batch.changed.flatMap(({ doc, key }) => (doc === this.doc ? [key] : []));
    if (keys.length > 0) this.#show(keys);
  }

  #show(keys: readonly string[], again?: ReadonlySet<string>): void {
    const values = keys.map((key) => [key, this.#replica.get(this.doc, key)?.value] as const);
    this.#view.show(values, again);
    this.#renewLong();
  }

  /** As {@link ProjectedDoc.shade}: whoever may read can make the overlay longer by that. */
  #shade(): void {
    this.#view.shade();
    this.#renewLong();
  }

  #renewLong(): void {
    const { overlayEntries } = this.#view;
    if (overlayEntries < OVERLAY_ENTRIES) return;
    if (overlayEntries > OVERLAY_FACTOR * this.#view.keys().length) this.renew();
  }

  /** What a client with a state vector lacks. One that has a newer overlay, of another node, gets one that is newer still. */
  diff(stateVector?: Uint8Array): Uint8Array {
    if (stateVector !== undefined) {
      // Nobody's is from later than clocks may be ahead.
      const latestMs = this.#deps.clock.now() + LIMITS.clockAheadMs;
      const newest = this.#view.newestOverlay(stateVector, latestMs);
      if (newest > this.#view.overlay) this.renew(newest);
    }
    return this.#view.diff(stateVector);
  }

  /** Whether an update says nothing new. What it shows that nobody says any more is taken away all the same. */
  holds(update: Uint8Array): boolean {
    const holds = this.#view.holds(update);
    this.#shade();
    return holds;
  }

  listen(listener: (bytes: Uint8Array) => void): () => void {
    return this.#listeners.add(listener);
  }

  /** Writes one after the other. */
  async write(update: Uint8Array, writer: ProjectionWriter): Promise<void> {
    const written = this.#writes.then(async () => this.#write(update, writer));
    this.#writes = written.catch(() => undefined);
    return written;
  }

  async #write(update: Uint8Array, { source, whose }: ProjectionWriter): Promise<void> {
    if (this.isClosed) throw new MeshError("CLOSED", "the projection is closed");
    const view = this.#view;
    const plan = view.plan(update, {
      by: ownerOf(source),
      ...(whose === undefined ? {} : { whose }),
    });
    const keys = [...plan.facts.keys()];
    const entries = keys.map((key) => view.entryOf(key));
    await this.#commit(plan, source);
    const isOverwritten = new Set(
      keys.filter((key, i) => view === this.#view && view.entryOf(key) === entries[i]),
    );
    this.#show(keys, isOverwritten);
    this.#view.keepTraces(plan.traces, plan.by);
    this.#shade();
  }

  /** Everything is judged before the first of it is written. */
  async #commit(
    { facts, sections, erasures, by }: ProjectedWrite,
    source: ProjectionWriter["source"],
  ): Promise<void> {
    const { doc } = this;
    const stated: FactInput[] = [];
    const withdrawn: string[] = [];
    for (const [key, value] of facts) {
      if (value === undefined) withdrawn.push(key);
      else stated.push({ key, value, source });
    }
    const puts = packFacts(stated);
    const deletes = chunksOf(withdrawn, LIMITS.factsPerWrite);
    for (const some of puts) this.#replica.preparePut(doc, some);
    for (const some of deletes) prepareDelete(doc, some);
    const content = { sections, erasures, by };
    const isRich = sections.length + erasures.length > 0;
    if (isRich && facts.size > 0) this.#replica.judgeCarry(doc, content);
    // Content takes its client's clocks, with those of facts before it: were it there alone, the client would not say the facts again.
    await Promise.all([
      ...puts.map(async (some) => this.#replica.put(doc, some)),
      ...deletes.map(async (some) => this.#replica.delete(doc, some)),
    ]);
    if (isRich) await this.#replica.carry(doc, content);
  }
}
