// SPDX-License-Identifier: Apache-2.0
/**
 * Peers tell each other where the members are that they know of, as those have signed it. Protocol `/ctxmesh/peers/1.0.0`,
 * messages with a varint length in front: the asking end sends its digest (32 bytes), the other one its list
 * (`peer-book.ts`), which is empty when both have the same digest.
 */
import type { Logger } from "@ctxmesh/model";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { Connection, Libp2p, Stream } from "@libp2p/interface";
import { lpStream } from "@libp2p/utils";
import { deviceOf } from "./identity.ts";
import { MAX_LIST_BYTES } from "./peer-book.ts";
import type { PeerBook } from "./peer-book.ts";

const PROTOCOL = "/ctxmesh/peers/1.0.0";
const DIGEST_BYTES = 32;
/** How often one of the connected peers, at random, is asked, in milliseconds. */
const ASK_EVERY_MS = 60_000;

/** The exchange of one node. */
export class PeerExchange {
  readonly #node: Libp2p;
  readonly #book: PeerBook;
  readonly #logger: Logger;
  #askedAt = performance.now();

  constructor(node: Libp2p, book: PeerBook, logger: Logger) {
    this.#node = node;
    this.#book = book;
    this.#logger = logger;
  }

  /** Answers who asks, from now on. */
  async listen(): Promise<void> {
    const handler = async (stream: Stream, connection: Connection): Promise<void> => {
      const signal = AbortSignal.timeout(LIMITS.handshakeMs);
      const messages = lpStream(stream, { maxDataLength: DIGEST_BYTES });
      const theirs = (await messages.read({ signal })).subarray();
      const same = Buffer.compare(theirs, this.#digest()) === 0;
      const asking = deviceOf(connection.remotePeer);
      await messages.write(same ? new Uint8Array() : this.#book.encode(asking), { signal });
      await stream.close({ signal });
    };
    await this.#node.handle(PROTOCOL, handler, { maxInboundStreams: 2 });
  }

  /** Asks a peer. Never rejects: one that does not answer is asked another time. */
  async ask(connection: Connection): Promise<void> {
    const signal = AbortSignal.timeout(LIMITS.handshakeMs);
    let stream: Stream | undefined;
    try {
      stream = await connection.newStream(PROTOCOL, { signal });
      const messages = lpStream(stream, { maxDataLength: MAX_LIST_BYTES });
      await messages.write(this.#digest(), { signal });
      const list = (await messages.read({ signal })).subarray();
      await stream.close({ signal });
      await this.#book.takeIn(list);
    } catch (error) {
      stream?.abort(error instanceof Error ? error : new Error(String(error)));
      const device = deviceOf(connection.remotePeer);
      const violation = error instanceof MeshError ? error.code : undefined;
      const fields = { device, reason: String(error), ...(violation && { code: violation }) };
      this.#logger[violation === undefined ? "debug" : "warn"]("peers.not-told", fields);
    }
  }

  /** Asks one of these now and then. */
  tick(connections: readonly Connection[]): void {
    if (performance.now() - this.#askedAt < ASK_EVERY_MS) return;
    this.#askedAt = performance.now();
    const connection = connections[Math.floor(Math.random() * connections.length)];
    if (connection !== undefined) void this.ask(connection);
  }

  #digest(): Uint8Array {
    return this.#book.digest(this.#node.getMultiaddrs());
  }
}
