// SPDX-License-Identifier: Apache-2.0
/** The calls about schemas. */
import type { SchemaCheck, SchemaEntry, SchemaReport } from "@ctxmesh/model";
import type { JsonCaller } from "./client.ts";

/** An entry as it is published; `docs` is `**` and `compatibility` is `backward` where they are left out. */
export type SchemaInput = Omit<SchemaEntry, "docs" | "compatibility"> &
  Partial<Pick<SchemaEntry, "docs" | "compatibility">>;

/** The calls about schemas. */
export interface SchemaCalls {
  /** The schemas of the space, by prefix and document pattern, newest version first. */
  schemas(): Promise<readonly SchemaReport[]>;
  /** Compares an entry with what is published. `INPUT_INVALID` names what is wrong with the schema; `POLICY_REFUSED` for a version that is not above the present one. */
  checkSchema(entry: SchemaInput): Promise<SchemaCheck>;
  /**
   * Publishes an entry, signed by the node's device, which needs the role `manage`: in effect there once it resolves, and passed on to the other nodes. As
   * {@link checkSchema}; `POLICY_REFUSED` also for an entry that is not compatible.
   */
  publishSchema(entry: SchemaInput): Promise<SchemaReport>;
}

/** The schema calls of a client. */
export const createSchemas = (json: JsonCaller): SchemaCalls => ({
  schemas: async () =>
    (await json<{ schemas: readonly SchemaReport[] }>("GET", "/v1/schemas", {})).schemas,
  checkSchema: (entry) => json("POST", "/v1/schemas/check", { body: entry }),
  publishSchema: (entry) => json("POST", "/v1/schemas", { body: entry }),
});
