// SPDX-License-Identifier: Apache-2.0
/** What happens once in a scenario. */
import type { Field } from "./field.ts";
import { nodesAt, timeOf } from "./places.ts";
import type { Places } from "./places.ts";
import { SCENARIO_LIMITS as MOST } from "./scenario.ts";
import type { ScenarioEvent } from "./scenario.ts";
import { durationOf } from "./units.ts";

const KINDS = ["offline", "crash", "restore", "clock", "revoke"] as const;
/** What each kind needs besides `at` and its nodes. */
const NEEDS = {
  offline: ["for"],
  crash: ["for"],
  restore: ["for", "backup"],
  clock: ["by"],
  revoke: [],
} as const satisfies Record<(typeof KINDS)[number], readonly string[]>;
const MAX_JUMP_MS = 86_400_000;

function parseEvent(item: Field, places: Places): ScenarioEvent | undefined {
  const fields = item.required().members("at", ...KINDS, "for", "backup", "by");
  const given = KINDS.filter((kind) => !fields[kind].isAbsent);
  const [kind] = given;
  if (kind === undefined || given.length > 1) {
    return item.fail(`must have one of ${KINDS.join(", ")}, with the nodes that it happens to`);
  }
  const nodes = nodesAt(fields[kind], places, kind !== "revoke");
  const needs: readonly string[] = NEEDS[kind];
  for (const name of ["for", "backup", "by"] as const) {
    if (needs.includes(name)) fields[name].required();
    else if (!fields[name].isAbsent) fields[name].fail(`has no meaning for ${kind}`);
  }
  const atMs = timeOf(fields.at.required(), 0);
  const forMs = timeOf(fields.for, 1) ?? 1;
  const backupMs = timeOf(fields.backup, 1) ?? 1;
  const byMs = fields.by.quantity(
    durationOf,
    "a time such as 5m or -30s",
    (ms) => Math.abs(ms) <= MAX_JUMP_MS,
    "from -1d to 1d",
  );
  if (atMs === undefined) return undefined;
  if (atMs >= places.durationMs) return fields.at.fail("is after the end of the scenario");
  const base = { atMs, nodes };
  switch (kind) {
    case "offline":
    case "crash":
      return { ...base, kind, forMs };
    case "restore":
      if (backupMs >= atMs) return fields.backup.fail('must be before "at"');
      return { ...base, kind, forMs, backupMs };
    case "clock":
      return { ...base, kind, byMs: byMs ?? 0 };
    case "revoke":
      return { ...base, kind };
  }
}

/** The events, by time. */
export function parseEvents(field: Field, places: Places): readonly ScenarioEvent[] {
  return field
    .items(MOST.events)
    .flatMap((item) => parseEvent(item, places) ?? [])
    .toSorted((a, b) => a.atMs - b.atMs);
}
