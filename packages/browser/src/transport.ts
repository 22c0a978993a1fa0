// SPDX-License-Identifier: Apache-2.0
/** The port `Transport` in a page: one channel to each URL, for ever, over WebSockets and their handshake of device keys. */
import { LIMITS, toMeshError } from "@ctxmesh/model";
import type {
  Channel,
  Clock,
  DeviceSigner,
  Logger,
  RandomSource,
  SignatureVerifier,
  SpaceId,
  Transport,
} from "@ctxmesh/model";
import { CLOSE_CODES, Handshake, Redial, parseHubUrl } from "@ctxmesh/transport-ws";
import { PageChannel, closeSocket } from "./channel.ts";

/** Both ends compare what they have twice a minute: who is silent for so many milliseconds is gone. A page can't ping. */
const SILENCE_MS = 180_000;
const LOOK_MS = 15_000;

/** What the transport is made of. */
export interface PageTransportOptions {
  /** `ws:` or `wss:` URLs of hubs, or of agents that listen for devices; without a path, `/v1/sync` is meant. */
  readonly urls: readonly string[];
  readonly device: DeviceSigner;
  readonly space: SpaceId;
  /** What a device, hex, is to be talked to as; undefined for nobody. */
  readonly roleOf: (device: string) => "agent" | "hub" | undefined;
  readonly verifier: SignatureVerifier;
  readonly random: RandomSource;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Creates the transport; `start` begins to connect and resolves at once. Throws `CONFIG_INVALID` for a URL. */
export function createPageTransport(options: PageTransportOptions): Transport {
  const urls = [...new Set(options.urls.map(parseHubUrl))];
  let links: readonly Link[] = [];
  return {
    async start(onChannel) {
      links = urls.map((url) => new Link(url, options, onChannel));
    },
    // Nobody can dial a page.
    addresses: () => [],
    async stop() {
      await Promise.all(links.map(async (link) => link.stop()));
    },
  };
}

/** The connection to one URL, over and over. Starts by itself. */
class Link {
  readonly #url: string;
  readonly #options: PageTransportOptions;
  readonly #onChannel: (channel: Channel) => void;
  readonly #redial: Redial;
  readonly #watch: ReturnType<typeof setInterval>;
  #attempt: { readonly end: (reason: string) => void } | undefined;
  #channel: PageChannel | undefined;

  constructor(url: string, options: PageTransportOptions, onChannel: (channel: Channel) => void) {
    this.#url = url;
    this.#options = options;
    this.#onChannel = onChannel;
    this.#redial = new Redial(url, options, () => {
      this.#connect();
    });
    addEventListener("online", this.#onOnline);
    addEventListener("offline", this.#onOffline);
    this.#watch = setInterval(() => {
      if ((this.#channel?.silentMs ?? 0) > SILENCE_MS) this.#channel?.cut("it is silent");
    }, LOOK_MS);
    this.#connect();
  }

  async stop(): Promise<void> {
    this.#redial.stop();
    clearInterval(this.#watch);
    removeEventListener("online", this.#onOnline);
    removeEventListener("offline", this.#onOffline);
    this.#attempt?.end("the page stops");
    await this.#channel?.close("the page stops");
  }

  /** There is a network again: no need to wait for the end of a pause. */
  readonly #onOnline = (): void => {
    this.#redial.reset();
    if (this.#channel === undefined && this.#attempt === undefined) this.#connect();
  };

  /** The network is gone, and what is sent would wait for an answer for minutes. What is reached without one is there again in moments. */
  readonly #onOffline = (): void => {
    this.#channel?.cut("the browser is offline");
  };

  #connect(): void {
    const { device, space, roleOf, verifier, random } = this.#options;
    let socket: WebSocket;
    try {
      socket = new WebSocket(this.#url);
    } catch (error) {
      // Such as a page over https, which may not connect over ws.
      this.#redial.failed("UNREACHABLE", toMeshError(error).message);
      return;
    }
    socket.binaryType = "arraybuffer";
    const accepts = (remote: string): boolean => roleOf(remote) !== undefined;
    const handshake = new Handshake({ role: "client", device, space, accepts, verifier, random });
    const attempt = new AbortController();
    const { signal } = attempt;
    const settle = (): void => {
      attempt.abort();
      clearTimeout(deadline);
      this.#attempt = undefined;
    };
    const end = (reason: string): void => {
      settle();
      closeSocket(socket, CLOSE_CODES.unauthorized, reason);
      this.#redial.failed("UNREACHABLE", reason);
    };
    const deadline = setTimeout(() => {
      end(`not authenticated after ${String(LIMITS.handshakeMs)} ms`);
    }, LIMITS.handshakeMs);
    this.#attempt = { end };
    const send = (messages: readonly Uint8Array[]): void => {
      for (const message of messages) socket.send(message as Uint8Array<ArrayBuffer>);
    };
    const onMessage = ({ data }: MessageEvent<unknown>): void => {
      try {
        const step = handshake.receive(new Uint8Array(data instanceof ArrayBuffer ? data : []));
        send(step.send);
        if (step.device === undefined) return;
        settle();
        void this.#use(socket, step.device);
      } catch (error) {
        end(toMeshError(error).message);
      }
    };
    const onClose = ({ code, reason }: CloseEvent): void => {
      // A browser does not say why there is no connection.
      end(reason === "" ? `closed with code ${String(code)}` : reason);
    };
    socket.addEventListener("open", () => send(handshake.start()), { signal });
    socket.addEventListener("message", onMessage, { signal });
    socket.addEventListener("close", onClose, { signal });
  }

  async #use(socket: WebSocket, device: string): Promise<void> {
    const role = this.#options.roleOf(device) ?? "agent";
    const remote = { device, address: this.#url, direction: "outbound", role } as const;
    const channel = new PageChannel(socket, remote);
    this.#channel = channel;
    await this.#redial.during(channel, this.#onChannel);
    this.#channel = undefined;
    this.#redial.later(channel.comeBackMs);
  }
}
