// SPDX-License-Identifier: Apache-2.0
/** TLS at a hub's door: version 1.3, with a hybrid key exchange wherever the other end has it. */
import { constants } from "node:crypto";
import { createSecureContext } from "node:tls";
import type { TlsOptions } from "node:tls";
import { LIMITS, MeshError, toMeshError } from "@ctxmesh/model";

/** What a door is protected with. Keys and certificates are PEM. */
export interface DoorTls {
  readonly key: string;
  /** The certificate, with those between it and an authority. */
  readonly cert: string;
  /** Who may vouch for clients' certificates; without it each has to be of the device that it is shown for. */
  readonly clientCa?: string;
  /** Whether who has no {@link HYBRID_GROUP} is turned away. */
  readonly requirePq?: boolean;
}

/** The hybrid group (draft-ietf-tls-ecdhe-mlkem): what is recorded today stays closed to a quantum computer. */
const HYBRID_GROUP = "X25519MLKEM768";
const CLASSICAL_GROUP = "X25519";

/** Whether this runtime has the hybrid group: OpenSSL 3.5 or later. */
function hasHybridGroup(): boolean {
  try {
    createSecureContext({ ecdhCurve: HYBRID_GROUP });
    return true;
  } catch {
    return false;
  }
}

function groupsFor(requirePq: boolean): string {
  if (hasHybridGroup()) return requirePq ? HYBRID_GROUP : `${HYBRID_GROUP}:${CLASSICAL_GROUP}`;
  if (!requirePq) return CLASSICAL_GROUP;
  throw new MeshError(
    "POLICY_REFUSED",
    `tls.requirePq is set, but OpenSSL ${process.versions.openssl} has no ${HYBRID_GROUP}`,
    {
      field: "tls.requirePq",
      remedy: "run a Node.js whose OpenSSL is 3.5 or later, or leave tls.requirePq out",
    },
  );
}

/** Settings of a server. Throws `KEY_INVALID` for a key or certificate that does not fit, `POLICY_REFUSED` where what is required is not to be had. */
export function tlsOptionsOf({ key, cert, clientCa, requirePq = false }: DoorTls): TlsOptions {
  const options: TlsOptions = {
    key,
    cert,
    ...(clientCa === undefined ? {} : { ca: clientCa }),
    minVersion: "TLSv1.3",
    maxVersion: "TLSv1.3",
    ecdhCurve: groupsFor(requirePq),
    // Probes and browsers have no certificate: whoever needs one is asked for it where it is needed.
    requestCert: true,
    rejectUnauthorized: false,
    // Sessions are never resumed: each handshake shows who the client is.
    secureOptions: constants.SSL_OP_NO_TICKET,
    handshakeTimeout: LIMITS.handshakeMs,
  };
  try {
    createSecureContext(options);
  } catch (cause) {
    throw new MeshError("KEY_INVALID", `TLS can't be set up: ${toMeshError(cause).message}`, {
      field: "tls",
      remedy: "check that key and certificate are PEM and belong together",
      cause,
    });
  }
  return options;
}
