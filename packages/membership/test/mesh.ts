// SPDX-License-Identifier: Apache-2.0
/** Devices, spaces, and acts made by hand. */
import { actSigningInput, encodeAct } from "@ctxmesh/codec";
import type { Act, ActBase, GrantAct, InviteAct, PolicyAct, RevokeAct, Role } from "@ctxmesh/codec";
import type { SignedRecord } from "@ctxmesh/codec";
import { createDeviceSigner, createDeviceVerifier, sha256 } from "@ctxmesh/crypto";
import { addActs, createSpace, issueGrant } from "@ctxmesh/membership";
import type { AddedActs, KnownAct, Space } from "@ctxmesh/membership";
import {
  parseActId,
  parseDeviceKey,
  parseHeaderHash,
  parseIncarnationId,
  toHex,
} from "@ctxmesh/model";
import type { ActId, DeviceKey, DeviceSigner, SignatureVerifier } from "@ctxmesh/model";
import { createSeededRandom } from "@ctxmesh/testing";

export const START_MS: number = Date.UTC(2026, 0, 1);
export const DAY_MS = 86_400_000;
export const NOW_MS: number = START_MS + 20 * DAY_MS;
export const verifier: SignatureVerifier = createDeviceVerifier();

/** A device with its key in both forms. */
export interface Device {
  readonly key: DeviceKey;
  readonly signer: DeviceSigner;
  readonly seed: Uint8Array;
}

/** Device number `n`, 0 to 255. */
export function deviceOf(n: number): Device {
  const seed = new Uint8Array(32).fill(n);
  const signer = createDeviceSigner(seed);
  return { seed, signer, key: parseDeviceKey(toHex(signer.publicKey)) };
}

export const creator: Device = deviceOf(255);
export const second: Device = deviceOf(254);
/** Managers in the tests. */
export const [alice, bob, carol] = [deviceOf(1), deviceOf(2), deviceOf(3)];
/** Devices without the right to manage. */
export const [writer, reader, stranger] = [deviceOf(11), deviceOf(12), deviceOf(13)];

/** A fresh space without acts; `creator` and `second` are its creators. */
export const emptySpace = (seed = 1): Space =>
  createSpace({
    name: "plant",
    creator: creator.signer,
    creators: [second.key],
    now: START_MS,
    random: createSeededRandom(seed),
  });

/** A space with a grant of the creator for each device, from the start for 30 days. */
export const spaceWith = (roles: readonly (readonly [Device, Role])[], seed = 1): Space =>
  roles.reduce(
    (space, [device, role]) =>
      issueGrant(space, creator.signer, {
        device: device.key,
        service: "agent",
        role,
        notBefore: START_MS,
      }),
    emptySpace(seed),
  );

/** An act that was made by hand. */
export interface Made {
  readonly id: ActId;
  readonly act: Act;
  readonly record: SignedRecord;
}

/** Signs an act; `signer` when not its author. */
export function sign(act: Act, author: Device, signer: DeviceSigner = author.signer): Made {
  const body = encodeAct(act);
  return {
    id: parseActId(toHex(sha256(body))),
    act,
    record: { body, signature: signer.sign(actSigningInput(body)) },
  };
}

type Members<A extends Act> = Omit<A, keyof ActBase>;

/** The members of each kind, well formed. */
export const grantOf = (device: Device, members: Partial<GrantAct> = {}): Members<GrantAct> => ({
  kind: "grant",
  device: device.key,
  index: 1,
  service: "agent",
  role: "write",
  notBefore: START_MS,
  notAfter: START_MS + 30 * DAY_MS,
  ...members,
});
export const inviteOf = (device: Device, members: Partial<InviteAct> = {}): Members<InviteAct> => ({
  kind: "invite",
  key: device.key,
  service: "agent",
  role: "write",
  notAfter: START_MS + 7 * DAY_MS,
  ...members,
});
export const revokeOf = (device: Device, members: Partial<RevokeAct> = {}): Members<RevokeAct> => ({
  kind: "revoke",
  device: device.key,
  heads: [],
  reason: "lost",
  ...members,
});
export const policyOf = (epoch: number, members: Partial<PolicyAct> = {}): Members<PolicyAct> => ({
  kind: "policy",
  epoch,
  rules: "[]",
  ...members,
});

/** What an act made by hand says of its author's knowledge. */
export interface Circumstances {
  readonly authority?: ActId | null;
  readonly parents?: readonly ActId[];
  readonly time?: number;
  readonly signer?: DeviceSigner;
}

/** An act by a device, with the authority of a creator and no parents unless told otherwise. */
export function make(
  space: Space,
  author: Device,
  members: Members<GrantAct> | Members<InviteAct> | Members<RevokeAct> | Members<PolicyAct>,
  { authority = null, parents = [], time = START_MS + DAY_MS, signer }: Circumstances = {},
): Made {
  const base = { space: space.id, author: author.key, authority, parents, time };
  return sign({ ...base, ...members }, author, signer);
}

/** The space with acts in it. Throws when one of them is not taken. */
export function adding(space: Space, ...made: readonly Made[]): Space {
  const result = offering(space, ...made);
  const { refused, waiting } = result;
  if (refused.length > 0 || waiting > 0) {
    throw new Error(
      `${String(waiting)} waiting, refused: ${refused.map(({ message }) => message).join()}`,
    );
  }
  return result.space;
}

export const offering = (space: Space, ...made: readonly Made[]): AddedActs =>
  addActs(
    space,
    made.map(({ record }) => record),
    verifier,
    NOW_MS,
  );

/** The id of the act by which a device has its first grant. */
export function grantId(space: Space, device: Device): ActId {
  const found = space.acts.find(({ act }) => act.kind === "grant" && act.device === device.key);
  if (found === undefined) throw new Error("no grant");
  return found.id;
}

export const actOf = (space: Space, { id }: { readonly id: ActId }): KnownAct => {
  const found = space.acts.find((known) => known.id === id);
  if (found === undefined) throw new Error("no such act");
  return found;
};

/** Whether acts count, in the order asked. */
export const valid = (space: Space, ...made: readonly Made[]): readonly boolean[] =>
  made.map((act) => actOf(space, act).valid);

export const headOf = (
  incarnation: number,
  seq: number,
  hash = seq,
): RevokeAct["heads"][number] => ({
  incarnation: parseIncarnationId(incarnation.toString(16).padStart(32, "0")),
  seq,
  hash: parseHeaderHash(hash.toString(16).padStart(64, "0")),
});
