// SPDX-License-Identifier: Apache-2.0
/**
 * The schemas of a space. What it says is a function of the set of published entries, so any two nodes with the same membership acts judge alike,
 * whenever they heard of them.
 */
import { LIMITS, MeshError } from "@ctxmesh/model";
import type {
  FactSource,
  JsonValue,
  Priority,
  SchemaCheck,
  SchemaDifference,
  SchemaEntry,
} from "@ctxmesh/model";
import { differencesWithin } from "./compatibility.ts";
import { validatorOf } from "./compile.ts";
import type { Validator, ValueProblem } from "./compile.ts";
import { parseEntry } from "./entry.ts";
import type { ParsedEntry } from "./entry.ts";
import { globPattern } from "./pattern.ts";
import { compareVersions, parseVersion } from "./semver.ts";

/** An entry as a membership act has it. */
export interface PublishedEntry {
  /** Of the act, hex. */
  readonly id: string;
  /** JSON. */
  readonly entry: string;
}

/** A published version, and where it stands. */
export interface RegisteredVersion {
  readonly id: string;
  readonly entry: ParsedEntry;
  readonly standing: "current" | "accepted" | "replaced";
}

/** Who says something, for rules that look at more than the value. */
export interface Statement {
  /** Device key, hex. */
  readonly writer: string;
  /** Canonical JSON; absent for a delete. */
  readonly valueJson?: string;
  readonly confidence?: number;
  readonly source?: FactSource;
  readonly tags?: readonly string[];
}

/** What a module says of a statement. `problem`: why it says nothing, as it is not there or was cut off; then nothing is admitted. */
export type Admission =
  | { readonly kind: "admitted" }
  | { readonly kind: "refused"; readonly code: number; readonly text: string }
  | { readonly kind: "failed"; readonly problem: string };

/** The modules of a space, as rules of admission: what they say is a function of the module and what they are told. */
export interface ModuleAdmissions {
  admit(module: string, doc: string, key: string, statement: Statement): Admission;
}

/** What entries say beside their schemas: of facts and reads that name none of it. */
export type Defaults = Pick<SchemaEntry, "ttlMs" | "priority" | "consistency" | "maxStalenessMs">;

const inOrder = (a: RegisteredVersion, b: RegisteredVersion): number =>
  compareVersions(parseVersion(b.entry.version), parseVersion(a.entry.version));
const majorOf = ({ version }: Pick<SchemaEntry, "version">): number => parseVersion(version)[0];
const nameOf = ({ prefix, docs }: Pick<SchemaEntry, "prefix" | "docs">): string =>
  JSON.stringify([prefix, docs]);

/** What a version accepts. */
interface Accepting {
  readonly validate: Validator;
  readonly admit: string | undefined;
}

/** All versions of one prefix and document pattern. */
class Rule {
  readonly prefix: string;
  readonly docs: string;
  /** Newest first. */
  readonly versions: readonly RegisteredVersion[];
  readonly current: ParsedEntry;
  /** Of the current major version, newest first; made when the first value comes. */
  #validators: readonly Accepting[] | undefined;

  constructor(versions: readonly RegisteredVersion[], current: ParsedEntry) {
    this.prefix = current.prefix;
    this.docs = current.docs;
    this.versions = versions;
    this.current = current;
  }

  #valid(): readonly Accepting[] {
    this.#validators ??= this.versions
      .filter(({ standing }) => standing !== "replaced")
      .map(({ entry: { schema, admit } }) => ({ validate: validatorOf(schema), admit }));
    return this.#validators;
  }

  /** What breaks the current version. */
  problem(value: JsonValue): ValueProblem | undefined {
    return this.#valid()[0]?.validate(value);
  }

  /** Whether a version of the current major version accepts a value, with its module: what a writer said that had not heard of the newest one stays. */
  accepts(value: JsonValue, admits: (module: string) => boolean): boolean {
    return this.#valid().some(
      ({ validate, admit }) =>
        validate(value) === undefined && (admit === undefined || admits(admit)),
    );
  }
}

/** Rules by prefix: the longest first, and of one prefix the longest document pattern. */
const byPrecedence = (a: Rule, b: Rule): number =>
  b.prefix.length - a.prefix.length ||
  b.docs.length - a.docs.length ||
  (nameOf(a) < nameOf(b) ? -1 : 1);

/** What holds in one document. */
export class DocumentSchemas {
  readonly #rules: readonly Rule[];

  /** Whether some entry says more of a write than its schema. */
  readonly hasDefaults: boolean;
  /** Whether some entry has a module that admits, which is told who says something. */
  readonly hasAdmission: boolean;
  readonly #doc: string;
  readonly #modules: ModuleAdmissions;

  constructor(rules: readonly Rule[], doc: string, modules: ModuleAdmissions) {
    this.#rules = rules;
    this.#doc = doc;
    this.#modules = modules;
    this.hasAdmission = rules.some(({ versions }) =>
      versions.some(({ entry }) => entry.admit !== undefined),
    );
    this.hasDefaults = rules.some(
      ({ current: { ttlMs, priority } }) => ttlMs !== undefined || priority !== undefined,
    );
  }

  /** Whether no key of the document has a schema. */
  get isEmpty(): boolean {
    return this.#rules.length === 0;
  }

  #for(key: string): Rule | undefined {
    return this.#rules.find(({ prefix }) => key.startsWith(prefix));
  }

  /** Whether a statement with this value (JSON text; undefined for a delete) may be shown. */
  accepts(key: string, valueJson: string | undefined, statement: Statement = NOBODY): boolean {
    if (valueJson === undefined) return true;
    const rule = this.#for(key);
    if (rule === undefined) return true;
    return rule.accepts(
      JSON.parse(valueJson) as JsonValue,
      (module) => this.#modules.admit(module, this.#doc, key, statement).kind === "admitted",
    );
  }

  /**
   * Throws `SCHEMA_INVALID` for a value that breaks the current version of its key's schema, where `field` is the JSON pointer of the part that does, or that
   * its module does not admit; and `MODULE_FAILED` where that can't be told. `statement` is needed where {@link hasAdmission}.
   */
  assert(key: string, value: JsonValue, statement: Statement = NOBODY): void {
    const rule = this.#for(key);
    if (rule === undefined) return;
    const found = rule.problem(value);
    if (found === undefined) {
      this.#assertAdmitted(key, rule, statement);
      return;
    }
    const where = found.path === "" ? "the value" : found.path;
    throw new MeshError(
      "SCHEMA_INVALID",
      `${key}: ${where} ${found.problem} (schema ${JSON.stringify(rule.prefix)} ${rule.current.version})`,
      { field: found.path, remedy: "ctxmesh schema show prints the schema" },
    );
  }

  #assertAdmitted(key: string, { current, prefix }: Rule, statement: Statement): void {
    const { admit: module, version } = current;
    if (module === undefined) return;
    const said = this.#modules.admit(module, this.#doc, key, statement);
    if (said.kind === "admitted") return;
    const where = `(schema ${JSON.stringify(prefix)} ${version}, module ${module})`;
    if (said.kind === "failed") {
      throw new MeshError("MODULE_FAILED", `${key}: ${said.problem} ${where}`, {
        field: "",
        remedy: "ask whoever manages the space for another module",
      });
    }
    const text = said.text === "" ? "the value is not admitted" : said.text;
    throw new MeshError("SCHEMA_INVALID", `${key}: ${text}; code ${String(said.code)} ${where}`, {
      field: "",
    });
  }

  /** What the entry of a key says beside its schema. */
  defaults(key: string): Defaults {
    return this.#for(key)?.current ?? {};
  }
}

const NOBODY: Statement = { writer: "" };
const NO_MODULES: ModuleAdmissions = {
  admit: () => ({ kind: "failed", problem: "the module is not in the space" }),
};
const NO_SCHEMAS = new DocumentSchemas([], "", NO_MODULES);
const URGENCY: readonly Priority[] = ["high", "normal", "low"];

/** The most urgent priority of some, `normal` for what has none; undefined when no one has any. */
export const mostUrgent = (priorities: readonly (Priority | undefined)[]): Priority | undefined =>
  priorities.every((priority) => priority === undefined)
    ? undefined
    : URGENCY.find((one) => priorities.some((priority) => (priority ?? "normal") === one));

function parsed({ id, entry }: PublishedEntry): RegisteredVersion | undefined {
  try {
    return { id, entry: parseEntry(JSON.parse(entry) as JsonValue), standing: "current" };
  } catch {
    // Whoever signed it did not check it. It is the same for every node, and has no effect anywhere.
    return undefined;
  }
}

/** Of equal versions, which parted managers may publish, the lowest act id counts. */
function distinct(versions: readonly RegisteredVersion[]): readonly RegisteredVersion[] {
  const sorted = versions.toSorted((a, b) => inOrder(a, b) || (a.id < b.id ? -1 : 1));
  return sorted.filter(({ entry }, i) => entry.version !== sorted[i - 1]?.entry.version);
}

function ruleOf(versions: readonly RegisteredVersion[]): readonly Rule[] {
  const [current, ...others] = distinct(versions);
  if (current === undefined) return [];
  const major = majorOf(current.entry);
  const rest = others.map(({ id, entry }): RegisteredVersion => ({
    id,
    entry,
    standing: majorOf(entry) === major ? "accepted" : "replaced",
  }));
  return [new Rule([current, ...rest], current.entry)];
}

/** The registry of a set of published entries. Immutable. */
export class Registry {
  readonly #rules: readonly Rule[];
  readonly #byDocument = new Map<string, DocumentSchemas>();
  readonly #patterns: ReadonlyMap<string, { test(text: string): boolean }>;
  readonly #modules: ModuleAdmissions;

  /** Entries that don't parse have no effect, nor have prefixes past `LIMITS.schemaPrefixes`. Without modules, what needs one is not accepted. */
  constructor(published: readonly PublishedEntry[], modules: ModuleAdmissions = NO_MODULES) {
    this.#modules = modules;
    const byName = new Map<string, RegisteredVersion[]>();
    for (const one of published) {
      const version = parsed(one);
      if (version === undefined) continue;
      const name = nameOf(version.entry);
      byName.set(name, [...(byName.get(name) ?? []), version]);
    }
    this.#rules = [...byName.keys()]
      .toSorted()
      .slice(0, LIMITS.schemaPrefixes)
      .flatMap((name) => ruleOf(byName.get(name) ?? []))
      .toSorted(byPrecedence);
    this.#patterns = new Map(this.#rules.map(({ docs }) => [docs, globPattern(docs)]));
  }

  /** Every version that counts, by prefix and document pattern, newest first. */
  get versions(): readonly RegisteredVersion[] {
    return this.#rules
      .toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))
      .flatMap(({ versions }) => versions);
  }

  /** What holds in a document. */
  forDocument(doc: string): DocumentSchemas {
    if (this.#rules.length === 0) return NO_SCHEMAS;
    const known = this.#byDocument.get(doc);
    if (known !== undefined) return known;
    const rules = this.#rules.filter(({ docs }) => this.#patterns.get(docs)?.test(doc) === true);
    const schemas =
      rules.length === 0 ? NO_SCHEMAS : new DocumentSchemas(rules, doc, this.#modules);
    // Few documents are written at a time, and it takes a moment to find out again.
    if (this.#byDocument.size >= LIMITS.compiledSchemas) this.#byDocument.clear();
    this.#byDocument.set(doc, schemas);
    return schemas;
  }

  /**
   * Compares an entry with the current version of its prefix and document pattern, by what that version's rule says. A first version, and one with a higher
   * major version, owes nothing. Throws `POLICY_REFUSED` for a version that is not above the present one, `LIMIT_EXCEEDED` for one prefix too many.
   */
  check(entry: ParsedEntry): SchemaCheck {
    const rule = this.#rules.find((one) => nameOf(one) === nameOf(entry));
    if (rule === undefined) {
      if (this.#rules.length >= LIMITS.schemaPrefixes) {
        throw new MeshError(
          "LIMIT_EXCEEDED",
          `the space has schemas for ${String(LIMITS.schemaPrefixes)} prefixes, which is the limit`,
          { field: "prefix" },
        );
      }
      return { compatible: true, differences: [] };
    }
    const { current } = rule;
    if (compareVersions(parseVersion(entry.version), parseVersion(current.version)) <= 0) {
      throw new MeshError(
        "POLICY_REFUSED",
        `version ${entry.version} is not above the present ${current.version}`,
        { field: "version" },
      );
    }
    if (majorOf(entry) > majorOf(current)) return { compatible: true, differences: [] };
    const differences = owed(current, entry);
    return { compatible: differences.length === 0, against: current.version, differences };
  }
}

const named = (
  differences: readonly SchemaDifference[],
  refusing: ParsedEntry,
  accepting: ParsedEntry,
): readonly SchemaDifference[] =>
  differences.map(({ path, problem }) => ({
    path,
    problem: `${refusing.version} ${problem}, which ${accepting.version} accepts`,
  }));

/** Of two modules nobody can tell what the one admits and the other does not; none at all admits everything. */
function otherModule(before: ParsedEntry, after: ParsedEntry): readonly SchemaDifference[] {
  if (before.admit === after.admit) return [];
  const { compatibility } = before;
  const isFine =
    (compatibility === "forward" && before.admit === undefined) ||
    (compatibility === "backward" && after.admit === undefined);
  const problem = `${after.version} admits by another module than ${before.version}, which can't be compared`;
  return isFine ? [] : [{ path: "", problem }];
}

/** What a version lacks of what it owes the one before. */
function owed(before: ParsedEntry, after: ParsedEntry): readonly SchemaDifference[] {
  const { compatibility } = before;
  return [
    ...otherModule(before, after),
    ...(compatibility === "forward"
      ? []
      : named(differencesWithin(before.schema, after.schema), after, before)),
    ...(compatibility === "backward"
      ? []
      : named(differencesWithin(after.schema, before.schema), before, after)),
  ];
}

/** Throws `POLICY_REFUSED` with what stands against publishing. */
export function assertCompatible({ compatible, against, differences }: SchemaCheck): void {
  if (compatible) return;
  const [first] = differences;
  const more = differences.length > 1 ? ` (and ${String(differences.length - 1)} more)` : "";
  throw new MeshError(
    "POLICY_REFUSED",
    `the schema is not compatible with ${against ?? ""}: ${first?.path === "" ? "it" : (first?.path ?? "")}: ${first?.problem ?? ""}${more}`,
    {
      field: first?.path ?? "",
      remedy: "change the schema, or publish it with a higher major version",
    },
  );
}
