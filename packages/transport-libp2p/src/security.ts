// SPDX-License-Identifier: Apache-2.0
/**
 * What connections are protected with, and what may not be accepted.
 *
 * Two peers agree on a handshake in plain text (multistream-select), so somebody in between can strike TLS from the offer
 * and leave Noise, whose key exchange is not post-quantum. Therefore a peer that has hybrid TLS says so once more
 * inside of each connection, as a protocol in its answer to `identify`, where only it can: two peers that both have it
 * and find themselves on Noise cut the connection before a channel or gossip goes over it.
 */
import { createSecureContext } from "node:tls";
import type { ChannelSecurity, Logger } from "@ctxmesh/model";
import { MeshError } from "@ctxmesh/model";
import type { Connection, IdentifyResult } from "@libp2p/interface";
import { deviceOf } from "./identity.ts";
import type { Refusals } from "./refusals.ts";

/** The protocol id of the TLS handshake. */
export const TLS_PROTOCOL = "/tls/1.0.0";
/** The one group of the key exchange that TLS is spoken with here. */
export const HYBRID_GROUP = "X25519MLKEM768";
/** The protocol id of the other handshake. */
export const NOISE_PROTOCOL = "/noise";

/** `prefer-pq`: hybrid TLS where both have it, else Noise. `require-pq`: hybrid TLS, or no connection. */
export type SecurityPolicy = "prefer-pq" | "require-pq";

/** A protocol that nobody speaks: listing it says that its peer has hybrid TLS. */
const HYBRID_MARK = `/ctxmesh/has${TLS_PROTOCOL}/${HYBRID_GROUP.toLowerCase()}`;

const BY_PROTOCOL: Readonly<Record<string, ChannelSecurity>> = {
  [TLS_PROTOCOL]: { protocol: "TLS 1.3", keyExchange: HYBRID_GROUP },
  [NOISE_PROTOCOL]: { protocol: "Noise", keyExchange: "X25519" },
};

/** What protects a connection. */
export function securityOf(connection: Connection): ChannelSecurity | undefined {
  return BY_PROTOCOL[connection.encryption ?? ""];
}

/** Whether this runtime has the group: OpenSSL 3.5 or later, which Node 24 brings unless it was built for the system's. */
function hasHybridGroup(): boolean {
  try {
    createSecureContext({ ecdhCurve: HYBRID_GROUP });
    return true;
  } catch {
    return false;
  }
}

/** What a node has and asks for, and its watch over downgrades. */
export class Security {
  /** Whether the runtime has the hybrid group. */
  readonly hybrid: boolean = hasHybridGroup();
  readonly policy: SecurityPolicy;
  readonly #logger: Logger;
  readonly #refusals: Refusals;
  /** Connections over Noise whose peer has said that it has nothing better. */
  readonly #settled = new WeakSet<Connection>();

  /** Throws `POLICY_REFUSED` when the policy requires what this runtime does not have. */
  constructor(policy: SecurityPolicy, logger: Logger, refusals: Refusals) {
    if (policy === "require-pq" && !this.hybrid) throw noHybrid();
    if (!this.hybrid) {
      logger.warn("security.classical", {
        lacking: HYBRID_GROUP,
        openssl: process.versions.openssl,
      });
    }
    this.policy = policy;
    this.#logger = logger;
    this.#refusals = refusals;
  }

  /** The protocols that a node lists without speaking them. */
  get marks(): readonly string[] {
    return this.hybrid ? [HYBRID_MARK] : [];
  }

  /** Whether something may be sent over a connection: it is as well protected as both of its ends can. */
  isSettled(connection: Connection): boolean {
    return !this.hybrid || connection.encryption === TLS_PROTOCOL || this.#settled.has(connection);
  }

  /** Judges a connection by what its peer says of itself; cuts it, and returns false, when it was downgraded. */
  settle({ connection, protocols, peerId }: IdentifyResult): boolean {
    if (this.isSettled(connection)) return true;
    if (!protocols.includes(HYBRID_MARK)) {
      this.#settled.add(connection);
      return true;
    }
    this.#refusals.count("security");
    this.#logger.error("peer.downgraded", {
      code: "AUTH_FAILED",
      device: deviceOf(peerId) ?? peerId.toString(),
      address: connection.remoteAddr.toString(),
      reason: `both ends have ${HYBRID_GROUP}, but somebody between them removed it from the offer`,
    });
    connection.abort(new Error("downgraded"));
    return false;
  }
}

const noHybrid = (): MeshError =>
  new MeshError(
    "POLICY_REFUSED",
    `mesh.security is require-pq, but OpenSSL ${process.versions.openssl} has no ${HYBRID_GROUP}`,
    {
      field: "mesh.security",
      remedy: "run a Node.js whose OpenSSL is 3.5 or later, or set mesh.security to prefer-pq",
    },
  );
