// SPDX-License-Identifier: Apache-2.0
/**
 * I2: no acknowledged write is lost. `local` outlives every crash of its node, `hub` the loss of the node, `sealed` is in a
 * seal. A write is there when its writer's statement about its key is that one or a newer one.
 */
import type { DeviceKey, IncarnationId } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import type { DiskImage } from "../disk-image.ts";
import type { Acknowledged, Checker, NodeView, World } from "../world.ts";
import { chainOf, keepsAll, membersOf, placeOf } from "./chronicle.ts";
import { readSeal, sealsOf } from "./seals.ts";
import type { ReadSeal } from "./seals.ts";

const CHAIN_TAG = "03";

/** Whether a store has a batch at a position of a chain: the index by chain, as `docs/ARCHITECTURE.md` has it. */
function holds(
  image: DiskImage,
  device: DeviceKey,
  { incarnation, seq }: { readonly incarnation: IncarnationId; readonly seq: number },
): boolean {
  const position = seq.toString(16).padStart(16, "0");
  const key = Buffer.from(`${CHAIN_TAG}${device}${incarnation}${position}`, "hex");
  return image.get(key.toString("latin1"))?.damaged === false;
}

const isStated = (replica: Replica, { device, doc, key, receipt }: Acknowledged): boolean =>
  key === undefined
    ? replica.seqOf(device, receipt.incarnation) >= receipt.seq
    : replica
        .candidates(doc as Parameters<Replica["candidates"]>[0], key)
        .some(({ writer, hlc }) => writer === device && hlc >= receipt.hlc);

/** A node that keeps a part is asked only for what it wants; what it has at least is the header. */
const leavesOut = (replica: Replica, { device, doc, key }: Acknowledged): boolean =>
  key !== undefined && device !== replica.device && !keepsAll(replica, doc);

const isCut = (replica: Replica, { device, receipt }: Acknowledged): boolean =>
  replica.limitOf(device, receipt.incarnation) < receipt.seq;

const nameOf = ({ id, node, what, doc, key, receipt }: Acknowledged): string =>
  `write ${String(id)} (${what} ${doc} ${key ?? ""} at ${node}, acknowledged as ${receipt.acknowledged})`;

/** The newest statement by node and place, and the furthest edit by node and chain. */
type Newest = Map<string, Map<string, Acknowledged>>;

/** Whether a seal has a write, or says why it has not: something newer, what rules it out, or the end of its time. */
function covers(seal: ReadSeal, write: Acknowledged): boolean {
  const { device, receipt, doc, key, ttlMs } = write;
  const head = seal.frontier.find(
    ({ replica, incarnation }) => replica === device && incarnation === receipt.incarnation,
  );
  if (head === undefined || head.seq < receipt.seq) return false;
  if (key === undefined || ttlMs !== undefined) return true;
  return seal.leaves.some((text) => {
    const leaf = JSON.parse(text) as {
      readonly doc: string;
      readonly key?: string;
      readonly writer?: DeviceKey;
      readonly hlc: number;
      readonly retracts?: { readonly writer: DeviceKey; readonly upTo: number };
    };
    if (leaf.doc !== doc || leaf.key !== key) return false;
    if (leaf.retracts !== undefined) {
      return leaf.retracts.writer === device && leaf.retracts.upTo >= receipt.hlc;
    }
    return leaf.hlc >= receipt.hlc;
  });
}

/** Whether a schema that is published in this run may be against a value: while it is, no seal has it. */
const mayBeInvalid = ({ plan }: World, { key, value }: Acknowledged): boolean =>
  typeof value === "number" &&
  plan.steps.some(
    (step) => step.do === "schema" && key?.startsWith(step.prefix) === true && value > step.most,
  );

/** What a node acknowledged is there when it has been started again. */
function checkOpened(node: NodeView | undefined, newest: Newest): void {
  const replica = node?.process?.replica;
  if (node === undefined || replica === undefined || node.lostMediaMs !== undefined) return;
  for (const write of newest.get(node.id)?.values() ?? []) {
    // What a fork cut off is stated again a little later.
    if (isCut(replica, write) || replica.space.revocations.has(write.device)) continue;
    if (!isStated(replica, write)) throw new Error(`${nameOf(write)} is gone after a restart`);
  }
}

/** Makes the checker. */
export function createDurabilityChecker(): Checker {
  const newest: Newest = new Map();
  const hubs = new Map<Acknowledged, readonly NodeView[]>();
  const seals: ReadSeal[] = [];
  const unsealed: Acknowledged[] = [];

  const remember = (write: Acknowledged): void => {
    const { node, what, doc, key, device, receipt } = write;
    if (what === "retract") return;
    const place = key === undefined ? chainOf(device, receipt.incarnation) : placeOf(doc, key);
    const own = newest.get(node) ?? new Map<string, Acknowledged>();
    newest.set(node, own);
    const before = own.get(place);
    if (before === undefined || before.receipt.hlc < receipt.hlc) own.set(place, write);
  };
  const acknowledged = (write: Acknowledged, world: World): void => {
    const { device, receipt } = write;
    if (receipt.seq === 0) return;
    remember(write);
    if (receipt.acknowledged === "local") return;
    const all = world.nodes.filter(({ kind }) => kind === "hub");
    const having = all.filter(({ image }) => holds(image, device, receipt));
    const lossy = all.some(({ lostMediaMs }) => lostMediaMs !== undefined);
    if (having.length === 0 && !lossy) throw new Error(`${nameOf(write)} is at no hub`);
    hubs.set(write, having);
    if (receipt.acknowledged !== "sealed" || mayBeInvalid(world, write)) return;
    if (!seals.some((seal) => covers(seal, write))) unsealed.push(write);
  };
  const mustBeThere = (write: Acknowledged, world: World): boolean =>
    world.node(write.node)?.lostMediaMs === undefined ||
    hubs.get(write)?.some(({ lostMediaMs }) => lostMediaMs === undefined) === true;

  return {
    name: "I2",
    onEvent(event, world) {
      if (event.type === "acknowledged") acknowledged(event.write, world);
      else if (event.type === "sealed") seals.push(readSeal(event.seal.bundle));
      else if (event.type === "opened") checkOpened(world.node(event.node), newest);
    },
    async atEnd(world) {
      for (const { node, replica } of membersOf(world)) {
        for (const write of [...newest.values()].flatMap((own) => [...own.values()])) {
          if (!mustBeThere(write, world) || replica.space.revocations.has(write.device)) continue;
          // A fork takes edits with it.
          if (write.key === undefined && isCut(replica, write)) continue;
          if (leavesOut(replica, write)) continue;
          if (!isStated(replica, write)) throw new Error(`${nameOf(write)} is not at ${node.id}`);
        }
      }
      if (unsealed.length === 0) return;
      const all = world.nodes.filter(({ kind }) => kind === "hub");
      if (all.some(({ lostMediaMs }) => lostMediaMs !== undefined)) return;
      const untold: ReadSeal[] = [];
      for (const { id } of all) untold.push(...(await sealsOf(world, id)).map(readSeal));
      const lost = unsealed.find((write) => !untold.some((seal) => covers(seal, write)));
      if (lost !== undefined) throw new Error(`${nameOf(lost)} is in no seal`);
    },
  };
}
