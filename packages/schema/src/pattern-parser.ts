// SPDX-License-Identifier: Apache-2.0
/** Reads regular expressions of the language that `pattern.ts` describes, as trees. */
import { MeshError } from "@ctxmesh/model";

/** Whether a character, by its code point, is one that is looked for. */
export type Test = (codePoint: number) => boolean;

/** A part of an expression. */
export type Node =
  | { readonly kind: "char"; readonly test: Test }
  | { readonly kind: "start" | "end" }
  | { readonly kind: "sequence" | "choice"; readonly items: readonly Node[] }
  | {
      readonly kind: "repeat";
      readonly item: Node;
      readonly min: number;
      readonly max: number;
    };

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

/** Throws `INPUT_INVALID` for a pattern. */
export function refusePattern(pattern: string, problem: string): never {
  throw new MeshError("INPUT_INVALID", `pattern ${JSON.stringify(pattern)} ${problem}`, {
    field: "pattern",
  });
}

/** Reads a pattern that ECMAScript takes; refuses what is not in the language above. */
export class PatternParser {
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
      refusePattern(this.#pattern, "has a group that is neither ( ) nor (?: )");
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
    if (/[A-Za-z0-9]/u.test(character)) refusePattern(this.#pattern, `has \\${character}`);
    return codeOf(character);
  }

  #hex(length: number): number {
    let digits = "";
    for (let i = 0; i < length; i++) digits += this.#take();
    const code = Number.parseInt(digits, 16);
    if (code >= 0xd800 && code <= 0xdfff)
      refusePattern(this.#pattern, "has half of a surrogate pair");
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
