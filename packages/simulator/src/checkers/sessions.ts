// SPDX-License-Identifier: Apache-2.0
/**
 * I4: a client reads what it and its node wrote, and never reads backwards, also when it goes on at another node. Its token is
 * the frontier of what it saw; at a node that has not come that far it waits, so nothing is promised there.
 */
import type { DeviceKey, Hlc } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import type { Acknowledged, Checker, SimEvent, World } from "../world.ts";
import { chainOf, keepsAll, placeOf } from "./chronicle.ts";

/** Writes to a key that are remembered for each device. */
const LAST_WRITES = 8;

type ReadEvent = SimEvent & { readonly type: "read" };
type Head = ReturnType<Replica["heads"]>[number];

/** What a client has seen. */
interface Session {
  readonly token: Map<string, Head>;
  /** The newest statement of each writer, by place. */
  readonly seen: Map<string, Map<DeviceKey, Hlc>>;
}

/** Whether a replica has come as far as a client has. */
function covers(replica: Replica, { token }: Session): boolean {
  for (const { replica: device, incarnation, seq } of token.values()) {
    // What is void now was never promised.
    const wanted = Math.min(seq, replica.limitOf(device, incarnation));
    if (replica.seqOf(device, incarnation) < wanted) return false;
  }
  return true;
}

/** Whether chains of a device were cut: its statements may have gone then, and come again. */
const isCut = (replica: Replica, device: DeviceKey): boolean =>
  replica.space.revocations.has(device) ||
  replica.evidence().some((fork) => fork.replica === device);

/** Makes the checker. */
export function createSessionChecker(): Checker {
  const sessions = new Map<string, Session>();
  const writes = new Map<string, Map<DeviceKey, Acknowledged[]>>();

  const noteWrite = (write: Acknowledged): void => {
    const { what, doc, key, device, receipt } = write;
    if (key === undefined || what === "retract" || receipt.seq === 0) return;
    const place = placeOf(doc, key);
    const byDevice = writes.get(place) ?? new Map<DeviceKey, Acknowledged[]>();
    writes.set(place, byDevice);
    byDevice.set(device, [...(byDevice.get(device) ?? []).slice(1 - LAST_WRITES), write]);
  };
  const readBack = (event: ReadEvent, shown: ReadonlyMap<DeviceKey, Hlc>, at: Replica): void => {
    const { node, doc, key } = event;
    for (const [device, list] of writes.get(placeOf(doc, key)) ?? []) {
      if (isCut(at, device)) continue;
      for (const { id, receipt } of list) {
        if (at.seqOf(device, receipt.incarnation) < receipt.seq) continue;
        if ((shown.get(device) ?? 0) >= receipt.hlc) continue;
        throw new Error(`${node} has applied write ${String(id)} and does not show it`);
      }
    }
  };
  const goOn = (event: ReadEvent, shown: ReadonlyMap<DeviceKey, Hlc>, at: Replica): void => {
    const { node, client, doc, key } = event;
    const session = sessions.get(client) ?? { token: new Map(), seen: new Map() };
    sessions.set(client, session);
    if (!covers(at, session)) return;
    const place = placeOf(doc, key);
    for (const [device, hlc] of session.seen.get(place) ?? []) {
      if (isCut(at, device) || (shown.get(device) ?? 0) >= hlc) continue;
      throw new Error(`${client} reads ${doc} ${key} at ${node} as it was before it last read it`);
    }
    session.seen.set(place, new Map(shown));
    for (const head of at.heads()) session.token.set(chainOf(head.replica, head.incarnation), head);
  };
  const read = (event: ReadEvent, world: World): void => {
    const replica = world.node(event.node)?.process?.replica;
    const { doc, key, fact } = event;
    // Where something is left out, the answer says that there may be more.
    if (replica === undefined || !keepsAll(replica, doc)) return;
    const candidates = replica.candidates(doc as Parameters<Replica["candidates"]>[0], key);
    const shown = new Map(candidates.map(({ writer, hlc }) => [writer, hlc]));
    // What the client was told is what counts, and it is one of them.
    if (fact !== undefined) {
      const isOfNow = candidates.some(
        ({ standing, writer, hlc }) =>
          standing === "shown" && writer === fact.writer && hlc === fact.hlc,
      );
      if (!isOfNow) throw new Error(`${event.node} answers ${doc} ${key} as it was before`);
      shown.set(fact.writer, fact.hlc);
    }
    readBack(event, shown, replica);
    goOn(event, shown, replica);
  };

  return {
    name: "I4",
    onEvent(event, world) {
      if (event.type === "acknowledged") noteWrite(event.write);
      if (event.type === "read") read(event, world);
    },
  };
}
