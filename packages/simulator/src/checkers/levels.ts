// SPDX-License-Identifier: Apache-2.0
/**
 * I15: levels of consistency, for keys with the resolver `latest` whose facts all have full confidence and are never deleted, where one hub decides: a strong read
 * knows what the hub had acknowledged before it was asked for, a bounded one what had been acknowledged so long before; of strong writes on one
 * version one is made, and nobody ever sees what was refused. Once a hub has lost something nothing is promised any more.
 */
import type { DeviceKey, Hlc, JsonValue } from "@ctxmesh/model";
import type { Checker, SimEvent, World } from "../world.ts";
import { placeOf, upOf } from "./chronicle.ts";

/** What somebody was told a hub has. */
interface Told {
  /** Of a plain write, whose chain may be cut; what a hub decides is in its own. */
  readonly device?: DeviceKey;
  readonly hlc: Hlc;
  readonly atMs: number;
}

type EventOf<Type extends SimEvent["type"]> = SimEvent & { readonly type: Type };

const hasLost = ({ nodes }: World): boolean =>
  nodes.some(({ kind, lostMediaMs }) => kind === "hub" && lostMediaMs !== undefined);

/** Whether somebody knows that chains of a device were cut: what it had stated may be gone until it states it again. */
const isCut = (world: World, { device }: Told): boolean =>
  device !== undefined &&
  upOf(world).some(
    ({ replica }) =>
      replica.space.revocations.has(device) ||
      replica.evidence().some((fork) => fork.replica === device),
  );

/** The keys that are asked for at a level. */
const placesOf = ({ plan }: World): ReadonlySet<string> =>
  new Set(plan.steps.flatMap((step) => (step.do === "ask" ? [placeOf(step.doc, step.key)] : [])));

/** What was acknowledged of the keys that are asked for. */
class Acknowledgements {
  readonly #told = new Map<string, Told[]>();
  #places: ReadonlySet<string> | undefined;

  note(doc: string, key: string, one: Told, world: World): void {
    const place = placeOf(doc, key);
    this.#places ??= placesOf(world);
    if (!this.#places.has(place)) return;
    const others = this.#told.get(place);
    if (others === undefined) this.#told.set(place, [one]);
    else others.push(one);
  }

  /** Something that was acknowledged by a time and is newer than what is shown. */
  missed(place: string, shown: Hlc | 0, byMs: number, world: World): Told | undefined {
    return this.#told
      .get(place)
      ?.find((one) => one.hlc > shown && one.atMs <= byMs && !isCut(world, one));
  }
}

/** Makes the checker. */
export function createLevelChecker(): Checker {
  const told = new Acknowledgements();
  const replaced = new Map<string, JsonValue>();
  const refused = new Map<string, Set<string>>();

  const assertNotRefused = (node: string, place: string, value: JsonValue | undefined): void => {
    if (refused.get(place)?.has(JSON.stringify(value)) !== true) return;
    throw new Error(`${node} shows ${JSON.stringify(value)}, which was refused`);
  };
  const answered = (event: EventOf<"answered">, world: World): void => {
    const { node, step, askedMs, answer } = event;
    const { doc, key, consistency, maxStalenessMs = 0 } = step;
    const place = placeOf(doc, key);
    assertNotRefused(node, place, answer.fact?.value);
    const missed = told.missed(place, answer.fact?.hlc ?? 0, askedMs - maxStalenessMs, world);
    if (missed === undefined) return;
    throw new Error(
      `${node} read ${key} ${consistency} at ${String(askedMs)}, and does not know what was acknowledged at ${String(missed.atMs)}`,
    );
  };
  const decided = (event: EventOf<"decided">, world: World): void => {
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
    told.note(step.doc, step.key, { hlc: receipt.hlc, atMs: world.nowMs }, world);
  };

  return {
    name: "I15",
    onEvent(event, world) {
      if (event.type === "answered" || event.type === "decided") {
        if (hasLost(world)) return;
        if (event.type === "answered") answered(event, world);
        else decided(event, world);
      } else if (event.type === "read") {
        assertNotRefused(event.node, placeOf(event.doc, event.key), event.fact?.value);
      } else if (event.type === "acknowledged" && event.write.key !== undefined) {
        const { device, doc, key, receipt } = event.write;
        if (receipt.acknowledged === "local") return;
        told.note(doc, key, { device, hlc: receipt.hlc, atMs: world.nowMs }, world);
      }
    },
  };
}
