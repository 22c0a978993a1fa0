// SPDX-License-Identifier: Apache-2.0
/** Where members may be dialled: what they signed, what was kept from the last time, what the local network says. */
import type { Logger } from "@ctxmesh/model";
import { LIMITS } from "@ctxmesh/model";
import type { Connection, Libp2p, PeerInfo, PrivateKey } from "@libp2p/interface";
import { isPrivate } from "@libp2p/utils";
import { deviceOf, dialable } from "./identity.ts";
import { LinkWatch } from "./link-watch.ts";
import type { Services } from "./node.ts";
import { PeerBook } from "./peer-book.ts";
import { PeerExchange } from "./peer-exchange.ts";
import type { Supervisor } from "./supervisor.ts";

/** Keeps a list of signed addresses (128 KiB at most) from one start to the next. */
export interface PeerMemory {
  /** What was kept last, if anything was. */
  load(): Promise<Uint8Array | undefined>;
  /** Replaces it. */
  save(list: Uint8Array): Promise<void>;
}

/** How long news may wait to be kept, in milliseconds: each time is a sync of the disk. */
const KEEP_EVERY_MS = 5_000;
/** Who was lost may be somewhere else soon: so long, and so often, others are asked where. */
const SEARCH_MS = 60_000;
const SEARCH_EVERY_MS = 2_000;
/** How often one of the connected peers, at random, is asked otherwise, in milliseconds. */
const ASK_EVERY_MS = 60_000;
/** How often hints about one device are heeded, in milliseconds: anybody on the local network can send them. */
const HINT_EVERY_MS = 5_000;

/** What discovery works with. */
export interface DiscoveryOptions {
  /** Our own device key, hex. */
  readonly self: string;
  readonly privateKey: PrivateKey;
  readonly isMember: (device: string) => boolean;
  readonly isConnected: (device: string) => boolean;
  readonly supervisor: Supervisor;
  readonly memory: PeerMemory | undefined;
  /** Called when the machine's links have changed. */
  readonly onLinks: () => void;
  /** Tells whether the machine may reach others again. */
  readonly links?: LinkWatch;
  readonly logger: Logger;
}

/** Feeds the supervisor of one node. */
export class Discovery {
  readonly #node: Libp2p<Services>;
  readonly #options: DiscoveryOptions;
  readonly #book: PeerBook;
  readonly #exchange: PeerExchange;
  readonly #links: LinkWatch;
  #lostAt = Number.NEGATIVE_INFINITY;
  readonly #hintedAt = new Map<string, number>();
  #keptChanges = 0;
  #keptAt = performance.now();
  #keeping: Promise<void> = Promise.resolve();

  constructor(node: Libp2p<Services>, options: DiscoveryOptions) {
    this.#node = node;
    this.#options = options;
    const { self, privateKey, isMember, supervisor, logger } = options;
    this.#links = options.links ?? new LinkWatch();
    this.#book = new PeerBook({
      self,
      isMember,
      onAddresses: (device, addresses) => {
        logger.debug("peer.located", { device, addresses: addresses.map(String) });
        supervisor.learn(device, addresses, "signed");
      },
      logger,
    });
    this.#exchange = new PeerExchange(node, { book: this.#book, privateKey, logger });
  }

  /** Answers peers from now on. Before the node starts. */
  async listen(): Promise<void> {
    await this.#exchange.listen();
  }

  /** Takes up what was kept. Never rejects: without it peers are found as if for the first time. */
  async recall(): Promise<void> {
    try {
      const list = await this.#options.memory?.load();
      if (list !== undefined) await this.#book.takeIn(list);
    } catch (error) {
      this.#options.logger.warn("peers.not-recalled", { reason: String(error) });
    }
    this.#keptChanges = this.#book.changes;
  }

  /** Takes what a connected peer has signed, and asks it what it knows. Never rejects. */
  async met(connection: Connection): Promise<void> {
    const { remotePeer } = connection;
    try {
      const { peerRecordEnvelope } = await this.#node.peerStore.get(remotePeer);
      if (peerRecordEnvelope !== undefined) await this.#book.met(remotePeer, peerRecordEnvelope);
    } catch (error) {
      this.#options.logger.debug("peers.not-met", { reason: String(error) });
    }
    await this.#exchange.ask(connection);
  }

  /** A member is not connected any more. */
  lost(): void {
    this.#lostAt = performance.now();
  }

  /** Tells these peers our addresses, which are new, and asks what they know. */
  moved(connections: readonly Connection[]): void {
    for (const connection of connections) void this.#exchange.ask(connection);
  }

  /** Takes what somebody on the local network says. */
  hint({ id, multiaddrs }: PeerInfo): void {
    const device = deviceOf(id);
    const { isMember, isConnected, self, supervisor, logger } = this.#options;
    if (device === undefined || device === self || !isMember(device) || isConnected(device)) return;
    const now = performance.now();
    if (now - (this.#hintedAt.get(device) ?? Number.NEGATIVE_INFINITY) < HINT_EVERY_MS) return;
    if (this.#hintedAt.size >= LIMITS.knownPeers) this.#hintedAt.clear();
    this.#hintedAt.set(device, now);
    const addresses = dialable(multiaddrs.filter(isPrivate), id);
    logger.debug("peer.hinted", { device, addresses: addresses.map(String) });
    supervisor.learn(device, addresses, "hint");
    supervisor.nudge(device);
  }

  /** Passes time; `others` are connections to relays. */
  tick(connections: readonly Connection[], others: readonly Connection[]): void {
    const { local } = this.#node.services;
    if (this.#links.changed()) {
      this.#options.logger.info("links.changed");
      this.#options.onLinks();
      this.#options.supervisor.nudge();
      local?.ask();
    }
    local?.tick(connections.length > 0);
    const searching = performance.now() - this.#lostAt < SEARCH_MS;
    const everyMs = searching ? SEARCH_EVERY_MS : ASK_EVERY_MS;
    this.#exchange.tick([...connections, ...others], everyMs);
    if (performance.now() - this.#keptAt >= KEEP_EVERY_MS) this.#keep();
  }

  /** Keeps what is not kept yet. Never rejects. */
  async stop(): Promise<void> {
    this.#keep();
    await this.#keeping;
  }

  #keep(): void {
    const { memory, logger } = this.#options;
    const { changes } = this.#book;
    this.#keptAt = performance.now();
    if (memory === undefined || changes === this.#keptChanges) return;
    this.#keptChanges = changes;
    const list = this.#book.encode();
    this.#keeping = this.#keeping
      .then(async () => memory.save(list))
      .catch((error: unknown) => {
        logger.warn("peers.unkept", { reason: String(error) });
      });
  }
}
