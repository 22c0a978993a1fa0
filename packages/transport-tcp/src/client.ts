// SPDX-License-Identifier: Apache-2.0
/** The leaf's end of the link, once: leaves themselves are other programs, so this is for whoever looks whether an agent takes them. */
import { connect } from "node:net";
import type { DeviceSigner, RandomSource, SignatureVerifier, SpaceId } from "@ctxmesh/model";
import { authenticate } from "./authenticate.ts";
import { LinkChannel } from "./channel.ts";

/** What a connection is made of. */
export interface LinkClientOptions {
  readonly host: string;
  readonly port: number;
  readonly device: DeviceSigner;
  readonly space: SpaceId;
  /** The device, hex, that the other end has to be. */
  readonly parent: string;
  /** See {@link leafPsk}. */
  readonly psk: Uint8Array;
  readonly verifier: SignatureVerifier;
  readonly random: RandomSource;
}

/**
 * Connects to an agent. Rejects with `AUTH_FAILED` when it is not the one that was expected, `UNREACHABLE` when nobody is there or the other end
 * hangs up, which is all that it does when it refuses us.
 */
export async function connectLink(options: LinkClientOptions): Promise<LinkChannel> {
  const { host, port, parent, psk } = options;
  const socket = connect({ host, port, noDelay: true, keepAlive: true });
  const { promise, resolve } = Promise.withResolvers<LinkChannel>();
  const handshake = {
    ...options,
    role: "client",
    psk: () => psk,
    accepts: (device: string) => device === parent,
  } as const;
  const { settled } = authenticate(socket, handshake, ({ session, early }) => {
    const { device } = session;
    const remote = { device, address: `${host}:${String(port)}`, direction: "outbound" } as const;
    resolve(new LinkChannel(socket, { ...remote, role: "agent" }, session, early));
  });
  await settled;
  return promise;
}
