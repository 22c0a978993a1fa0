// SPDX-License-Identifier: Apache-2.0
/**
 * Levels of consistency, for keys with the resolver `latest` whose facts all have full confidence and are never deleted, and hubs that lose nothing: a strong read
 * knows what a hub had acknowledged before it was asked for, a bounded one what had been acknowledged so long before; of strong writes on one
 * version one is made, and nobody ever sees what was refused.
 */
import type { Hlc, JsonValue } from "@ctxmesh/model";
import type { Checker, SimEvent } from "../world.ts";
import { placeOf } from "./chronicle.ts";

/** What somebody was told a hub has. */
interface Told {
  readonly hlc: Hlc;
  readonly atMs: number;
}

type EventOf<Type extends SimEvent["type"]> = SimEvent & { readonly type: Type };

/** Makes the checker. */
export function createLevelChecker(): Checker {
  const told = new Map<string, Told[]>();
  const replaced = new Map<string, JsonValue>();
  const refused = new Map<string, Set<string>>();

  const note = (place: string, one: Told): void => {
    told.set(place, [...(told.get(place) ?? []), one]);
  };
  const assertNotRefused = (node: string, place: string, value: JsonValue | undefined): void => {
    if (refused.get(place)?.has(JSON.stringify(value)) !== true) return;
    throw new Error(`${node} shows ${JSON.stringify(value)}, which was refused`);
  };
  const answered = ({ node, step, askedMs, answer }: EventOf<"answered">): void => {
    const { doc, key, consistency, maxStalenessMs = 0 } = step;
    const place = placeOf(doc, key);
    const known = (told.get(place) ?? []).filter(({ atMs }) => atMs <= askedMs - maxStalenessMs);
    const newest = Math.max(0, ...known.map(({ hlc }) => hlc));
    assertNotRefused(node, place, answer.fact?.value);
    if ((answer.fact?.hlc ?? 0) >= newest) return;
    const behind = known.find(({ hlc }) => hlc === newest);
    throw new Error(
      `${node} read ${key} ${consistency} at ${String(askedMs)}, and does not know what was acknowledged at ${String(behind?.atMs)}`,
    );
  };
  const decided = (event: EventOf<"decided">, nowMs: number): void => {
    const { step, expected, receipt, code } = event;
    const place = placeOf(step.doc, step.key);
    if (code === "VERSION_CONFLICT") {
      refused.set(place, (refused.get(place) ?? new Set()).add(JSON.stringify(step.value)));
    }
    if (receipt === undefined) return;
    const version = `${place} ${expected ?? "nothing"}`;
    if (replaced.has(version)) {
      const both = [replaced.get(version), step.value].map((value) => JSON.stringify(value));
      throw new Error(`${both.join(" and ")} both replaced one version of ${step.key}`);
    }
    replaced.set(version, step.value);
    note(place, { hlc: receipt.hlc, atMs: nowMs });
  };

  return {
    name: "levels",
    onEvent(event, { nowMs }) {
      if (event.type === "answered") answered(event);
      else if (event.type === "decided") decided(event, nowMs);
      else if (event.type === "read") {
        assertNotRefused(event.node, placeOf(event.doc, event.key), event.fact?.value);
      } else if (event.type === "acknowledged" && event.write.key !== undefined) {
        const { doc, key, receipt } = event.write;
        if (receipt.acknowledged !== "local")
          note(placeOf(doc, key), { hlc: receipt.hlc, atMs: nowMs });
      }
    },
  };
}
