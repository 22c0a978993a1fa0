// SPDX-License-Identifier: Apache-2.0
/**
 * Peers tell each other where the members are that they know of, as those have signed it. Protocol `/ctxmesh/peers/2.0.0`,
 * messages with a varint length in front: the asking end sends its digest (32 bytes) and a list (`peer-book.ts`) of its own
 * signed envelope and of what is news to it, the other one its own list, which is empty when both have the same digest. News
 * are told on to a few, who do the same, so that they get around in seconds; what was missed is found by the digest. A
 * relay answers, too: so two agents that know nobody but a relay find each other.
 */
import type { Logger } from "@ctxmesh/model";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { Connection, Libp2p, PrivateKey, Stream } from "@libp2p/interface";
import { PeerRecord, RecordEnvelope } from "@libp2p/peer-record";
import { lpStream } from "@libp2p/utils";
import { multiaddr } from "@multiformats/multiaddr";
import { deviceOf, socketOf } from "./identity.ts";
import { MAX_LIST_BYTES, MAX_NEWS, encodeList } from "./peer-book.ts";
import type { PeerBook } from "./peer-book.ts";

const PROTOCOL = "/ctxmesh/peers/2.0.0";
const DIGEST_BYTES = 32;

/** To how many news are told on. */
const FANOUT = 3;
const MAX_QUESTION_BYTES: number = DIGEST_BYTES + (MAX_NEWS + 1) * (2 + LIMITS.peerRecordBytes);

/** What an exchange works with. */
export interface PeerExchangeOptions {
  readonly book: PeerBook;
  /** Signs our own addresses; absent for a node that is no member. */
  readonly privateKey: PrivateKey | undefined;
  readonly logger: Logger;
}

/** The exchange of one node. */
export class PeerExchange {
  readonly #node: Libp2p;
  readonly #options: PeerExchangeOptions;
  #askedAt = performance.now();
  /** Our own addresses as they were signed last. */
  #signed: { readonly text: string; readonly envelope: Uint8Array } | undefined;

  constructor(node: Libp2p, options: PeerExchangeOptions) {
    this.#node = node;
    this.#options = options;
  }

  /** Answers who asks, from now on. */
  async listen(): Promise<void> {
    const { book } = this.#options;
    const handler = async (stream: Stream, connection: Connection): Promise<void> => {
      const signal = AbortSignal.timeout(LIMITS.handshakeMs);
      const messages = lpStream(stream, { maxDataLength: MAX_QUESTION_BYTES });
      const question = (await messages.read({ signal })).subarray();
      await book.takeNewsFrom(connection.remotePeer, question.subarray(DIGEST_BYTES));
      const theirs = question.subarray(0, DIGEST_BYTES);
      const same = Buffer.compare(theirs, this.#digest()) === 0;
      const asking = deviceOf(connection.remotePeer);
      await messages.write(same ? new Uint8Array() : book.encode(asking), { signal });
      await stream.close({ signal });
    };
    await this.#node.handle(PROTOCOL, handler, {
      maxInboundStreams: 2,
      runOnLimitedConnection: true,
    });
  }

  /** Asks a peer. Never rejects: one that does not answer is asked another time. */
  async ask(connection: Connection, news: readonly Uint8Array[] = []): Promise<void> {
    const { book, logger } = this.#options;
    const signal = AbortSignal.timeout(LIMITS.handshakeMs);
    let stream: Stream | undefined;
    try {
      stream = await connection.newStream(PROTOCOL, { signal, runOnLimitedConnection: true });
      const messages = lpStream(stream, { maxDataLength: MAX_LIST_BYTES });
      const own = await this.#ownEnvelope();
      const told = encodeList([...own, ...news], MAX_QUESTION_BYTES - DIGEST_BYTES);
      await messages.write(Buffer.concat([this.#digest(), told]), { signal });
      const list = (await messages.read({ signal })).subarray();
      await stream.close({ signal });
      await book.takeIn(list);
    } catch (error) {
      stream?.abort(error instanceof Error ? error : new Error(String(error)));
      const device = deviceOf(connection.remotePeer);
      const violation = error instanceof MeshError ? error.code : undefined;
      const fields = { device, reason: String(error), ...(violation && { code: violation }) };
      logger[violation === undefined ? "debug" : "warn"]("peers.not-told", fields);
    }
  }

  /** Asks one of these, at random, so often; some, when there are news. */
  tick(connections: readonly Connection[], everyMs: number): void {
    const news = this.#options.book.takeNews();
    if (news.length === 0 && performance.now() - this.#askedAt < everyMs) return;
    this.#askedAt = performance.now();
    const left = [...connections];
    for (let count = news.length === 0 ? 1 : FANOUT; count > 0 && left.length > 0; count--) {
      const [connection] = left.splice(Math.floor(Math.random() * left.length), 1);
      if (connection !== undefined) void this.ask(connection, news);
    }
  }

  #digest(): Uint8Array {
    const { book, privateKey } = this.#options;
    return book.digest(privateKey === undefined ? undefined : this.#node.getMultiaddrs());
  }

  /** Empty where there is nothing to say. */
  async #ownEnvelope(): Promise<readonly Uint8Array[]> {
    const { privateKey } = this.#options;
    const multiaddrs = this.#node.getMultiaddrs().map((address) => multiaddr(socketOf(address)));
    if (privateKey === undefined || multiaddrs.length === 0) return [];
    const text = multiaddrs.join(" ");
    if (this.#signed?.text !== text) {
      const record = new PeerRecord({ peerId: this.#node.peerId, multiaddrs });
      const envelope = (await RecordEnvelope.seal(record, privateKey)).marshal();
      this.#signed = { text, envelope };
    }
    const { envelope } = this.#signed;
    return envelope.length > LIMITS.peerRecordBytes ? [] : [envelope];
  }
}
