// SPDX-License-Identifier: Apache-2.0
import { parseDocumentName } from "@ctxmesh/model";
import type { ReadLevel } from "@ctxmesh/model";
import { Registry } from "@ctxmesh/schema";
import { expect, test } from "vitest";
import { levelFor } from "../src/default-level.ts";

const doc = parseDocumentName("line-2/press-7");
const entries = [
  { prefix: "safe/", version: "1.0.0", schema: true, consistency: "strong" },
  { prefix: "near/", version: "1.0.0", schema: true, consistency: "bounded", maxStalenessMs: 500 },
  { prefix: "any/", version: "1.0.0", schema: true },
];
const schemas = new Registry(
  entries.map((entry, i) => ({ id: String(i), entry: JSON.stringify(entry) })),
);

test.each<[string, ReadLevel, ReadLevel]>([
  ["safe/1", {}, { consistency: "strong" }],
  ["near/1", {}, { consistency: "bounded", maxStalenessMs: 500 }],
  ["near/1", { timeoutMs: 5 }, { consistency: "bounded", maxStalenessMs: 500, timeoutMs: 5 }],
  ["near/1", { maxStalenessMs: 9 }, { consistency: "bounded", maxStalenessMs: 9 }],
  ["safe/1", { consistency: "eventual" }, { consistency: "eventual" }],
  ["any/1", {}, {}],
  ["other", { timeoutMs: 5 }, { timeoutMs: 5 }],
])("a read of %s that says %j is one that says %j", (key, level, expected) => {
  expect(levelFor({ schemas }, doc, key, level)).toEqual(expected);
});
