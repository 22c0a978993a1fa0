// SPDX-License-Identifier: Apache-2.0
import { MeshError } from "@ctxmesh/model";
import type { Hlc, Store } from "@ctxmesh/model";
import type { ParsedBatch } from "./checks.ts";
import { Documents } from "./documents.ts";
import { Frontier } from "./frontier.ts";
import { BatchLog, corrupt, headOf } from "./log.ts";
import { openParts } from "./parts.ts";
import type { Space } from "./space.ts";

/** What a store holds, rebuilt. */
export interface OpenState {
  readonly log: BatchLog;
  readonly frontier: Frontier;
  readonly documents: Documents;
}

/** Rebuilds the state of a space from its log. Throws `STORE_CORRUPT`, and `STORE_FORMAT` for a store of another space. */
export async function openState(store: Store, space: Space): Promise<OpenState> {
  const frontier = new Frontier();
  const documents = new Documents(space.policy);
  const replay = (batch: ParsedBatch): void => {
    const { header, bodies } = batch;
    if (header.space !== space.id) {
      throw new MeshError("STORE_FORMAT", `the store holds the space ${header.space}`, {
        field: "store",
        remedy: "use the space file of that space, or another store",
      });
    }
    const after = frontier.head(header.replica, header.incarnation)?.hlc ?? (0 as Hlc);
    const opened = openParts(header, bodies, after, documents.checkRich);
    if (opened.kind !== "parts") {
      return corrupt("holds a batch that can't be applied", opened);
    }
    frontier.advance(headOf(batch), header.deps);
    documents.stage(opened);
    documents.apply({ header, parts: opened.parts });
  };
  const log = await BatchLog.open(store, replay);
  return { log, frontier, documents };
}
