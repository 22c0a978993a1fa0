// SPDX-License-Identifier: Apache-2.0
/** What a space says of the values under its keys: the registry of schemas. */
import type { Priority } from "./facts.ts";
import type { JsonValue } from "./json.ts";
import type { Consistency } from "./levels.ts";

/**
 * What a new version of a schema owes the one before it, as long as both have the same major version. `backward`: it accepts whatever that one
 * accepts; `forward`: that one accepts whatever it accepts; `full`: both.
 */
export type SchemaCompatibility = "backward" | "forward" | "full";

/** One version of what holds for the keys with a prefix, in the documents of a pattern. */
export interface SchemaEntry {
  /** Names of documents: `*` is any text between slashes, `**` any text. */
  readonly docs: string;
  /** The beginning of the keys; `""` for all. */
  readonly prefix: string;
  /** `major.minor.patch`. */
  readonly version: string;
  /** What the next version owes this one. */
  readonly compatibility: SchemaCompatibility;
  /** JSON Schema 2020-12, the keywords that docs/SCHEMAS.md lists: an object or a boolean. */
  readonly schema: JsonValue;
  /** A module of the space that has to admit a value as well: `wasm:` and its SHA-256 in hex. */
  readonly admit?: string;
  /** Of facts that are written without a `ttlMs`. */
  readonly ttlMs?: number;
  /** Of writes without a priority. */
  readonly priority?: Priority;
  /** Of reads that name none. */
  readonly consistency?: Consistency;
  /** With `consistency` `bounded`, and only there. */
  readonly maxStalenessMs?: number;
}

const MODULE = /^wasm:[\da-f]{64}$/u;

/** Whether a text may name a module: `wasm:` and a SHA-256 in hex. */
export const isModuleName = (text: string): boolean => MODULE.test(text);

/** A module of a space: whose SHA-256 is known may be named by policies and schemas. */
export interface ModuleReport {
  /** `wasm:` and its SHA-256 in hex. */
  readonly module: string;
  /** For people. */
  readonly name: string;
  readonly bytes: number;
  /** What it can decide: which statement is shown, and whether a value is admitted. */
  readonly entries: readonly ("resolve" | "admit")[];
  /** Why it can't be used; absent when it can. */
  readonly problem?: string;
  /** Id of the membership act that added it, hex. */
  readonly act: string;
  /** The key that signed that. */
  readonly by: string;
  /** Unix milliseconds, by the clock of whoever added it. */
  readonly addedAt: number;
}

/** What became of the calls of a module, at one node, since it started. */
export interface ModuleStatus {
  /** `wasm:` and its SHA-256 in hex. */
  readonly module: string;
  /** Empty for one that a rule names and that is not in the space. */
  readonly name: string;
  readonly calls: number;
  /** How many of them were cut off, or found no module. */
  readonly failures: number;
  /** How many took this node longer than a millisecond; says nothing of what they came to. */
  readonly slow: number;
  /** The last one that was cut off. */
  readonly last?: {
    readonly doc: string;
    readonly key: string;
    /** `steps`, `depth`, `trap`, `answer`, `input`, `missing`, or `machine` where this one can't run it. */
    readonly reason: string;
    readonly problem: string;
    /** Unix milliseconds. */
    readonly at: number;
  };
}

/** A published version, and where it stands. */
export interface SchemaReport extends SchemaEntry {
  /** Id of the membership act that published it, hex. */
  readonly act: string;
  /** The key that signed that. */
  readonly by: string;
  /** Unix milliseconds, by the clock of whoever published it. */
  readonly publishedAt: number;
  /** The resolver that the space's policy has for the prefix itself. */
  readonly resolver: string;
  /** `current`: writes are checked against it; `accepted`: of the same major version as that, so what it accepts is shown as well; `replaced` by a later major version. */
  readonly standing: "current" | "accepted" | "replaced";
}

/** Where one schema accepts what another refuses, or may. */
export interface SchemaDifference {
  /** JSON pointer into the schema that refuses; empty for all of it. */
  readonly path: string;
  readonly problem: string;
}

/** Whether an entry could be published. */
export interface SchemaCheck {
  readonly compatible: boolean;
  /** The version that it was compared with; absent for the first one of a prefix, and of a major version. */
  readonly against?: string;
  readonly differences: readonly SchemaDifference[];
}

/** The registry of a node's space. */
export interface SchemaService {
  /** By prefix and document pattern, newest version first. */
  schemas(): readonly SchemaReport[];
  /** Compares an entry with what is published. Throws `INPUT_INVALID`, `LIMIT_EXCEEDED`; `POLICY_REFUSED` for a version that is not above the present one. */
  checkSchema(entry: unknown): SchemaCheck;
  /**
   * Publishes an entry, signed by this node's device, which needs the role `manage`. Rejects as {@link checkSchema}, and with `POLICY_REFUSED` for one
   * that is not compatible, or without the role.
   */
  publishSchema(entry: unknown): Promise<SchemaReport>;
}
