// SPDX-License-Identifier: Apache-2.0
/** The entries of which generated.ts is made. */
import { parseEntry } from "@ctxmesh/schema";
import type { ParsedEntry } from "@ctxmesh/schema";

/** In the order in which they appear. */
export const ENTRIES: readonly ParsedEntry[] = [
  parseEntry({
    prefix: "telemetry/",
    version: "1.2.0",
    schema: {
      description: "What a sensor says. */",
      type: "object",
      properties: {
        unit: { enum: ["C", "F"] },
        value: { type: ["number", "null"] },
        "last-seen": { type: "string", format: "date-time" },
      },
      required: ["value", "unit"],
      additionalProperties: false,
    },
  }),
  parseEntry({
    prefix: "telemetry/",
    docs: "line-*/**",
    version: "1.0.0",
    schema: {
      type: "array",
      prefixItems: [{ type: "string" }, { type: ["number", "null"] }],
      minItems: 1,
    },
  }),
  parseEntry({
    prefix: "plan/",
    version: "3.0.0",
    schema: {
      $defs: {
        step: { type: "object", required: ["name"], properties: { name: { type: "string" } } },
      },
      anyOf: [{ type: "array", items: { $ref: "#/$defs/step" } }, { type: "null" }],
    },
  }),
  parseEntry({
    prefix: "labels/",
    version: "1.0.0",
    schema: { type: "object", additionalProperties: { type: "string" } },
  }),
  parseEntry({ prefix: "", version: "1.0.0", schema: true }),
];
