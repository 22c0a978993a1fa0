// SPDX-License-Identifier: Apache-2.0
/** What happened in a run, a line for each thing, and the hash by which two runs are compared. */
import { createHash } from "node:crypto";

/** Lines hashed at a time. */
const GROUP = 512;

/** The trace of a run. */
export class Trace {
  readonly #hash = createHash("sha256");
  readonly #sink: ((lines: string) => void) | undefined;
  readonly #nowMs: () => number;
  #lines: string[] = [];

  /** `sink` gets the text of some lines at a time, each with a newline. */
  constructor(nowMs: () => number, sink?: (lines: string) => void) {
    this.#nowMs = nowMs;
    this.#sink = sink;
  }

  /** Adds a line: milliseconds since the beginning, whose it is, and what. */
  line(who: string, what: string): void {
    this.#lines.push(`${this.#nowMs().toFixed(3)} ${who} ${what}\n`);
    if (this.#lines.length >= GROUP) this.#flush();
  }

  #flush(): void {
    const text = this.#lines.join("");
    this.#lines = [];
    this.#hash.update(text);
    this.#sink?.(text);
  }

  /** SHA-256 over all lines, hex. Call once, at the end. */
  end(): string {
    this.#flush();
    return this.#hash.digest("hex");
  }
}
