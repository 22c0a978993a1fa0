// SPDX-License-Identifier: Apache-2.0
import { encodeSignedRecord } from "@ctxmesh/codec";
import { MeshError } from "@ctxmesh/model";
import type {
  Clock,
  DeviceSigner,
  MeshErrorCode,
  SchemaCheck,
  SchemaReport,
  SchemaService,
} from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { checkEntry, publishEntry, reportSchemas } from "./schema-publication.ts";

/** What the registry of a node is made of. */
export interface NodeSchemasOptions {
  readonly replica: Pick<Replica, "addRecords" | "schemas" | "space">;
  /** Signs what is published. */
  readonly device: DeviceSigner;
  readonly clock: Clock;
}

/** The schemas of a node's space. */
export class NodeSchemas implements SchemaService {
  readonly #options: NodeSchemasOptions;

  constructor(options: NodeSchemasOptions) {
    this.#options = options;
  }

  schemas(): readonly SchemaReport[] {
    const { replica } = this.#options;
    return reportSchemas(replica.space, replica.schemas);
  }

  checkSchema(entry: unknown): SchemaCheck {
    const { replica } = this.#options;
    return checkEntry(replica.space, entry, replica.schemas).check;
  }

  async publishSchema(entry: unknown): Promise<SchemaReport> {
    const { replica, device, clock } = this.#options;
    const before = replica.space;
    const { space, report } = publishEntry(before, device, entry, clock.now());
    const known = new Set(before.acts.map(({ id }) => id));
    const acts = space.acts
      .filter(({ id }) => !known.has(id))
      .map(({ record }) => encodeSignedRecord(record));
    const { refused } = await replica.addRecords({ acts });
    const [first] = refused;
    if (first !== undefined) throw new MeshError(first.code satisfies MeshErrorCode, first.message);
    return report;
  }
}
