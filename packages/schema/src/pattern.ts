// SPDX-License-Identifier: Apache-2.0
/**
 * Regular expressions that take time in proportion to the text, whatever they are: all readings of the text are followed at once (Thompson, "Regular
 * expression search algorithm", 1968), and where they have come to is remembered, so that most characters take one look. The engine of JavaScript tries one
 * reading after the other, and a schema comes from somebody else.
 *
 * The language is the part of ECMAScript's, with the flag `u`, that such a machine can read: literals, `.`, classes, `\d \w \s` and their opposites,
 * groups, alternatives, repetitions, `^` and `$`. There are no back-references, look-arounds, word boundaries, properties (`\p`) and named groups.
 */
import { LIMITS, MeshError } from "@ctxmesh/model";
import { PatternParser, refusePattern } from "./pattern-parser.ts";
import type { Node, Test } from "./pattern-parser.ts";

/** An instruction: takes a character, or goes on at one or two others without one. */
type Step =
  | { readonly kind: "char"; readonly test: Test }
  | { readonly kind: "start" | "end" | "match" }
  | { readonly kind: "fork"; first: number; second: number };

/** The steps of a pattern, one after the other. */
class Assembler {
  readonly steps: Step[] = [];
  readonly #pattern: string;

  constructor(pattern: string) {
    this.#pattern = pattern;
  }

  #push<S extends Step>(step: S): S {
    if (this.steps.length >= LIMITS.patternSteps) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `pattern ${JSON.stringify(this.#pattern)} has over ${String(LIMITS.patternSteps)} steps with its repetitions written out`,
        { field: "pattern" },
      );
    }
    this.steps.push(step);
    return step;
  }

  #fork(): Extract<Step, { kind: "fork" }> {
    const here = this.steps.length + 1;
    return this.#push({ kind: "fork", first: here, second: here });
  }

  add(node: Node): void {
    switch (node.kind) {
      case "char":
        this.#push({ kind: "char", test: node.test });
        break;
      case "start":
      case "end":
        this.#push({ kind: node.kind });
        break;
      case "sequence":
        for (const item of node.items) this.add(item);
        break;
      case "choice":
        this.#choice(node.items);
        break;
      case "repeat":
        this.#repeat(node.item, node.min, node.max);
        break;
    }
  }

  #choice(items: readonly Node[]): void {
    const [first, ...rest] = items;
    if (first === undefined) return;
    if (rest.length === 0) {
      this.add(first);
      return;
    }
    const fork = this.#fork();
    this.add(first);
    const jump = this.#fork();
    fork.second = this.steps.length;
    this.#choice(rest);
    jump.first = jump.second = this.steps.length;
  }

  #repeat(item: Node, min: number, max: number): void {
    const before = this.steps.length;
    for (let i = 0; i < min; i++) {
      this.add(item);
      // What has no steps has none however often it is repeated, and that may be very often.
      if (this.steps.length === before) return;
    }
    if (max === Infinity) {
      const fork = this.#fork();
      const from = this.steps.length - 1;
      this.add(item);
      const back = this.#fork();
      back.first = back.second = from;
      fork.second = this.steps.length;
      return;
    }
    const forks: Extract<Step, { kind: "fork" }>[] = [];
    for (let i = min; i < max; i++) {
      forks.push(this.#fork());
      this.add(item);
    }
    for (const fork of forks) fork.second = this.steps.length;
  }

  finish(): readonly Step[] {
    this.#push({ kind: "match" });
    return this.steps;
  }
}

/** Where all readings of a text so far have come to, and what comes next. */
interface State {
  /** The steps that wait for a character. */
  readonly waiting: readonly number[];
  /** A match ends here. */
  readonly matched: boolean;
  /** One does if the text ends here. */
  readonly matchedAtEnd: boolean;
  /** By code unit below 128, as far as they have been asked for. */
  readonly ascii: (State | undefined)[];
  /** By code point, the others. */
  readonly others: Map<number, State>;
}

/** States and ways between them that a pattern remembers; past it all are worked out again. */
const REMEMBERED = 1_024;
const ASCII = 128;

/** A regular expression whose test takes at most some multiple of `LIMITS.patternSteps` steps for each character, and mostly one. */
export class Pattern {
  readonly #source: string;
  readonly #steps: readonly Step[];
  readonly #hasEnd: boolean;
  /** By the steps that wait. */
  #states = new Map<string, State>();
  #ways = 0;
  #start: State | undefined;

  /** Throws `INPUT_INVALID` for what is no regular expression, or not in the language; `LIMIT_EXCEEDED`. */
  constructor(pattern: string) {
    if (pattern.length > LIMITS.patternLength) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `pattern has ${String(pattern.length)} characters, the limit is ${String(LIMITS.patternLength)}`,
        { field: "pattern" },
      );
    }
    try {
      // Only read, never run.
      void new RegExp(pattern, "u");
    } catch (error) {
      refusePattern(
        pattern,
        `is no regular expression: ${error instanceof Error ? error.message : ""}`,
      );
    }
    this.#source = pattern;
    const assembler = new Assembler(pattern);
    assembler.add(new PatternParser(pattern).parse());
    this.#steps = assembler.finish();
    this.#hasEnd = this.#steps.some(({ kind }) => kind === "end");
  }

  /** The expression. Others are told apart by it: Ajv takes what has the same text for the same. */
  toString(): string {
    return this.#source;
  }

  /** How many steps it has. */
  get steps(): number {
    return this.#steps.length;
  }

  /** Whether the pattern matches somewhere in the text, as `RegExp.prototype.test` has it. */
  test(text: string): boolean {
    let state = (this.#start ??= this.#stateAt([0], true));
    for (let at = 0; !state.matched && at < text.length; at++) {
      const unit = text.charCodeAt(at);
      if (unit < ASCII) {
        state = state.ascii[unit] ?? this.#way(state, unit);
        continue;
      }
      const code = text.codePointAt(at) ?? 0;
      if (code > 0xffff) at++;
      state = state.others.get(code) ?? this.#way(state, code);
    }
    return state.matched || state.matchedAtEnd;
  }

  /** Works out where a character leads, and remembers it. */
  #way(from: State, code: number): State {
    if (this.#ways >= REMEMBERED) {
      this.#states = new Map();
      this.#ways = 0;
      this.#start = undefined;
    }
    const taken = from.waiting.filter((index) => {
      const step = this.#steps[index];
      return step?.kind === "char" && step.test(code);
    });
    // A match may begin anywhere.
    const to = this.#stateAt([...taken.map((index) => index + 1), 0], false);
    if (code < ASCII) from.ascii[code] = to;
    else from.others.set(code, to);
    this.#ways++;
    return to;
  }

  #stateAt(from: readonly number[], isStart: boolean): State {
    const inside = this.#reach(from, isStart, false);
    const matchedAtEnd =
      inside.matched || (this.#hasEnd && this.#reach(from, isStart, true).matched);
    const name = `${String(inside.matched)} ${String(matchedAtEnd)} ${inside.waiting.join(" ")}`;
    const known = this.#states.get(name);
    if (known !== undefined) return known;
    const ascii = Array.from<State | undefined>({ length: ASCII });
    const state: State = { ...inside, matchedAtEnd, ascii, others: new Map() };
    this.#states.set(name, state);
    return state;
  }

  /** What can be reached without a character. */
  #reach(
    from: readonly number[],
    isStart: boolean,
    isEnd: boolean,
  ): Pick<State, "waiting" | "matched"> {
    const seen = new Uint8Array(this.#steps.length);
    const open = [...from];
    const waiting: number[] = [];
    let matched = false;
    for (let index = open.pop(); index !== undefined; index = open.pop()) {
      const step = this.#steps[index];
      if (step === undefined || seen[index] === 1) continue;
      seen[index] = 1;
      if (step.kind === "match") matched = true;
      else if (step.kind === "char") waiting.push(index);
      else if (step.kind === "fork") open.push(step.second, step.first);
      else if (step.kind === "start" ? isStart : isEnd) open.push(index + 1);
    }
    return { waiting: waiting.toSorted((a, b) => a - b), matched };
  }
}

/** A pattern of names: `*` is any text between slashes, `**` any text, everything else itself. Throws as {@link Pattern}. */
export function globPattern(glob: string): Pattern {
  const source = glob.replaceAll(/\*\*+|\*|[\\^$.+?()[\]{}|/]/gu, (token) => {
    if (token === "*") return "[^\\/]*";
    return token.startsWith("*") ? "[^]*" : `\\${token}`;
  });
  return new Pattern(`^${source}$`);
}
