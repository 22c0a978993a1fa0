// SPDX-License-Identifier: Apache-2.0
/**
 * Documents as stock Yjs clients see them. A projection follows what is applied here, whoever wrote it; what a client writes into it becomes batches of
 * this device, as everything else does, and shows once they are durable.
 */
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { DocumentName, Projection, Projections } from "@ctxmesh/model";
import { DocumentProjection } from "./projection-document.ts";
import type { ProjectionDeps } from "./projection-document.ts";
import type { Replica } from "./replica.ts";
import type { AppliedBatch } from "./tasks.ts";

/** The projections of a replica. */
export interface ReplicaProjections extends Projections {
  /** Shows what time has changed: facts expire. Call about once a second. */
  refresh(): void;
  /** Documents that are in memory, and about how many bytes those of them have that nobody has open. */
  usage(): { readonly open: number; readonly kept: number; readonly keptBytes: number };
  /** Follows nothing any more; what is open rejects writes with `CLOSED`. Idempotent. */
  close(): void;
}

class OpenProjections implements ReplicaProjections {
  readonly #replica: Replica;
  readonly #deps: ProjectionDeps;
  /** The one that was closed last comes last among those that nobody has open. */
  readonly #documents = new Map<DocumentName, DocumentProjection>();
  readonly #stops: readonly (() => void)[];
  #open = 0;
  #isClosed = false;

  constructor(replica: Replica, deps: ProjectionDeps) {
    this.#replica = replica;
    this.#deps = deps;
    const renewAll = ({ rebuilt }: { readonly rebuilt: boolean }): void => {
      if (rebuilt) this.#rebuilt();
    };
    this.#stops = [
      replica.onApplied((batch) => {
        this.#follow(batch);
      }),
      replica.onRecords(renewAll),
      replica.omitted.onAdded(renewAll),
    ];
  }

  async open(doc: DocumentName): Promise<Projection> {
    this.#assertOpen();
    let document = this.#documents.get(doc);
    if (document === undefined || document.users === 0) this.#assertRoom();
    if (document === undefined) {
      document = new DocumentProjection(doc, this.#replica, this.#deps);
      this.#documents.set(doc, document);
    }
    if (document.users === 0) this.#open++;
    document.users++;
    await document.ready;
    return this.#handle(document);
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new MeshError("CLOSED", "projections are closed");
  }

  #assertRoom(): void {
    if (this.#open < LIMITS.openProjections) return;
    const most = String(LIMITS.openProjections);
    throw new MeshError("LIMIT_EXCEEDED", `Yjs clients have ${most} documents open, the limit`, {
      field: "documents",
      remedy: "spread the documents over more hubs",
    });
  }

  #handle(document: DocumentProjection): Projection {
    const stops = new Set<() => void>();
    let isClosed = false;
    return {
      stateVector: () => document.view.stateVector(),
      diff: (stateVector) => document.diff(stateVector),
      holds: (update) => document.holds(update),
      write: async (update, writer) => {
        if (isClosed) throw new MeshError("CLOSED", "the projection is closed");
        return document.write(update, writer);
      },
      onUpdate: (listener) => {
        const stop = document.listen(listener);
        stops.add(stop);
        return stop;
      },
      close: () => {
        if (isClosed) return;
        isClosed = true;
        for (const stop of stops) stop();
        this.#release(document);
      },
    };
  }

  #release(document: DocumentProjection): void {
    document.users--;
    if (document.users > 0) return;
    this.#open--;
    this.#documents.delete(document.doc);
    this.#documents.set(document.doc, document);
    this.#drop();
  }

  /** Drops those that were closed longest ago, until no more is kept than may be. */
  #drop(): void {
    let { keptBytes } = this.usage();
    for (const [doc, { users, view }] of this.#documents) {
      if (keptBytes <= LIMITS.projectionBytes) return;
      if (users > 0) continue;
      keptBytes -= view.bytes;
      this.#documents.delete(doc);
    }
  }

  #follow(batch: AppliedBatch): void {
    if (this.#documents.size === 0) return;
    const docs = new Set([...batch.rich, ...batch.changed].map(({ doc }) => doc));
    for (const doc of docs) this.#documents.get(doc)?.follow(batch);
  }

  /** Other batches count now: what nobody has open is made anew when somebody opens it. */
  #rebuilt(): void {
    for (const [doc, document] of this.#documents) {
      if (document.users > 0) document.renew();
      else this.#documents.delete(doc);
    }
  }

  refresh(): void {
    for (const document of this.#documents.values()) document.refresh();
  }

  usage(): { readonly open: number; readonly kept: number; readonly keptBytes: number } {
    let keptBytes = 0;
    for (const { users, view } of this.#documents.values())
      if (users === 0) keptBytes += view.bytes;
    return { open: this.#open, kept: this.#documents.size - this.#open, keptBytes };
  }

  close(): void {
    this.#isClosed = true;
    for (const stop of this.#stops) stop();
    for (const document of this.#documents.values()) document.isClosed = true;
    this.#documents.clear();
  }
}

/** The projections of a replica, which they do not close. */
export const createProjections = (replica: Replica, deps: ProjectionDeps): ReplicaProjections =>
  new OpenProjections(replica, deps);
