// SPDX-License-Identifier: Apache-2.0
import { LIMITS, MeshError } from "@ctxmesh/model";

/** Any text without a slash, and any text. */
const STAR = 0;
const DOUBLE_STAR = 1;

/**
 * A key pattern: `*` is any text within a segment between slashes, `**` any text, everything else
 * itself. Matching takes time in proportion to key length times pattern length, whatever the pattern.
 */
export class Glob {
  /** The text before the first wildcard. */
  readonly prefix: string;
  readonly #tokens: readonly (string | typeof STAR | typeof DOUBLE_STAR)[];

  /** Throws `LIMIT_EXCEEDED` over `LIMITS.keyBytes` characters, and `INPUT_INVALID` for the empty pattern. */
  constructor(pattern: string) {
    if (pattern.length > LIMITS.keyBytes) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `pattern has ${String(pattern.length)} characters, the limit is ${String(LIMITS.keyBytes)}`,
        { field: "pattern" },
      );
    }
    if (pattern === "")
      throw new MeshError("INPUT_INVALID", "pattern is empty", { field: "pattern" });
    this.prefix = /^[^*]*/u.exec(pattern)?.[0] ?? "";
    this.#tokens = (pattern.match(/\*\*+|\*|[^*]/gsu) ?? []).map((token) =>
      token === "*" ? STAR : token.startsWith("**") ? DOUBLE_STAR : token,
    );
  }

  /** Whether the whole key matches. */
  matches(key: string): boolean {
    // Positions in the pattern that some reading of the key so far has reached.
    let reached = this.#closure(new Set([0]));
    for (const unit of key) {
      const next = new Set<number>();
      for (const at of reached) {
        const token = this.#tokens[at];
        if (token === unit) next.add(at + 1);
        else if (token === DOUBLE_STAR || (token === STAR && unit !== "/")) next.add(at);
      }
      if (next.size === 0) return false;
      reached = this.#closure(next);
    }
    return reached.has(this.#tokens.length);
  }

  /** A wildcard may also match nothing. */
  #closure(positions: Set<number>): Set<number> {
    for (const at of positions) if (typeof this.#tokens[at] === "number") positions.add(at + 1);
    return positions;
  }
}
