// SPDX-License-Identifier: Apache-2.0
/**
 * I5: what was deleted or retracted never comes back. Each value that a client wrote is a canary: where its writer's later
 * delete is applied, or a ruling on it, nobody is shown it any more. Replicas that were away for long, restored or copied are no exception.
 */
import type { Candidate, DeviceKey } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import type { Acknowledged, Checker, World } from "../world.ts";
import { keepsAll, membersOf, placeOf } from "./chronicle.ts";
import type { Chronicle, Ruling } from "./chronicle.ts";

/** A delete that a client was told of, and when it was asked for at the latest. */
interface Deleted {
  readonly write: Acknowledged;
  readonly askedMs: number;
}

/** What the clients of a device did with a key. */
interface Canaries {
  /** When a value was last written, by its JSON text. */
  readonly writtenMs: Map<string, number>;
  /** When deletes were asked for that are not acknowledged. */
  readonly asked: number[];
  deleted: Deleted[];
}

const isShown = ({ standing, deleted }: Candidate): boolean =>
  !deleted && (standing === "shown" || standing === "undominated");

type Place = readonly [doc: string, key: string];

/** A node, and where one looks there. */
interface Look {
  readonly at: string;
  readonly replica: Replica;
  readonly place: Place;
}

function checkDeleted(
  { at, replica, place }: Look,
  shown: Candidate,
  canaries: Canaries | undefined,
): void {
  const writtenMs = canaries?.writtenMs.get(JSON.stringify(shown.value));
  for (const { write, askedMs } of canaries?.deleted ?? []) {
    const { incarnation, seq, hlc } = write.receipt;
    if (replica.seqOf(write.device, incarnation) < seq) continue;
    const isOlder = writtenMs === undefined ? shown.hlc < hlc : writtenMs < askedMs;
    if (!isOlder) continue;
    throw new Error(
      `${at} shows ${place.join(" ")} again, which write ${String(write.id)} deleted`,
    );
  }
}

function checkRuled(
  { at, replica, place }: Look,
  shown: Candidate,
  rulings: readonly Ruling[],
): void {
  for (const { by, writer, upTo } of rulings) {
    if (writer !== shown.writer || shown.hlc > upTo) continue;
    if (replica.seqOf(by.replica, by.incarnation) < by.seq) continue;
    throw new Error(`${at} shows ${place.join(" ")} of ${writer.slice(0, 8)}, which is retracted`);
  }
}

/** Makes the checker. */
export function createForgettingChecker(chronicle: Chronicle): Checker {
  const byPlace = new Map<string, Map<DeviceKey, Canaries>>();

  const canariesOf = (device: DeviceKey, [doc, key]: Place): Canaries => {
    const place = placeOf(doc, key);
    const byDevice = byPlace.get(place) ?? new Map<DeviceKey, Canaries>();
    byPlace.set(place, byDevice);
    const made = byDevice.get(device) ?? { writtenMs: new Map(), asked: [], deleted: [] };
    byDevice.set(device, made);
    return made;
  };
  const look = (at: string, replica: Replica, place: Place): void => {
    const [doc, key] = place;
    // What takes a value back may be left out there, and the answer says so.
    if (!keepsAll(replica, doc)) return;
    const name = doc as Parameters<Replica["candidates"]>[0];
    for (const candidate of replica.candidates(name, key)) {
      if (!isShown(candidate)) continue;
      const canaries = byPlace.get(placeOf(doc, key))?.get(candidate.writer);
      checkDeleted({ at, replica, place }, candidate, canaries);
      checkRuled({ at, replica, place }, candidate, chronicle.rulings(doc, key));
    }
  };
  const acknowledged = (write: Acknowledged, nowMs: number): void => {
    if (write.what !== "delete" || write.key === undefined || write.receipt.seq === 0) return;
    const canaries = canariesOf(write.device, [write.doc, write.key]);
    const askedMs = canaries.asked.shift() ?? nowMs;
    // A newer one covers what an older one did, but for those that have it and not the newer one.
    canaries.deleted = [...canaries.deleted.slice(-3), { write, askedMs }];
  };
  const lookEverywhere = (world: World): void => {
    for (const { node, replica } of membersOf(world)) {
      for (const place of byPlace.keys()) {
        const [doc = "", key = ""] = place.split("\n");
        look(node.id, replica, [doc, key]);
      }
    }
  };

  return {
    name: "I5",
    onEvent(event, world) {
      if (event.type === "step" && event.step.do === "put") {
        const { node, doc, key, value, increment } = event.step;
        // Sums come to the same number again.
        if (increment === true) return;
        const { writtenMs } = canariesOf(world.deviceOf(node), [doc, key]);
        writtenMs.set(JSON.stringify(value), world.nowMs);
      } else if (event.type === "step" && event.step.do === "delete") {
        const { node, doc, key } = event.step;
        canariesOf(world.deviceOf(node), [doc, key]).asked.push(world.nowMs);
      } else if (event.type === "acknowledged") acknowledged(event.write, world.nowMs);
      else if (event.type === "read" || event.type === "applied") {
        const replica = world.node(event.node)?.process?.replica;
        if (replica === undefined) return;
        const places = event.type === "read" ? [event] : event.batch.changed;
        for (const { doc, key } of places) look(event.node, replica, [doc, key]);
      }
    },
    atEnd: lookEverywhere,
  };
}
