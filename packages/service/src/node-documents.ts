// SPDX-License-Identifier: Apache-2.0
/** Documents of a node as a whole: changes as one unit, a list, and rich content as plain JSON. */
import { LIMITS, MeshError, parseDocumentName } from "@ctxmesh/model";
import type {
  DocumentQuery,
  DocumentService,
  DocumentSummary,
  FactChanges,
  RootContent,
  RootEdit,
  TextStep,
  WriteOptions,
  WriteReceipt,
} from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import type { NodeWrites } from "./node-writes.ts";

const DEFAULT_LIMIT = 1_000;
const MAX_LIMIT = 10_000;

const invalid = (message: string, field: string): MeshError =>
  new MeshError("INPUT_INVALID", message, { field });

/** What an edit is made on: see `@ctxmesh/rich`. */
type Roots = Parameters<Parameters<Replica["edit"]>[1]>[0];

const lengthOf = (inserted: TextStep & { readonly insert: unknown }): number =>
  typeof inserted.insert === "string" ? inserted.insert.length : 1;

/** Goes through a text as a delta says. Throws `INPUT_INVALID` for a position that is not in it. */
function editText(text: ReturnType<Roots["text"]>, delta: readonly TextStep[]): void {
  let at = 0;
  for (const step of delta) {
    if ("insert" in step) {
      const { insert, attributes } = step;
      if (typeof insert === "string") text.insert(at, insert, attributes ?? {});
      else text.insertEmbed(at, insert, attributes);
      at += lengthOf(step);
    } else if ("delete" in step) text.delete(at, step.delete);
    else {
      if (step.attributes !== undefined) text.format(at, step.retain, step.attributes);
      else if (!(step.retain >= 0 && at + step.retain <= text.length)) {
        throw invalid(
          `${String(at)} + ${String(step.retain)} is past the end of the text`,
          "retain",
        );
      }
      at += step.retain;
    }
  }
}

function editRoot(roots: Roots, edit: RootEdit): void {
  if ("text" in edit) editText(roots.text(edit.text), edit.delta);
  else if ("list" in edit) {
    const list = roots.list(edit.list);
    if (edit.delete !== undefined) list.delete(edit.at, edit.delete);
    list.insert(edit.at, edit.insert ?? []);
  } else {
    const map = roots.map(edit.map);
    for (const [key, value] of Object.entries(edit.set ?? {})) map.set(key, value);
    for (const key of edit.delete ?? []) map.delete(key);
  }
}

/** The documents of a replica. */
export class NodeDocuments implements DocumentService {
  readonly #replica: Replica;
  readonly #writes: NodeWrites;

  constructor(replica: Replica, writes: NodeWrites) {
    this.#replica = replica;
    this.#writes = writes;
  }

  async change(
    doc: string,
    { put = [], delete: keys = [] }: FactChanges,
    options: WriteOptions = {},
  ): Promise<WriteReceipt> {
    const deleted = new Set(keys);
    const both = put.find(({ key }) => deleted.has(key));
    if (both !== undefined) {
      throw invalid(`${JSON.stringify(both.key)} is both written and deleted`, "delete");
    }
    return this.#writes.run(options, ["change", doc, put, keys], async (replica, context) =>
      replica.change(parseDocumentName(doc), { put, keys }, context),
    );
  }

  documents({
    prefix = "",
    after,
    limit = DEFAULT_LIMIT,
  }: DocumentQuery = {}): readonly DocumentSummary[] {
    if (!(Number.isInteger(limit) && limit >= 1 && limit <= MAX_LIMIT)) {
      throw invalid(`limit must be 1 to ${String(MAX_LIMIT)}`, "limit");
    }
    return this.#replica
      .documents()
      .filter(({ doc }) => doc.startsWith(prefix) && (after === undefined || doc > after))
      .slice(0, limit);
  }

  content(doc: string): readonly RootContent[] {
    return this.#replica.content(parseDocumentName(doc));
  }

  async edit(
    doc: string,
    edits: readonly RootEdit[],
    options: Omit<WriteOptions, "priority"> = {},
  ): Promise<WriteReceipt> {
    const steps = edits.reduce((sum, edit) => sum + ("text" in edit ? edit.delta.length : 1), 0);
    if (steps === 0) throw invalid("edits is empty", "edits");
    if (steps > LIMITS.editSteps) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `edits has ${String(steps)} steps, the limit is ${String(LIMITS.editSteps)}`,
        { field: "edits" },
      );
    }
    return this.#writes.run(options, ["edit", doc, edits], async (replica, { also }) =>
      replica.edit(
        parseDocumentName(doc),
        (roots) => {
          for (const edit of edits) editRoot(roots, edit);
        },
        also === undefined ? {} : { also },
      ),
    );
  }
}
