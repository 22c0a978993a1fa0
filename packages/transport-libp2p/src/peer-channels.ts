// SPDX-License-Identifier: Apache-2.0
/** At most one channel per peer: who opens it, and what replaces what. */
import type { Channel, Logger } from "@ctxmesh/model";
import { LIMITS } from "@ctxmesh/model";
import type { Connection, Stream } from "@libp2p/interface";
import { StreamChannel } from "./channel.ts";
import { deviceOf } from "./identity.ts";
import type { Refusals } from "./refusals.ts";
import { securityOf } from "./security.ts";

/** The protocol id of a channel's stream. */
export const SYNC_PROTOCOL = "/ctxmesh/sync/3.0.0";

const SYNC_FAMILY = "/ctxmesh/sync/";

/** Those of a peer's protocols that are a version of the sync protocol. */
export const versionsOf = (protocols: readonly string[]): readonly string[] =>
  protocols.filter((protocol) => protocol.startsWith(SYNC_FAMILY));

/** What the channels of a node need to know. */
export interface PeerChannelsOptions {
  /** Our own device key, hex. */
  readonly self: string;
  readonly isMember: (device: string) => boolean;
  /** Whether a connection is protected well enough to open a channel over it. */
  readonly isSettled: (connection: Connection) => boolean;
  readonly onChannel: (channel: Channel) => void;
  readonly refusals: Refusals;
  readonly logger: Logger;
}

/**
 * The channels of a node by device. The end with the lower device key (which is the order of the
 * PeerIds, too) opens the stream, whoever dialled; the other end only accepts. So the two can never
 * open one each, and a second stream means that the opener has lost the first, which then gives way.
 */
export class PeerChannels {
  readonly #options: PeerChannelsOptions;
  readonly #channels = new Map<string, StreamChannel>();
  readonly #opening = new Set<string>();
  #stopped = false;

  constructor(options: PeerChannelsOptions) {
    this.#options = options;
  }

  has(device: string): boolean {
    return this.#channels.has(device);
  }

  /** Opens the channel over a connection if that is ours to do and there is none. Never rejects. */
  async open(device: string, connection: Connection): Promise<void> {
    const { self, isSettled } = this.#options;
    if (self >= device || this.has(device) || this.#opening.has(device)) return;
    if (!isSettled(connection)) return;
    this.#opening.add(device);
    try {
      const signal = AbortSignal.timeout(LIMITS.handshakeMs);
      const stream = await connection.newStream(SYNC_PROTOCOL, {
        signal,
        // Through a relay, too, which limits how long a connection lasts.
        runOnLimitedConnection: true,
      });
      this.#add(device, stream, connection);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#options.logger.debug("channel.not-opened", { device, reason });
    } finally {
      this.#opening.delete(device);
    }
  }

  /** Takes a stream that a peer opened. */
  accept(stream: Stream, connection: Connection): void {
    const device = deviceOf(connection.remotePeer);
    if (device !== undefined && this.#options.self > device) {
      this.#add(device, stream, connection);
      return;
    }
    stream.abort(new Error("not the peer's to open"));
    this.#options.refusals.note({
      kind: "protocol",
      code: "PROTOCOL_VIOLATION",
      reason: "the channel is not the remote's to open",
      device: device ?? connection.remotePeer.toString(),
      address: connection.remoteAddr.toString(),
      direction: connection.direction,
    });
  }

  /** Closes the channel to a device, if there is one. */
  async close(device: string, reason: string): Promise<void> {
    await this.#channels.get(device)?.close(reason);
  }

  /** Closes all channels; none is opened or accepted after that. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const open = [...this.#channels.values()];
    await Promise.all(open.map((channel) => channel.close("the node stops")));
  }

  #add(device: string, stream: Stream, connection: Connection): void {
    if (this.#stopped || !this.#options.isMember(device)) {
      stream.abort(new Error("refused"));
      if (!this.#stopped) connection.abort(new Error("not a member"));
      return;
    }
    const old = this.#channels.get(device);
    this.#channels.delete(device);
    void old?.close("replaced by a newer channel");

    const { logger, onChannel, refusals } = this.#options;
    const { direction } = connection;
    const address = connection.remoteAddr.toString();
    const security = securityOf(connection);
    const channel = new StreamChannel(
      stream,
      {
        device,
        address,
        direction,
        role: "agent",
        ...(security === undefined ? {} : { security }),
      },
      (reason) => {
        const found = { reason, device, address, direction };
        refusals.note({ kind: "protocol", code: "PROTOCOL_VIOLATION", ...found });
        connection.abort(new Error(reason));
      },
    );
    this.#channels.set(device, channel);
    void this.#forgetWhenClosed(device, channel);
    logger.info("channel.opened", { device, address, direction, ...security });
    onChannel(channel);
  }

  async #forgetWhenClosed(device: string, channel: StreamChannel): Promise<void> {
    const reason = await channel.closed;
    if (this.#channels.get(device) === channel) this.#channels.delete(device);
    this.#options.logger.info("channel.closed", { device, reason });
  }
}
