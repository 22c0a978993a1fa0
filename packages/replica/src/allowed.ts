// SPDX-License-Identifier: Apache-2.0
import type { Role, Service } from "@ctxmesh/codec";
import { allows, roleAt } from "@ctxmesh/membership";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { DeviceKey, DocumentName } from "@ctxmesh/model";
import type { Records } from "./records.ts";

/**
 * Throws `POLICY_REFUSED` unless a device may write what needs a role, under a grant for `service` if one is named. A grant that has ended does not stop its device: what it writes
 * waits elsewhere for a renewed one.
 */
export function assertAllowed(
  records: Pick<Records, "space" | "isForkedOut">,
  device: DeviceKey,
  needed: Role,
  nowMs: number,
  service?: Service,
): void {
  const { space } = records;
  const revocation = space.revocations.get(device);
  if (revocation !== undefined) {
    throw new MeshError("POLICY_REFUSED", `this device was revoked: ${revocation.reason}`, {
      remedy: "ask whoever runs the space; a device that may come back needs a new key",
    });
  }
  if (records.isForkedOut(device)) {
    throw new MeshError(
      "POLICY_REFUSED",
      `${String(LIMITS.proofsPerDevice)} chains of this device are proven to fork, so nothing of it counts any more`,
      { remedy: "find who else has its key, and give this device a new one" },
    );
  }
  const now = roleAt(space, device, nowMs, service);
  const grants = (space.grants.get(device) ?? []).filter(
    (grant) => service === undefined || grant.service === service,
  );
  const roles = now === undefined ? grants.map(({ role }) => role) : [now];
  if (roles.some((role) => allows(role, needed))) return;
  throw new MeshError(
    "POLICY_REFUSED",
    roles.length === 0
      ? `this device has no grant in the space${service === undefined ? "" : ` as ${service}`}`
      : `this device's role is ${roles.join(", ")}, and this needs ${needed}`,
    { remedy: `ask whoever runs the space for a grant with the role ${needed} or more` },
  );
}

/** Throws `LIMIT_EXCEEDED` for a document that a local write would make larger than documents may be; `bytes` with that write. */
export function assertFits(doc: DocumentName, bytes: number): void {
  if (bytes <= LIMITS.documentBytes) return;
  throw new MeshError(
    "LIMIT_EXCEEDED",
    `document ${doc} would grow to ${String(bytes)} bytes, the limit is ${String(LIMITS.documentBytes)}`,
    { field: "doc", remedy: "spread the keys over more documents" },
  );
}
