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
  /** Of facts that are written without a `ttlMs`. */
  readonly ttlMs?: number;
  /** Of writes without a priority. */
  readonly priority?: Priority;
  /** Of reads that name none. */
  readonly consistency?: Consistency;
  /** With `consistency` `bounded`, and only there. */
  readonly maxStalenessMs?: number;
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
