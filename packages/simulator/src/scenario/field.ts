// SPDX-License-Identifier: Apache-2.0
/** Reads untrusted plain data member by member; what is wrong is gathered, so that one run names all of it. */

/** Keys and indexes from the root to a value. */
export type FieldPath = readonly (string | number)[];

/** What is wrong at a place. */
export interface ScenarioProblem {
  readonly path: FieldPath;
  readonly message: string;
  /** A member of the mapping at `path` that is not known, with those that are. */
  readonly unknown?: { readonly key: string; readonly known: readonly string[] };
}

/** `links[0].latency`. */
export const showPath = (path: FieldPath): string =>
  path
    .map((part, i) =>
      typeof part === "number" ? `[${String(part)}]` : i === 0 ? part : `.${part}`,
    )
    .join("");

/** Bounds, both included. */
export interface Bounds {
  readonly min: number;
  readonly max: number;
}

/** All but the line feed. */
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const CONTROL = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/u;

const isMapping = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A value at a place. Readers return undefined for what is absent, and for what is wrong, which is then noted. */
export class Field {
  readonly value: unknown;
  readonly path: FieldPath;
  readonly #problems: ScenarioProblem[];

  constructor(value: unknown, path: FieldPath, problems: ScenarioProblem[]) {
    this.value = value ?? undefined;
    this.path = path;
    this.#problems = problems;
  }

  /** Whether there is anything; `null`, a key without a value in YAML, is nothing. */
  get isAbsent(): boolean {
    return this.value === undefined;
  }

  /** Notes that something is wrong here: `<path> <message>`. */
  fail(message: string): undefined {
    const name = this.path.length === 0 ? "a scenario" : showPath(this.path);
    this.#problems.push({ path: this.path, message: `${name} ${message}` });
    return undefined;
  }

  /** This, once it is noted if it is absent. */
  required(): this {
    if (this.isAbsent) this.fail("is missing");
    return this;
  }

  /** The members of a mapping, of which no others than these are known. */
  members<Name extends string>(...known: readonly Name[]): Readonly<Record<Name, Field>> {
    const mapping = isMapping(this.value) ? this.value : {};
    if (!this.isAbsent && !isMapping(this.value)) {
      this.fail(`must be a mapping with ${known.join(", ")}`);
    }
    for (const key of Object.keys(mapping)) {
      if ((known as readonly string[]).includes(key)) continue;
      const place = this.path.length === 0 ? "" : ` in ${showPath(this.path)}`;
      const message = `unknown field ${JSON.stringify(key.slice(0, 80))}${place}`;
      this.#problems.push({ path: this.path, message, unknown: { key, known } });
    }
    const fields = known.map((name) => [name, this.#at(name, mapping[name])] as const);
    return Object.fromEntries(fields) as Record<Name, Field>;
  }

  /** The members of a mapping with names of its own, each matching `pattern`. */
  named(most: number, pattern: RegExp, what: string): readonly (readonly [string, Field])[] {
    if (this.isAbsent) return [];
    if (!isMapping(this.value)) {
      this.fail(`must be a mapping of ${what}`);
      return [];
    }
    const entries = Object.entries(this.value);
    if (entries.length > most) {
      this.fail(`has ${String(entries.length)} entries; at most ${String(most)} are allowed`);
      return [];
    }
    return entries.flatMap(([name, value]) => {
      const field = this.#at(name, value);
      if (pattern.test(name)) return [[name, field] as const];
      field.fail(`is not a name: lower-case letters, digits and hyphens, 32 at most`);
      return [];
    });
  }

  /** The items of a list. */
  items(most: number): readonly Field[] {
    if (this.isAbsent) return [];
    if (!Array.isArray(this.value)) {
      this.fail("must be a list");
      return [];
    }
    if (this.value.length > most) {
      this.fail(`has ${String(this.value.length)} items; at most ${String(most)} are allowed`);
      return [];
    }
    return this.value.map((item: unknown, i) => this.#at(i, item));
  }

  /** The items of a list, or one that stands alone. */
  itemOrItems(most: number): readonly Field[] {
    return Array.isArray(this.value) || this.isAbsent ? this.items(most) : [this];
  }

  #at(name: string | number, value: unknown): Field {
    return new Field(value, [...this.path, name], this.#problems);
  }

  /** Text of so many characters at most, without control characters but for line ends. */
  text(longest: number): string | undefined {
    if (this.isAbsent) return undefined;
    if (typeof this.value !== "string") return this.fail("must be text");
    if (this.value.length > longest) {
      return this.fail(`has ${String(this.value.length)} characters; at most ${String(longest)}`);
    }
    if (CONTROL.test(this.value) || !this.value.isWellFormed()) {
      return this.fail("has control characters");
    }
    return this.value;
  }

  /** One of some words. */
  oneOf<Word extends string>(words: readonly Word[]): Word | undefined {
    if (this.isAbsent) return undefined;
    const found = words.find((word) => word === this.value);
    return found ?? this.fail(`must be one of ${words.join(", ")}`);
  }

  /** True or false. */
  flag(): boolean | undefined {
    if (this.isAbsent || typeof this.value === "boolean") return this.value as boolean | undefined;
    return this.fail("must be true or false");
  }

  /** A number within bounds. */
  number({ min, max }: Bounds, isWhole = false): number | undefined {
    if (this.isAbsent) return undefined;
    const { value } = this;
    const fits =
      typeof value === "number" &&
      value >= min &&
      value <= max &&
      (!isWhole || Number.isSafeInteger(value));
    if (fits) return value;
    const kind = isWhole ? "a whole number" : "a number";
    return this.fail(`must be ${kind} from ${String(min)} to ${String(max)}`);
  }

  /** A quantity: text that `parse` understands, its value within bounds; `like` says what one looks like. */
  quantity<T>(
    parse: (text: string) => T | undefined,
    like: string,
    isWithin: (value: T) => boolean,
    bounds: string,
  ): T | undefined {
    if (this.isAbsent) return undefined;
    const value = typeof this.value === "string" ? parse(this.value.trim()) : undefined;
    if (value === undefined) return this.fail(`must be ${like}`);
    return isWithin(value) ? value : this.fail(`must be ${bounds}`);
  }
}
