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

type Test = (codePoint: number) => boolean;

type Node =
  | { readonly kind: "char"; readonly test: Test }
  | { readonly kind: "start" | "end" }
  | { readonly kind: "sequence" | "choice"; readonly items: readonly Node[] }
  | {
      readonly kind: "repeat";
      readonly item: Node;
      readonly min: number;
      readonly max: number;
    };

/** An instruction: takes a character, or goes on at one or two others without one. */
type Step =
  | { readonly kind: "char"; readonly test: Test }
  | { readonly kind: "start" | "end" | "match" }
  | { readonly kind: "fork"; first: number; second: number };

const codeOf = (character: string): number => character.codePointAt(0) ?? 0;
const between =
  (from: number, to: number): Test =>
  (code) =>
    code >= from && code <= to;
const either =
  (tests: readonly Test[]): Test =>
  (code) =>
    tests.some((test) => test(code));
const not =
  (test: Test): Test =>
  (code) =>
    !test(code);

const isDigit = between(0x30, 0x39);
const isWord = either([isDigit, between(0x41, 0x5a), between(0x61, 0x7a), (code) => code === 0x5f]);
const isSpace: Test = (code) => /\s/u.test(String.fromCodePoint(code));
const isLineEnd: Test = (code) => [0x0a, 0x0d, 0x2028, 0x2029].includes(code);

const CLASSES: Readonly<Record<string, Test>> = {
  d: isDigit,
  D: not(isDigit),
  w: isWord,
  W: not(isWord),
  s: isSpace,
  S: not(isSpace),
};
const CONTROLS: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, "0": 0 };

function refuse(pattern: string, problem: string): never {
  throw new MeshError("INPUT_INVALID", `pattern ${JSON.stringify(pattern)} ${problem}`, {
    field: "pattern",
  });
}

/** Reads a pattern that ECMAScript takes; refuses what is not in the language above. */
class Parser {
  readonly #pattern: string;
  readonly #characters: readonly string[];
  #at = 0;

  constructor(pattern: string) {
    this.#pattern = pattern;
    this.#characters = Array.from(pattern);
  }

  parse(): Node {
    return this.#choice();
  }

  get #next(): string {
    return this.#characters[this.#at] ?? "";
  }

  #take(): string {
    return this.#characters[this.#at++] ?? "";
  }

  #skip(text: string): boolean {
    if (this.#characters.slice(this.#at, this.#at + text.length).join("") !== text) return false;
    this.#at += text.length;
    return true;
  }

  #choice(): Node {
    const items = [this.#sequence()];
    while (this.#skip("|")) items.push(this.#sequence());
    return { kind: "choice", items };
  }

  #sequence(): Node {
    const items: Node[] = [];
    while (!["", "|", ")"].includes(this.#next)) items.push(this.#repeated(this.#atom()));
    return { kind: "sequence", items };
  }

  #repeated(item: Node): Node {
    const bounds = this.#bounds();
    if (bounds === undefined) return item;
    // A lazy repetition takes the same texts as another.
    this.#skip("?");
    const [min, max] = bounds;
    return { kind: "repeat", item, min, max };
  }

  #bounds(): readonly [min: number, max: number] | undefined {
    if (this.#skip("*")) return [0, Infinity];
    if (this.#skip("+")) return [1, Infinity];
    if (this.#skip("?")) return [0, 1];
    if (!this.#skip("{")) return undefined;
    let text = "";
    while (this.#next !== "}") text += this.#take();
    this.#take();
    const [min = "", max] = text.split(",");
    return [Number(min), max === undefined ? Number(min) : max === "" ? Infinity : Number(max)];
  }

  #atom(): Node {
    const character = this.#take();
    switch (character) {
      case "^":
        return { kind: "start" };
      case "$":
        return { kind: "end" };
      case ".":
        return { kind: "char", test: not(isLineEnd) };
      case "(":
        return this.#group();
      case "[":
        return { kind: "char", test: this.#class() };
      case "\\":
        return { kind: "char", test: this.#escape() };
      default:
        return { kind: "char", test: between(codeOf(character), codeOf(character)) };
    }
  }

  #group(): Node {
    if (!this.#skip("?:") && this.#next === "?") {
      refuse(this.#pattern, "has a group that is neither ( ) nor (?: )");
    }
    const inner = this.#choice();
    this.#skip(")");
    return inner;
  }

  /** Behind a backslash: a class, or the one character that it stands for. */
  #escape(): Test {
    const known = CLASSES[this.#next];
    if (known !== undefined) {
      this.#take();
      return known;
    }
    const code = this.#escaped();
    return between(code, code);
  }

  #escaped(): number {
    const character = this.#take();
    const control = CONTROLS[character];
    if (control !== undefined) return control;
    if (character === "x") return this.#hex(2);
    if (character === "u") {
      if (this.#skip("{")) {
        let digits = "";
        while (this.#next !== "}") digits += this.#take();
        this.#take();
        return Number.parseInt(digits, 16);
      }
      return this.#hex(4);
    }
    // With the flag `u`, what is left are the characters of the syntax, and what this machine can't do.
    if (/[A-Za-z0-9]/u.test(character)) refuse(this.#pattern, `has \\${character}`);
    return codeOf(character);
  }

  #hex(length: number): number {
    let digits = "";
    for (let i = 0; i < length; i++) digits += this.#take();
    const code = Number.parseInt(digits, 16);
    if (code >= 0xd800 && code <= 0xdfff) refuse(this.#pattern, "has half of a surrogate pair");
    return code;
  }

  #class(): Test {
    const negated = this.#skip("^");
    const tests: Test[] = [];
    while (this.#next !== "]") {
      const from = this.#member();
      if (typeof from !== "number" || this.#next !== "-" || this.#isLastDash()) {
        tests.push(typeof from === "number" ? between(from, from) : from);
        continue;
      }
      this.#take();
      const to = this.#member();
      tests.push(between(from, typeof to === "number" ? to : from));
    }
    this.#take();
    return negated ? not(either(tests)) : either(tests);
  }

  #isLastDash(): boolean {
    return this.#characters[this.#at + 1] === "]";
  }

  #member(): number | Test {
    const character = this.#take();
    if (character !== "\\") return codeOf(character);
    const known = CLASSES[this.#next];
    if (known !== undefined) {
      this.#take();
      return known;
    }
    if (this.#skip("b")) return 8;
    return this.#escaped();
  }
}

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
    for (let i = 0; i < min; i++) this.add(item);
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
      refuse(pattern, `is no regular expression: ${error instanceof Error ? error.message : ""}`);
    }
    const assembler = new Assembler(pattern);
    assembler.add(new Parser(pattern).parse());
    this.#steps = assembler.finish();
    this.#hasEnd = this.#steps.some(({ kind }) => kind === "end");
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
