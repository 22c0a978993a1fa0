// SPDX-License-Identifier: Apache-2.0
/**
 * Resolver expressions: one CEL expression (Common Expression Language, cel.dev) that gives a candidate
 * a score. The candidate with the highest score wins, and the newest among equals.
 *
 * Variables: `value` (the JSON value), `confidence` (double), `age_ms` is not there: a score must not
 * change with time. `hlc_ms` (int, when it was written), `writer` (string), `source` ({model, version,
 * instance}, empty strings where absent), `tags` (list of strings). The result must be a number or a
 * bool (not a uint). Numbers in `value` are doubles, and CEL does not mix types: `value.n + 1.0`, not
 * `value.n + 1`. An expression that fails for a candidate (a member that is not there, a division by zero)
 * scores it below every other.
 *
 * Bounds: `LIMITS.expressionLength` characters, `LIMITS.expressionNodes` nodes, and only operators and the
 * functions below: no macros, hence no loops, and no regular expressions.
 */
import { LIMITS, MeshError, hlcToMs } from "@ctxmesh/model";
import { Environment } from "@marcbachmann/cel-js";
import type { ASTNode } from "@marcbachmann/cel-js";
import type { Slot } from "./slot.ts";

/** A score as a pure function of one candidate; -Infinity when the expression fails for it. */
export type Score = (slot: Slot) => number;

const ALLOWED_CALLS: ReadonlySet<string> = new Set([
  "contains",
  "double",
  "endsWith",
  "int",
  "size",
  "startsWith",
  "string",
]);

const ENVIRONMENT = new Environment({
  limits: { maxAstNodes: LIMITS.expressionNodes, maxDepth: LIMITS.depth, maxCallArguments: 8 },
})
  .registerVariable("value", "dyn")
  .registerVariable("confidence", "double")
  .registerVariable("hlc_ms", "int")
  .registerVariable("writer", "string")
  .registerVariable("source", "map<string, string>")
  .registerVariable("tags", "list<string>");

function refuse(name: string, problem: string, cause?: unknown): never {
  throw new MeshError("INPUT_INVALID", `policy: expression "${name}" ${problem}`, {
    field: "expression",
    cause,
  });
}

/** Visits every node; arguments of a node are nodes, lists of nodes, pairs of nodes, or plain data. */
function assertAllowed(part: unknown, name: string): void {
  if (Array.isArray(part)) {
    for (const item of part as readonly unknown[]) assertAllowed(item, name);
    return;
  }
  if (typeof part !== "object" || part === null || !("op" in part) || !("args" in part)) return;
  const node = part as ASTNode;
  if ((node.op === "call" || node.op === "rcall") && !ALLOWED_CALLS.has(node.args[0])) {
    refuse(name, `calls ${node.args[0]}, which is not one of ${[...ALLOWED_CALLS].join(", ")}`);
  }
  assertAllowed(node.args, name);
}

function contextOf(slot: Slot): Record<string, unknown> {
  const { model = "", version = "", instance = "" } = slot.source ?? {};
  return {
    value: slot.valueJson === undefined ? null : (JSON.parse(slot.valueJson) as unknown),
    confidence: slot.confidence ?? 1,
    hlc_ms: BigInt(hlcToMs(slot.hlc)),
    writer: slot.writer,
    source: { model, version, instance },
    tags: [...(slot.tags ?? [])],
  };
}

function toScore(result: unknown): number {
  if (typeof result === "boolean") return result ? 1 : 0;
  if (typeof result === "bigint") return Number(result);
  return typeof result === "number" && !Number.isNaN(result) ? result : -Infinity;
}

/** Compiles an expression. Throws `INPUT_INVALID` or `LIMIT_EXCEEDED` naming it. */
export function compileExpression(expression: string, name: string): Score {
  if (expression.length > LIMITS.expressionLength) {
    throw new MeshError(
      "LIMIT_EXCEEDED",
      `policy: expression "${name}" has ${String(expression.length)} characters, the limit is ${String(LIMITS.expressionLength)}`,
      { field: "expression" },
    );
  }
  let evaluate: ReturnType<typeof ENVIRONMENT.parse>;
  try {
    evaluate = ENVIRONMENT.parse(expression);
  } catch (error) {
    return refuse(name, `is not CEL: ${error instanceof Error ? error.message : ""}`, error);
  }
  assertAllowed(evaluate.ast, name);
  const { valid, type, error } = evaluate.check();
  if (!valid) return refuse(name, `does not type-check: ${error?.message ?? ""}`, error);
  if (!["bool", "int", "double", "dyn"].includes(String(type))) {
    refuse(name, `gives a ${String(type)}, and must give a number or a bool`);
  }
  return (slot) => {
    try {
      return toScore(evaluate(contextOf(slot)));
    } catch {
      return -Infinity;
    }
  };
}
