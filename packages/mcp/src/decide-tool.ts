// SPDX-License-Identifier: Apache-2.0
/** The tool by which a model's decision is signed and kept, with the facts that it read. */
import type { DecisionRequest, FactSource } from "@ctxmesh/model";
import type { ContextClient } from "@ctxmesh/sdk";
import { openObject, strictObject, textSchema } from "./schema.ts";
import type { Schema } from "./schema.ts";
import { structuredAnswer } from "./tool.ts";
import type { Tool } from "./tool.ts";

/** What the tool needs. */
export interface DecideToolOptions {
  readonly client: Pick<ContextClient, "decide">;
  /** The model that decides, unless the call names another one. */
  readonly source: () => FactSource;
}

const MODEL: Schema = {
  ...strictObject(
    { model: { type: "string" }, version: { type: "string" }, instance: { type: "string" } },
    ["model"],
  ),
  description: "Who decided; default: the name and version of this client",
};

/** The tool `decide`. */
export const decideTool = ({ client, source }: DecideToolOptions): Tool => ({
  name: "decide",
  title: "Record decision",
  description:
    "Record a decision for good: what was concluded, the facts that it rests on, and the checks that were made. The node looks the facts up, binds the decision to the versions that it has now, signs it and keeps it; get with the doc and key of the answer reads it.",
  inputSchema: strictObject(
    {
      output: { description: "What was concluded: any JSON value" },
      inputs: {
        type: "array",
        items: strictObject({ doc: { type: "string" }, key: { type: "string" } }, ["doc", "key"]),
        description: "The facts that were read, by document and key",
      },
      checks: {
        type: "array",
        items: strictObject(
          { name: { type: "string" }, passed: { type: "boolean" }, detail: { type: "string" } },
          ["name", "passed"],
        ),
        description: "Checks that were made on the way",
      },
      model: MODEL,
    },
    ["output", "inputs"],
  ),
  outputSchema: openObject(
    {
      id: textSchema("SHA-256 over what was signed, hex"),
      counter: { type: "integer", description: "Position among the decisions of this node" },
      doc: { type: "string" },
      key: { type: "string" },
    },
    ["id", "counter", "doc", "key"],
  ),
  hints: { readOnly: false, destructive: false, idempotent: false },
  async call(args) {
    const {
      model = source(),
      checks = [],
      ...decision
    } = args as unknown as Partial<Pick<DecisionRequest, "model" | "checks">> &
      Omit<DecisionRequest, "model" | "checks">;
    // The envelope is what the fact holds: no model has to read it twice.
    const { envelope: _, ...receipt } = await client.decide({ ...decision, model, checks });
    return structuredAnswer({ ...receipt });
  },
});
