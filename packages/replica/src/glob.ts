// SPDX-License-Identifier: Apache-2.0
import { LIMITS, MeshError } from "@ctxmesh/model";

/** Positions of a set that are kept in one number. */
const BITS = 32;

/** A set of positions in a pattern, a bit for each. */
type Positions = Int32Array;

const add = (set: Positions, position: number): void => {
  set[position >>> 5] = (set[position >>> 5] ?? 0) | (1 << (position & 31));
};

/**
 * A key pattern: `*` is any text within a segment between slashes, `**` any text, everything else
 * itself. All readings of a key are followed at once, 32 positions in the pattern at a time (Baeza-Yates and
 * Gonnet, "A new approach to text searching", 1992), so no pattern takes longer than key length times pattern length / 32.
 */
export class Glob {
  /** The text before the first wildcard. */
  readonly prefix: string;
  /** The characters of the pattern that stand for themselves. */
  readonly #literals: number;
  /** By character: the positions where it is the next one. */
  readonly #positions = new Map<string, Positions>();
  /** The positions where a wildcard may take a character that is no slash, and those where it may take any. */
  readonly #inSegment: Positions;
  readonly #anywhere: Positions;
  readonly #nowhere: Positions;

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
    const tokens = pattern.match(/\*+|[^*]/gsu) ?? [];
    this.#literals = tokens.filter((token) => !token.startsWith("*")).length;
    const none = (): Positions => new Int32Array(Math.floor(this.#literals / BITS) + 1);
    this.#inSegment = none();
    this.#anywhere = none();
    this.#nowhere = none();
    let at = 0;
    for (const token of tokens) {
      if (token.startsWith("*")) {
        add(this.#inSegment, at);
        if (token.length > 1) add(this.#anywhere, at);
        continue;
      }
      const positions = this.#positions.get(token) ?? none();
      add(positions, at++);
      this.#positions.set(token, positions);
    }
  }

  /** Whether the whole key matches. */
  matches(key: string): boolean {
    // How many characters of the pattern some reading of the key so far has used up.
    const reached = new Int32Array(this.#nowhere.length);
    reached[0] = 1;
    for (const character of key) {
      const next = this.#positions.get(character) ?? this.#nowhere;
      const stay = character === "/" ? this.#anywhere : this.#inSegment;
      let carry = 0;
      let any = 0;
      for (let i = 0; i < reached.length; i++) {
        const here = reached[i] ?? 0;
        const used = here & (next[i] ?? 0);
        const now = (used << 1) | carry | (here & (stay[i] ?? 0));
        carry = used >>> 31;
        reached[i] = now;
        any |= now;
      }
      if (any === 0) return false;
    }
    const end = this.#literals;
    return (((reached[end >>> 5] ?? 0) >>> (end & 31)) & 1) === 1;
  }
}
