// SPDX-License-Identifier: Apache-2.0
/**
 * The key that all nodes of a private network share (libp2p/specs, pnet/Private-Networks-PSK-V1.md). Every byte of a
 * connection is encrypted with it, below the handshake (XSalsa20, a nonce of 24 bytes each way), so that who lacks it
 * gets not even to the offer of handshakes. It keeps out; it does not authenticate: the handshake does.
 */
import { MeshError } from "@ctxmesh/model";

/** The file: two lines that say what it is, then 32 bytes in hex. The same as other libp2p programs read. */
const FORM = /^\/key\/swarm\/psk\/1\.0\.0\/\n\/base16\/\n(?<key>[0-9a-f]{64})\n?$/u;

/** Checks the text of a key file, and returns its bytes in their one form. Throws `KEY_INVALID`. */
export function parseNetworkKey(text: string): Uint8Array {
  const key = FORM.exec(text)?.groups?.["key"];
  if (key === undefined) {
    throw new MeshError("KEY_INVALID", "the network key is not in the form of a swarm.key file", {
      field: "mesh.networkKey",
      remedy:
        "make one with: printf '/key/swarm/psk/1.0.0/\\n/base16/\\n%s\\n' \"$(openssl rand -hex 32)\"",
    });
  }
  return new TextEncoder().encode(`/key/swarm/psk/1.0.0/\n/base16/\n${key}`);
}
