// SPDX-License-Identifier: Apache-2.0
/** The agent's end, or that of a hub below others: one channel to each configured hub, for ever. */
import type { Duplex } from "node:stream";
import type {
  Channel,
  ChannelSecurity,
  Clock,
  DeviceSigner,
  Logger,
  RandomSource,
  SignatureVerifier,
  SpaceId,
  Transport,
} from "@ctxmesh/model";
import { MeshError } from "@ctxmesh/model";
import { WebSocket } from "ws";
import type { AuthenticationFailure } from "./authentication.ts";
import { Authentication } from "./authentication.ts";
import { SocketChannel } from "./channel.ts";
import { parseHubUrl, Redial } from "./dialling.ts";
import { Handshake } from "./handshake.ts";
import { CLOSE_CODES, closeSocket, SOCKET_OPTIONS } from "./sockets.ts";
import { connectionOptions, securityOf } from "./tls.ts";
import type { HubTls } from "./tls.ts";

/** What an agent's WebSocket transport is made of. */
export interface WsClientOptions {
  /** `ws:` or `wss:` URLs of hubs; without a path, `/v1/sync` is meant. */
  readonly urls: readonly string[];
  /** How `wss:` URLs are connected to. */
  readonly tls?: HubTls;
  readonly device: DeviceSigner;
  readonly space: SpaceId;
  /** Whether a device, hex, is a hub of the space. */
  readonly hubs: (device: string) => boolean;
  readonly verifier: SignatureVerifier;
  readonly random: RandomSource;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Creates the transport; `start` begins to connect and resolves at once. After a failure it waits a random
 * time up to 250 ms, twice that after each further one, 30 s at most. Throws `CONFIG_INVALID` for a URL.
 */
export function createWsClient(options: WsClientOptions): Transport {
  const urls = options.urls.map(parseHubUrl);
  const plain = urls.find((url) => url.startsWith("ws:"));
  if (options.tls?.requirePq !== true || plain === undefined) return new WsClient(options, urls);
  throw new MeshError("CONFIG_INVALID", `hubTls.requirePq is set, but "${plain}" is without TLS`, {
    field: "hubs",
    remedy: "write it like wss://hub.example.org, or leave hubTls.requirePq out",
  });
}

class WsClient implements Transport {
  readonly #options: WsClientOptions;
  readonly #urls: readonly string[];
  #links: HubLink[] = [];

  constructor(options: WsClientOptions, urls: readonly string[]) {
    this.#options = options;
    this.#urls = urls;
  }

  start(onChannel: (channel: Channel) => void): Promise<void> {
    if (this.#links.length > 0) {
      return Promise.reject(new MeshError("INTERNAL", "the WebSocket client is already started"));
    }
    this.#links = this.#urls.map((url) => new HubLink(url, this.#options, onChannel));
    return Promise.resolve();
  }

  /** None: nobody can dial a client. */
  addresses(): readonly string[] {
    return [];
  }

  async stop(): Promise<void> {
    const links = this.#links;
    this.#links = [];
    await Promise.all(links.map((link) => link.stop()));
  }
}

/** The connection to one hub, over and over. Starts by itself. */
class HubLink {
  readonly #url: string;
  readonly #options: WsClientOptions;
  readonly #onChannel: (channel: Channel) => void;
  #socket: WebSocket | undefined;
  readonly #redial: Redial;
  #channel: SocketChannel | undefined;

  constructor(url: string, options: WsClientOptions, onChannel: (channel: Channel) => void) {
    this.#url = url;
    this.#options = options;
    this.#onChannel = onChannel;
    this.#redial = new Redial(url, options, () => {
      this.#connect();
    });
    this.#connect();
  }

  async stop(): Promise<void> {
    this.#redial.stop();
    const reason = "the node stops";
    if (this.#channel !== undefined) await this.#channel.close(reason);
    else if (this.#socket !== undefined) {
      await closeSocket(this.#socket, CLOSE_CODES.goingAway, reason);
    }
  }

  #connect(): void {
    const { device, space, hubs, verifier, random, tls = {} } = this.#options;
    const settings = { ...SOCKET_OPTIONS, ...connectionOptions(tls), followRedirects: false };
    const socket = new WebSocket(this.#url, settings);
    this.#socket = socket;
    const handshake = new Handshake({
      role: "client",
      device,
      space,
      accepts: hubs,
      verifier,
      random,
    });
    let connection: Duplex | undefined;
    const authentication = new Authentication(socket, handshake, {
      onDone: (remote) => {
        void this.#use(socket, remote, securityOf(connection));
      },
      onFailed: (failure) => {
        this.#failed(failure);
      },
    });
    socket.once("upgrade", (response) => {
      connection = response.socket;
    });
    socket.once("open", () => {
      if (connection !== undefined) authentication.begin(connection);
    });
  }

  async #use(socket: WebSocket, device: string, security?: ChannelSecurity): Promise<void> {
    const remote = { device, address: this.#url, direction: "outbound", role: "hub" } as const;
    const protection = security === undefined ? {} : { security };
    const channel = new SocketChannel(socket, { ...remote, ...protection });
    this.#channel = channel;
    await this.#redial.during(channel, this.#onChannel);
    this.#channel = undefined;
    this.#redial.later(channel.comeBackMs);
  }

  #failed({ kind, reason, code }: AuthenticationFailure): void {
    const refused = kind === "refused" || code === CLOSE_CODES.unauthorized;
    this.#redial.failed(refused ? "AUTH_FAILED" : "UNREACHABLE", reason);
  }
}
