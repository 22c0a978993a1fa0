// SPDX-License-Identifier: Apache-2.0
/** New acts: each function returns the space with one more act, signed by whoever may. */
import { actSigningInput, encodeAct } from "@ctxmesh/codec";
import type {
  Act,
  ActBase,
  GrantAct,
  InviteAct,
  PolicyAct,
  RevokeAct,
  RevokedHead,
  Role,
  SchemaAct,
  Service,
} from "@ctxmesh/codec";
import type { Policy } from "@ctxmesh/facts";
import { LIMITS, MeshError, parseDeviceKey, toHex } from "@ctxmesh/model";
import type { ActId, DeviceKey, DeviceSigner, SignatureVerifier } from "@ctxmesh/model";
import { addActs } from "./add-acts.ts";
import { namedBy } from "./graph.ts";
import { encodeRules } from "./policy-record.ts";
import { allows } from "./roles.ts";
import { DEFAULT_GRANT_MS } from "./space.ts";
import type { Grant, Space } from "./space.ts";

/** The members of an act besides those that every act has. */
type Members<A extends Act> = Omit<A, keyof ActBase>;
type AnyMembers =
  | Members<GrantAct>
  | Members<InviteAct>
  | Members<RevokeAct>
  | Members<PolicyAct>
  | Members<SchemaAct>;

/** For what was signed a line above. */
const OWN: SignatureVerifier = { verify: () => true };

const refuse = (problem: string, remedy?: string): never => {
  throw new MeshError("POLICY_REFUSED", problem, remedy === undefined ? {} : { remedy });
};

function lastToEnd(grants: readonly Grant[]): Grant | undefined {
  return grants.toSorted((a, b) => b.notAfter - a.notAfter || (a.id < b.id ? -1 : 1))[0];
}

/** What lets a key author an act at a time: null for a creator. Whether it allows this act is judged with the act. */
function authorityOf(space: Space, author: DeviceKey, ms: number): ActId | null {
  if (space.genesis.creators.includes(author)) return null;
  if (space.revocations.has(author)) return refuse(`${author.slice(0, 12)} was revoked`);
  const managing = (space.grants.get(author) ?? []).filter(
    ({ role, notBefore, notAfter }) => allows(role, "manage") && notBefore <= ms && ms <= notAfter,
  );
  const grant = lastToEnd(managing);
  if (grant !== undefined) return grant.id;
  const invite = space.invites.get(author);
  if (invite !== undefined) return invite.id;
  return refuse(
    `${author.slice(0, 12)} is no creator of the space and has no grant with the role manage for this time`,
    "sign with the key of a creator or of a manager",
  );
}

/**
 * What a new act names as known: all heads. Of more than an act can name, those that have acts of `device`
 * behind them come first, since a revocation strikes what it does not know.
 */
function parentsOf(space: Space, device: DeviceKey | undefined): readonly ActId[] {
  if (space.heads.length <= LIMITS.actParents) return space.heads;
  const behind = new Set<ActId>();
  for (const { id, act } of space.acts) {
    if (act.author === device || namedBy(act).some((parent) => behind.has(parent))) behind.add(id);
  }
  const first = space.heads.filter((head) => behind.has(head));
  const others = space.heads.filter((head) => !behind.has(head));
  return [...first, ...others].slice(0, LIMITS.actParents).toSorted();
}

function addOwn(space: Space, signer: DeviceSigner, members: AnyMembers, time: number): Space {
  const key = parseDeviceKey(toHex(signer.publicKey));
  const body = encodeAct({
    space: space.id,
    author: key,
    authority: authorityOf(space, key, time),
    parents: parentsOf(space, members.kind === "revoke" ? members.device : undefined),
    time,
    ...members,
  });
  const record = { body, signature: signer.sign(actSigningInput(body)) };
  const { space: grown, refused } = addActs(space, [record], OWN, time);
  const [refusal] = refused;
  if (refusal !== undefined) throw new MeshError(refusal.code, refusal.message);
  return grown;
}

/**
 * The space with one more grant. Throws `POLICY_REFUSED` when the signer may not grant that or the device was
 * revoked, `FORMAT_INVALID` for times that are not whole numbers or end before they begin, `LIMIT_EXCEEDED`.
 */
export function issueGrant(
  space: Space,
  signer: DeviceSigner,
  grant: {
    readonly device: DeviceKey;
    readonly service: Service;
    readonly role: Role;
    /** Unix milliseconds. */
    readonly notBefore: number;
    /** Default: {@link DEFAULT_GRANT_MS} after `notBefore`. */
    readonly notAfter?: number;
    /** When the act is made, Unix milliseconds; default: `notBefore`. */
    readonly now?: number;
  },
): Space {
  const { device, service, role, notBefore } = grant;
  if (space.revocations.has(device)) {
    return refuse(
      `the device ${device.slice(0, 12)} was revoked, which is for good`,
      "let the device make a new key",
    );
  }
  const index = 1 + space.acts.filter(({ act }) => act.kind === "grant").length;
  const notAfter = grant.notAfter ?? notBefore + DEFAULT_GRANT_MS;
  const members = { kind: "grant", device, index, service, role, notBefore, notAfter } as const;
  return addOwn(space, signer, members, grant.now ?? notBefore);
}

/** The space with one more invite. Throws `POLICY_REFUSED` when the signer may not invite or the key is or was that of another invite, `FORMAT_INVALID`, `LIMIT_EXCEEDED`. */
export function issueInvite(
  space: Space,
  signer: DeviceSigner,
  invite: {
    /** Public key of the invite; whoever has the private one may join. */
    readonly key: DeviceKey;
    readonly service: Service;
    readonly role: Role;
    /** Unix milliseconds. */
    readonly now: number;
    /** Unix milliseconds. */
    readonly notAfter: number;
  },
): Space {
  const { key, service, role, now, notAfter } = invite;
  if (space.revocations.has(key) || space.invites.has(key)) {
    return refuse(`the key ${key.slice(0, 12)} was used before`, "make a new key for each invite");
  }
  return addOwn(space, signer, { kind: "invite", key, service, role, notAfter }, now);
}

/**
 * The space with a device or an invite revoked for good. Of the device's chains those batches stand that
 * `heads` names or comes after; everything else that it wrote, or will write, is void. Throws `POLICY_REFUSED` when the
 * signer may not revoke or the device is a creator, `LIMIT_EXCEEDED` over `LIMITS.headsPerRevocation`,
 * `FORMAT_INVALID`.
 */
export function revokeDevice(
  space: Space,
  signer: DeviceSigner,
  revocation: {
    /** The key of a device or of an invite. */
    readonly device: DeviceKey;
    /** The last batch that stands of each chain. */
    readonly heads: readonly RevokedHead[];
    /** `LIMITS.reasonBytes`, no control characters. */
    readonly reason: string;
    /** Unix milliseconds. */
    readonly now: number;
  },
): Space {
  const { device, reason } = revocation;
  if (revocation.heads.length > LIMITS.headsPerRevocation) {
    throw new MeshError(
      "LIMIT_EXCEEDED",
      `a revocation names ${String(LIMITS.headsPerRevocation)} chains at most, not ${String(revocation.heads.length)}`,
      { field: "heads" },
    );
  }
  const heads = revocation.heads.toSorted((a, b) => (a.incarnation < b.incarnation ? -1 : 1));
  return addOwn(space, signer, { kind: "revoke", device, heads, reason }, revocation.now);
}

/**
 * The space with another policy. `now` is Unix milliseconds, by default the time of the newest known act. Throws
 * `POLICY_REFUSED` when the signer may not set it or its epoch does not rise, `INPUT_INVALID`, `LIMIT_EXCEEDED`.
 */
export function setPolicy(
  space: Space,
  signer: DeviceSigner,
  policy: Policy,
  now: number = newestTime(space),
): Space {
  if (policy.epoch <= space.policy.epoch) {
    throw new MeshError(
      "POLICY_REFUSED",
      `policy epoch ${String(policy.epoch)} is not above the present ${String(space.policy.epoch)}`,
      { field: "epoch" },
    );
  }
  const members = { kind: "policy", epoch: policy.epoch, rules: encodeRules(policy) } as const;
  return addOwn(space, signer, members, now);
}

/**
 * The space with one more version of a schema. Whether the entry, canonical JSON, is one, and may follow what is published, is for `@ctxmesh/schema` to say
 * first. `now` is Unix milliseconds. Throws `POLICY_REFUSED` when the signer may not publish, `INPUT_INVALID`, `FORMAT_INVALID`, `LIMIT_EXCEEDED`.
 */
export const publishSchema = (
  space: Space,
  signer: DeviceSigner,
  entry: string,
  now: number,
): Space => addOwn(space, signer, { kind: "schema", entry }, now);

const newestTime = ({ acts, genesis }: Space): number =>
  acts.reduce((newest, { act }) => Math.max(newest, act.time), genesis.createdAt);
