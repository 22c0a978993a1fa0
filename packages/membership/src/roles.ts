// SPDX-License-Identifier: Apache-2.0
/** Questions about who may do what in a space. */
import { ROLES } from "@ctxmesh/codec";
import type { Role, Service } from "@ctxmesh/codec";
import { LIMITS } from "@ctxmesh/model";
import type { DeviceKey } from "@ctxmesh/model";
import type { Grant, Space } from "./space.ts";

/** Whether a role allows what `needed` allows. */
export const allows = (role: Role, needed: Role): boolean =>
  ROLES.indexOf(role) >= ROLES.indexOf(needed);

const offers = (given: Service, wanted: Service | undefined): boolean =>
  wanted === undefined || given === wanted;

/** Whether a device has a grant, of a service if one is named, at whatever time, and is not revoked. */
export const isMember = (space: Space, device: DeviceKey, service?: Service): boolean =>
  space.grants.get(device)?.some((grant) => offers(grant.service, service)) === true;

/**
 * Whether a key may connect at a time (Unix milliseconds): a device with a grant that covers it, or that
 * ended less than `LIMITS.grantGraceMs` before; or an invite until it ends. Never a revoked one. A grant may
 * begin up to `LIMITS.clockAheadMs` later, since its issuer's clock may be ahead of ours.
 */
export function isWelcome(
  space: Space,
  device: DeviceKey,
  nowMs: number,
  service?: Service,
): boolean {
  const invite = space.invites.get(device);
  if (invite !== undefined && nowMs <= invite.notAfter && offers(invite.service, service)) {
    return true;
  }
  const grants = space.grants.get(device) ?? [];
  return grants.some(
    (grant) =>
      offers(grant.service, service) &&
      grant.notBefore <= nowMs + LIMITS.clockAheadMs &&
      nowMs < grant.notAfter + LIMITS.grantGraceMs,
  );
}

/**
 * The strongest role among a device's grants that cover a time (Unix milliseconds, both ends included). A
 * revocation does not change the answer: what of a revoked device's chains stands was written under its
 * grants. Whether it is revoked is a question to `space.revocations`. With `service`, among those for
 * that one.
 */
export function roleAt(
  space: Space,
  device: DeviceKey,
  ms: number,
  service?: Service,
): Role | undefined {
  const grants: readonly Grant[] =
    space.grants.get(device) ?? space.revocations.get(device)?.grants ?? [];
  let strongest: Role | undefined;
  for (const { role, notBefore, notAfter, service: given } of grants) {
    const covers = notBefore <= ms && ms <= notAfter && offers(given, service);
    if (covers && (strongest === undefined || allows(role, strongest))) strongest = role;
  }
  return strongest;
}
