// SPDX-License-Identifier: Apache-2.0
/**
 * Finds members on the local network by multicast DNS (RFC 6762, as libp2p uses it). Anybody there can answer anything:
 * what is heard is a hint of where to dial, and only who then proves to be that member is connected.
 */
import type { Logger } from "@ctxmesh/model";
import type { PeerInfo, Startable } from "@libp2p/interface";
import { isStartable } from "@libp2p/interface";
import { mdns } from "@libp2p/mdns";
import type { MulticastDNSComponents } from "@libp2p/mdns";

/** Apart from other libp2p programs, which use `_p2p._udp.local`. */
const SERVICE = "_ctxmesh._udp.local";
/** All who hear a question answer it, so that they are asked seldom: whoever is new has asked when it started. */
const ASK_EVERY_MS = 300_000;
/** While nobody is connected. */
const ASK_ALONE_EVERY_MS = 10_000;

/** What it tells of. */
export interface LocalDiscoveryOptions {
  readonly onHint: (peer: PeerInfo) => void;
  readonly logger: Logger;
}

/** Asks and answers on the local network; a service of a node, which starts and stops it. */
export class LocalDiscovery implements Startable {
  readonly #service: Startable;
  readonly #logger: Logger;
  #askedAt = Number.NEGATIVE_INFINITY;
  #running = false;
  #turn: Promise<void> = Promise.resolve();

  constructor(components: MulticastDNSComponents, { onHint, logger }: LocalDiscoveryOptions) {
    const service = mdns({ serviceTag: SERVICE, interval: ASK_EVERY_MS })(components);
    // Not left to the library, which would keep in memory whatever anybody says.
    service.addEventListener("peer", ({ detail }) => {
      onHint(detail);
    });
    if (!isStartable(service)) throw new Error("mDNS can't be started");
    this.#service = service;
    this.#logger = logger;
  }

  async start(): Promise<void> {
    this.#running = true;
    await this.#restart();
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#turn;
    await this.#service.stop();
  }

  /** Asks once more, on the links there are now. */
  ask(): void {
    this.#askedAt = performance.now();
    this.#turn = this.#turn.then(async () => this.#restart());
  }

  /** Asks while nobody is connected. */
  tick(connected: boolean): void {
    if (!connected && performance.now() - this.#askedAt >= ASK_ALONE_EVERY_MS) this.ask();
  }

  /** Starting is what asks. */
  async #restart(): Promise<void> {
    this.#askedAt = performance.now();
    try {
      await this.#service.stop();
      if (this.#running) await this.#service.start();
    } catch (error) {
      this.#logger.warn("discovery.failed", { reason: String(error) });
    }
  }
}
