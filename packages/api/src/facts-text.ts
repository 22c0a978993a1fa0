// SPDX-License-Identifier: Apache-2.0
/** Lists of facts as JSON: ten thousand facts with large values are more than one text can hold. */
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { VisibleFact } from "@ctxmesh/model";

/** An answer with facts as JSON. Throws `LIMIT_EXCEEDED` past so many characters; by default as many bytes as clients take. */
export function factsText(
  answer: { readonly facts: readonly VisibleFact[] },
  max: number = LIMITS.bundleBytes,
): string {
  const parts: string[] = [];
  let length = 0;
  for (const fact of answer.facts) {
    const part = JSON.stringify(fact);
    length += part.length + 1;
    if (length > max) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `${String(answer.facts.length)} facts are more than the ${String(max)} characters of one answer`,
        { field: "limit", remedy: "ask for fewer at a time, or for one document" },
      );
    }
    parts.push(part);
  }
  const { facts: _, ...rest } = answer;
  // Without its closing brace.
  const head = JSON.stringify(rest).slice(0, -1);
  return `${head}${head === "{" ? "" : ","}"facts":[${parts.join(",")}]}`;
}
