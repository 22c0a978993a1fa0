// SPDX-License-Identifier: Apache-2.0
/**
 * Where a batch stands, read off its first bytes: whoever passes batches on looks at thousands of them a second, and needs
 * neither their sections nor their bodies.
 */
import { MeshError, parseDeviceKey, parseIncarnationId, toHex } from "@ctxmesh/model";
import type { DeviceKey, IncarnationId } from "@ctxmesh/model";
import type { Lane } from "./batch.ts";

/** The chain of a batch, its position there, and its lane. */
export interface BatchPlace {
  readonly replica: DeviceKey;
  readonly incarnation: IncarnationId;
  readonly seq: number;
  readonly lane: Lane | undefined;
}

/** An item's head: what follows stands at `at`. */
interface ItemHead {
  readonly major: number;
  readonly argument: number;
  readonly at: number;
}

const fail = (): never => {
  throw new MeshError("FORMAT_INVALID", "batch: no place", { field: "batch" });
};

function headAt(bytes: Uint8Array, at: number): ItemHead {
  const initial = bytes[at] ?? fail();
  const low = initial & 31;
  if (low < 24) return { major: initial >>> 5, argument: low, at: at + 1 };
  if (low > 27) return fail();
  const size = 2 ** (low - 24);
  let argument = 0;
  for (let i = 1; i <= size; i++) argument = argument * 256 + (bytes[at + i] ?? fail());
  return { major: initial >>> 5, argument, at: at + 1 + size };
}

/** Where the item behind this one begins. Only items of a header are known: numbers, byte and text strings, an array of them, null. */
function skip(bytes: Uint8Array, from: number, isInArray = false): number {
  const { major, argument, at } = headAt(bytes, from);
  if (major === 2 || major === 3) return at + argument;
  if (major === 0 || major === 7) return at;
  if (major !== 4 || isInArray) return fail();
  let next = at;
  for (let i = 0; i < argument; i++) next = skip(bytes, next, true);
  return next;
}

const LANES: readonly (Lane | undefined)[] = [undefined, "high", "low"];

/** What is looked for, by the length of its name and the first letter: enough in a header. */
const INC = 0x0369;
const SEQ = 0x0373;
const LANE = 0x046c;
const REPLICA = 0x0772;

/** Goes over the members of a header, shorter names first, until `visit` has seen enough. */
function visitMembers(
  bytes: Uint8Array,
  visit: (name: number, value: ItemHead) => "on" | "enough",
): void {
  const batch = headAt(bytes, 0);
  const header = headAt(bytes, batch.at);
  const members = headAt(bytes, header.at);
  if (batch.major !== 4 || header.major !== 2 || members.major !== 5) fail();
  let next = members.at;
  for (let i = 0; i < members.argument; i++) {
    const key = headAt(bytes, next);
    const at = key.at + key.argument;
    if (visit(key.argument * 256 + (bytes[key.at] ?? fail()), headAt(bytes, at)) === "enough")
      return;
    next = skip(bytes, at);
  }
}

/** The lane of a batch; of which see {@link batchPlace}. */
export function batchLane(bytes: Uint8Array): Lane | undefined {
  let lane: Lane | undefined;
  visitMembers(bytes, (name, value) => {
    if (name === LANE) lane = LANES[value.argument];
    return name >= LANE ? "enough" : "on";
  });
  return lane;
}

/**
 * The place of a batch that was checked before, or made here: of others nothing is promised but an answer or `FORMAT_INVALID`.
 * A header's members are in the order of deterministic CBOR, shorter names first, so all of it stands before the sections.
 */
export function batchPlace(bytes: Uint8Array): BatchPlace {
  let [incarnation, replica, seq, lane]: [Uint8Array?, Uint8Array?, number?, Lane?] = [];
  visitMembers(bytes, (name, { argument, at }) => {
    if (name === SEQ) seq = argument;
    else if (name === LANE) lane = LANES[argument];
    else if (name === INC) incarnation = bytes.subarray(at, at + argument);
    else if (name === REPLICA) replica = bytes.subarray(at, at + argument);
    return replica === undefined ? "on" : "enough";
  });
  if (incarnation === undefined || replica === undefined || seq === undefined) return fail();
  return {
    replica: parseDeviceKey(toHex(replica)),
    incarnation: parseIncarnationId(toHex(incarnation)),
    seq,
    lane,
  };
}
