// SPDX-License-Identifier: Apache-2.0
/** The agent's end of the link: channels from leaves, on a TCP port of its own. */
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import type {
  Channel,
  DeviceSigner,
  Logger,
  RandomSource,
  SignatureVerifier,
  SpaceId,
  Transport,
} from "@ctxmesh/model";
import { MeshError, toMeshError } from "@ctxmesh/model";
import { authenticate } from "./authenticate.ts";
import type { Authentication } from "./authenticate.ts";
import { LinkChannel } from "./channel.ts";
import { leafPsk } from "./handshake.ts";
import type { LinkSession } from "./handshake.ts";

/** Connections that are not authenticated yet; with one more the oldest has to go, which has had its time: an honest one takes moments. */
const PENDING_CONNECTIONS = 256;

/** What an agent's listener for leaves is made of. */
export interface LinkServerOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** 32 bytes, of which the key of each leaf is made. */
  readonly secret: Uint8Array;
  readonly device: DeviceSigner;
  readonly space: SpaceId;
  /** Whether a device, hex, may connect. */
  readonly isMember: (device: string) => boolean;
  readonly verifier: SignatureVerifier;
  readonly random: RandomSource;
  readonly logger: Logger;
}

/** Creates the transport; `start` listens. One channel per device: a newer one replaces it. */
export const createLinkServer = (options: LinkServerOptions): Transport => new LinkServer(options);

class LinkServer implements Transport {
  readonly #options: LinkServerOptions;
  readonly #server: Server;
  /** Oldest first. */
  readonly #pending = new Set<Authentication>();
  /** All that are not closed yet; the newest of each device is in `#newest`, too. */
  readonly #channels = new Set<LinkChannel>();
  readonly #newest = new Map<string, LinkChannel>();
  #onChannel: ((channel: Channel) => void) | undefined;

  constructor(options: LinkServerOptions) {
    this.#options = options;
    this.#server = createServer({ noDelay: true, keepAlive: true }, (socket) => {
      void this.#authenticate(socket);
    });
  }

  async start(onChannel: (channel: Channel) => void): Promise<void> {
    if (this.#onChannel !== undefined) {
      throw new MeshError("INTERNAL", "the listener for leaves is already started");
    }
    this.#onChannel = onChannel;
    const { host, port, logger } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once("error", reject);
    this.#server.listen({ host, port }, resolve);
    try {
      await promise;
    } catch (cause) {
      this.#onChannel = undefined;
      const message = `can't listen for leaves on ${host}:${String(port)}: ${toMeshError(cause).message}`;
      const remedy = "choose another address or port, or stop whoever has it";
      throw new MeshError("ADDRESS_UNAVAILABLE", message, {
        field: "leaves.listen",
        remedy,
        cause,
      });
    }
    this.#server.off("error", reject);
    // Of a connection that could not be taken, such as for want of file descriptors; the next one may be.
    this.#server.on("error", (error) => {
      logger.warn("leaves.listen-failed", { reason: error.message });
    });
  }

  addresses(): readonly string[] {
    const address = this.#server.address();
    if (address === null || typeof address === "string") return [];
    const host = address.family === "IPv6" ? `[${address.address}]` : address.address;
    return [`tcp://${host}:${String(address.port)}`];
  }

  async stop(): Promise<void> {
    const closed = this.#server.listening
      ? new Promise((resolve) => this.#server.close(resolve))
      : undefined;
    this.#onChannel = undefined;
    const reason = "the node stops";
    for (const authentication of this.#pending) authentication.refuse(reason);
    await Promise.all([...this.#channels].map((channel) => channel.close(reason)));
    await closed;
  }

  async #authenticate(socket: Socket): Promise<void> {
    const { secret, isMember, logger } = this.#options;
    const address = `${socket.remoteAddress ?? "unknown"}:${String(socket.remotePort ?? 0)}`;
    const [oldest] = this.#pending;
    if (this.#pending.size >= PENDING_CONNECTIONS) oldest?.refuse("others are waiting");
    const handshake = {
      ...this.#options,
      role: "server",
      psk: (device: Uint8Array) => leafPsk(secret, device),
      accepts: isMember,
    } as const;
    const authentication = authenticate(socket, handshake, ({ session, early }) => {
      this.#pending.delete(authentication);
      this.#add(socket, address, session, early);
    });
    this.#pending.add(authentication);
    try {
      await authentication.settled;
    } catch (error) {
      this.#pending.delete(authentication);
      const { code, message: reason } = toMeshError(error);
      if (code === "AUTH_FAILED") logger.warn("peer.refused", { code, reason, address });
      else logger.debug("peer.left", { reason, address });
    }
  }

  #add(socket: Socket, address: string, session: LinkSession, early: Uint8Array): void {
    const { device } = session;
    const remote = { device, address, direction: "inbound", role: "agent", leaf: true } as const;
    const channel = new LinkChannel(socket, remote, session, early);
    const old = this.#newest.get(device);
    this.#channels.add(channel);
    this.#newest.set(device, channel);
    void old?.close("replaced by a newer channel");
    void this.#forgetWhenClosed(device, channel);
    this.#options.logger.info("channel.opened", { device, address });
    this.#onChannel?.(channel);
  }

  async #forgetWhenClosed(device: string, channel: LinkChannel): Promise<void> {
    const reason = await channel.closed;
    this.#channels.delete(channel);
    if (this.#newest.get(device) === channel) this.#newest.delete(device);
    this.#options.logger.info("channel.closed", { device, reason });
  }
}
