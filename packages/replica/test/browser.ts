// SPDX-License-Identifier: Apache-2.0
/** Stock Yjs documents that speak to projections as a provider does: state vectors on connecting, then updates. */
import { MeshError } from "@ctxmesh/model";
import type { Projection, Projections } from "@ctxmesh/model";
import * as Y from "yjs";
import { DOC } from "./mesh.ts";
import { pageOf, runsOf, xmlOf } from "./xml-edits.ts";

/** A page with a document, connected to a node or not. */
export class Browser {
  readonly doc: Y.Doc = new Y.Doc();
  readonly name: string;
  #projection: Projection | undefined;
  /** What the node sent and the page has not seen. */
  #inbox: Uint8Array[] = [];
  /** What the page made and the node has not got. */
  #outbox: Uint8Array[] = [];
  #stop: (() => void) | undefined;
  /** Writes under way. */
  #writes: Promise<unknown>[] = [];
  readonly errors: MeshError[] = [];

  constructor(name: string, clientID?: number) {
    this.name = name;
    if (clientID !== undefined) this.doc.clientID = clientID;
    this.doc.on("update", (bytes: Uint8Array, origin: unknown) => {
      if (origin !== this && this.#projection !== undefined) this.#outbox.push(bytes);
    });
  }

  get facts(): Y.Map<unknown> {
    return this.doc.getMap("facts");
  }

  get text(): Y.Text {
    return this.doc.getText("text:notes");
  }

  get isConnected(): boolean {
    return this.#projection !== undefined;
  }

  /** Opens the document and exchanges what each lacks, in the order of a stock provider. */
  async connect(projections: Projections): Promise<void> {
    const projection = await projections.open(DOC);
    this.#projection = projection;
    this.#inbox = [];
    this.#stop = projection.onUpdate((bytes) => this.#inbox.push(bytes));
    this.#outbox = [Y.encodeStateAsUpdate(this.doc, projection.stateVector())];
    this.#inbox.push(projection.diff(Y.encodeStateVector(this.doc)));
  }

  /** Leaves; what is under way may still arrive. */
  disconnect(): void {
    this.#stop?.();
    this.#projection?.close();
    this.#projection = undefined;
    this.#outbox = [];
    this.#inbox = [];
  }

  /** Sees `most` of what the node sent. */
  see(most = Infinity): void {
    for (const bytes of this.#inbox.splice(0, most)) Y.applyUpdate(this.doc, bytes, this);
  }

  /** Hands over `most` of what it made, without waiting for it. A node that is behind is left, as a provider is closed. */
  send(most = Infinity): void {
    const projection = this.#projection;
    for (const bytes of this.#outbox.splice(0, most)) {
      const written = projection?.write(bytes, { source: { model: this.name } });
      this.#writes.push(
        written?.catch((error: unknown) => {
          if (!(error instanceof MeshError)) throw error;
          this.errors.push(error);
          if (this.#projection === projection) this.disconnect();
        }) ?? Promise.resolve(),
      );
    }
  }

  /** Waits for what was handed over. */
  async settle(): Promise<void> {
    await Promise.all(this.#writes.splice(0));
  }

  /** Whether nothing waits on either side. */
  get isQuiet(): boolean {
    return this.#inbox.length + this.#outbox.length + this.#writes.length === 0;
  }

  /** What the page shows. */
  content(): unknown {
    return {
      notes: runsOf(this.text),
      steps: this.doc.getArray("list:steps").toJSON() as unknown,
      plan: this.doc.getMap("map:plan").toJSON() as unknown,
      page: xmlOf(pageOf(this.doc)),
      facts: this.facts.toJSON() as unknown,
    };
  }
}
