// SPDX-License-Identifier: Apache-2.0
import type { DocumentName, ReadLevel } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";

/** The level of a read of one key: as it says, or else as the entry of the key's schema does. */
export function levelFor(
  { schemas }: Pick<Replica, "schemas">,
  doc: DocumentName,
  key: string,
  level: ReadLevel,
): ReadLevel {
  if (level.consistency !== undefined) return level;
  const { consistency, maxStalenessMs } = schemas.forDocument(doc).defaults(key);
  if (consistency === undefined) return level;
  return { ...(maxStalenessMs === undefined ? {} : { maxStalenessMs }), ...level, consistency };
}
