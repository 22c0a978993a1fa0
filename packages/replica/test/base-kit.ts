// SPDX-License-Identifier: Apache-2.0
/** Hubs, newcomers, and bases on their way from one to the other. */
import { issueGrant } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { parseDocumentName } from "@ctxmesh/model";
import type { DocumentName } from "@ctxmesh/model";
import type { BaseNeed, BasePiece, BaseProgress, Replica } from "@ctxmesh/replica";
import { createVirtualClock } from "@ctxmesh/testing";
import type { VirtualClock } from "@ctxmesh/testing";
import { decodeManifest } from "../src/base-format.ts";
import type { SignedManifest } from "../src/base-format.ts";
import {
  DAY_MS,
  DOC,
  START_MS,
  creator,
  deviceOf,
  forgeChain,
  open,
  spaceWith,
  us,
  writer,
} from "./mesh.ts";
import type { Device, OpenOptions } from "./mesh.ts";

export const hub: Device = deviceOf(20);
export const newcomer: Device = deviceOf(21);

/** The batches are not to be had, whatever a base costs. */
export const PRUNED: BaseNeed = { batches: 0, pruned: true };

/** A space in which a device is a hub, too. */
export const withHub = (space: Space, device = hub): Space =>
  issueGrant(space, creator.signer, {
    device: device.key,
    service: "hub",
    role: "write",
    notBefore: START_MS - DAY_MS,
  });

/** A space in which a device may write, too. */
export const withAgent = (space: Space, device: Device): Space =>
  issueGrant(space, creator.signer, {
    device: device.key,
    service: "agent",
    role: "write",
    notBefore: START_MS - DAY_MS,
  });

/** Brings the newest base of one replica to another, piece by piece; what became of it. */
export async function bringBase(
  from: Replica,
  to: Replica,
  need: BaseNeed = PRUNED,
): Promise<BaseProgress | undefined> {
  const offered = await from.bases.offer();
  return offered === undefined ? undefined : goOn(from, to, offered, need);
}

/** Goes on with a piece until nothing more is asked for. */
export async function goOn(
  from: Replica,
  to: Replica,
  first: BasePiece,
  need: BaseNeed = PRUNED,
): Promise<BaseProgress> {
  let progress = await to.bases.take(first, need);
  while (progress.kind === "more") {
    const piece = await from.bases.part(progress.name, progress.part);
    if (piece === undefined) throw new Error("a part is not there");
    progress = await to.bases.take(piece, need);
  }
  return progress;
}

/** A second hub, and a manager. */
export const [hub2, other]: readonly [Device, Device] = [deviceOf(22), deviceOf(7)];
/** Everybody may write; two are hubs. */
export const space: Space = withAgent(
  withHub(
    withHub(
      spaceWith([
        [us, "write"],
        [writer, "write"],
        [other, "manage"],
      ]),
    ),
    hub2,
  ),
  newcomer,
);
export const clock: VirtualClock = createVirtualClock(START_MS);
export const DOCS: readonly DocumentName[] = Array.from({ length: 30 }, (_, n) =>
  parseDocumentName(`line/press-${String(n)}`),
);

/** Text that can't be packed. */
function noise(seed: number): string {
  let text = "";
  for (let n = seed + 7; text.length < 30_000; n = (n * 48_271) % 2_147_483_647) {
    text += n.toString(36);
  }
  return text;
}

/** A hub with batches of its own and of another: facts, a deletion, text, and a document that takes more than one part. */
export async function fillHub(): Promise<Replica> {
  const at = await open({ device: hub, space, clock });
  for (const { bytes } of forgeChain(12, { space })) await at.receive(bytes);
  for (const doc of DOCS) await at.put(doc, [{ key: "temperature", value: doc }]);
  await at.put(DOC, [{ key: "gone", value: 1 }]);
  await at.delete(DOC, ["gone"]);
  await at.edit(DOC, (roots) => roots.text("notes").insert(0, "checked"));
  for (let i = 0; i < 20; i++) {
    await at.put(parseDocumentName("large"), [{ key: `k${String(i)}`, value: noise(i) }]);
  }
  return at;
}

/** A base with all of its pieces, by number. */
export interface Pieces {
  readonly base: SignedManifest;
  readonly pieces: readonly BasePiece[];
}

/** All pieces of the newest base of a replica. */
export async function piecesOf(at: Replica): Promise<Pieces> {
  const offered = await at.bases.offer();
  if (offered === undefined) throw new Error("no base");
  const base = decodeManifest(offered.bytes);
  const pieces = [offered];
  for (let part = 1; part <= base.manifest.parts.length; part++) {
    const piece = await at.bases.part(base.name, part);
    if (piece === undefined) throw new Error("no part");
    pieces.push(piece);
  }
  return { base, pieces };
}

/** A replica of a device that has nothing. */
export const fresh = (options: OpenOptions = {}): Promise<Replica> =>
  open({ device: newcomer, space, clock, ...options });

/** Takes pieces as they are asked for; what it came to. */
export async function feed(to: Replica, pieces: readonly BasePiece[]): Promise<string> {
  const at = (part: number): BasePiece => {
    const piece = pieces[part];
    if (piece === undefined) throw new Error("no such part");
    return piece;
  };
  let progress = await to.bases.take(at(0), PRUNED);
  while (progress.kind === "more") progress = await to.bases.take(at(progress.part), PRUNED);
  return progress.kind === "useless" ? progress.reason : progress.kind;
}
