// SPDX-License-Identifier: Apache-2.0
/** The handshakes that a node offers. */
import { noise } from "@chainsafe/libp2p-noise";
import type { NoiseComponents } from "@chainsafe/libp2p-noise";
import { MeshError } from "@ctxmesh/model";
import type { ConnectionEncrypter, PrivateKey, Upgrader } from "@libp2p/interface";
import { HYBRID_GROUP, NOISE_PROTOCOL } from "./security.ts";
import type { Refusals } from "./refusals.ts";
import type { Security } from "./security.ts";
import { hybridTls } from "./tls.ts";

/** Makes an encrypter from what libp2p has by then. */
export type CreateEncrypter = (
  components: NoiseComponents & { readonly upgrader: Upgrader },
) => ConnectionEncrypter;

/** The handshakes that a policy allows and this runtime has, the best one first. */
export async function createHandshakes(
  { policy, hybrid }: Security,
  privateKey: PrivateKey,
  refusals: Refusals,
): Promise<CreateEncrypter[]> {
  const classical = policy === "require-pq" ? refuseNoise(refusals) : noise();
  return hybrid ? [await hybridTls(privateKey), classical] : [classical];
}

/** Takes the place of Noise, so that who would speak it is refused by name and not only for want of a protocol. */
const refuseNoise = (refusals: Refusals) => (): ConnectionEncrypter => ({
  protocol: NOISE_PROTOCOL,
  secureInbound: async (connection) => refuse(connection, "inbound", refusals),
  secureOutbound: async (connection) => refuse(connection, "outbound", refusals),
});

function refuse(connection: object, direction: "inbound" | "outbound", refusals: Refusals): never {
  const reason = `the peer offers no ${HYBRID_GROUP} (mesh.security is require-pq)`;
  const address = addressOf(connection);
  refusals.note({ kind: "security", code: "POLICY_REFUSED", reason, address, direction });
  throw new MeshError("POLICY_REFUSED", reason);
}

/** Where a connection comes from; a stream that is no connection of a transport does not know. */
function addressOf(connection: object): string {
  return "remoteAddr" in connection ? String(connection.remoteAddr) : "unknown";
}
