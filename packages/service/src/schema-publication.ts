// SPDX-License-Identifier: Apache-2.0
/** The schemas of a space as reports, and new ones as acts. */
import { canonicalJson } from "@ctxmesh/codec";
import { publishSchema, resolverFor } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { MeshError } from "@ctxmesh/model";
import type { DeviceSigner, JsonValue, SchemaCheck, SchemaReport } from "@ctxmesh/model";
import { Registry, assertCompatible, parseEntry } from "@ctxmesh/schema";
import { assertModule } from "./module-publication.ts";
import type { ParsedEntry } from "@ctxmesh/schema";

/** The registry of a space, by prefix and document pattern, newest version first. */
export function reportSchemas(
  { schemas, policy }: Space,
  registry: Registry = new Registry(schemas),
): readonly SchemaReport[] {
  const acts = new Map<string, Space["schemas"][number]>(schemas.map((act) => [act.id, act]));
  return registry.versions.map(({ id, entry, standing }) => ({
    ...entry,
    act: id,
    by: acts.get(id)?.by ?? "",
    publishedAt: acts.get(id)?.time ?? 0,
    resolver: resolverFor(policy, entry.prefix),
    standing,
  }));
}

/** An untrusted entry, and how it goes with what is published. Throws as `SchemaService.checkSchema`. */
export function checkEntry(
  { schemas }: Pick<Space, "schemas">,
  value: unknown,
  registry: Registry = new Registry(schemas),
): { readonly entry: ParsedEntry; readonly check: SchemaCheck } {
  // What is no JSON is refused here.
  const entry = parseEntry(JSON.parse(canonicalJson(value as JsonValue)) as JsonValue);
  return { entry, check: registry.check(entry) };
}

/**
 * The space with an untrusted entry published. `now` is Unix milliseconds. Throws as `SchemaService.publishSchema`, and then nothing has changed.
 */
export function publishEntry(
  space: Space,
  signer: DeviceSigner,
  value: unknown,
  now: number,
): { readonly space: Space; readonly report: SchemaReport } {
  const { entry, check } = checkEntry(space, value);
  assertCompatible(check);
  if (entry.admit !== undefined) assertModule(space, entry.admit, "admit");
  const changed = publishSchema(space, signer, canonicalJson(entry as unknown as JsonValue), now);
  const known = new Set<string>(space.schemas.map(({ id }) => id));
  const report = reportSchemas(changed).find(({ act }) => !known.has(act));
  if (report === undefined) throw new MeshError("INTERNAL", "a published schema has no effect");
  return { space: changed, report };
}
