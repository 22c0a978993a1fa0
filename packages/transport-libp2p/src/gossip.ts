// SPDX-License-Identifier: Apache-2.0
/** Gossip in the topic of one space (gossipsub v1.1), for meshes too large for direct push. */
import { hash } from "node:crypto";
import type { Logger, SpaceId } from "@ctxmesh/model";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { GossipSub, GossipsubOpts, Message } from "@libp2p/gossipsub";
import { gossipsub, StrictNoSign, TopicValidatorResult } from "@libp2p/gossipsub";
import type { PeerId } from "@libp2p/interface";
import { deviceOf } from "./identity.ts";

/** What becomes of a gossiped message: only what is accepted is forwarded; rejecting lowers the sender's score. */
export type GossipVerdict = "accept" | "ignore" | "reject";
/** Judges one gossiped message. `fromDevice` is the member that passed it on, not its author. */
export type BroadcastHandler = (
  bytes: Uint8Array,
  fromDevice: string | undefined,
) => Promise<GossipVerdict>;

const VERDICTS: Readonly<Record<GossipVerdict, TopicValidatorResult>> = {
  accept: TopicValidatorResult.Accept,
  ignore: TopicValidatorResult.Ignore,
  reject: TopicValidatorResult.Reject,
};

/** The topic of a space: `/ctxmesh/<space id, hex>/1`. */
export const topicOf = (space: SpaceId): string => `/ctxmesh/${space}/1`;

/**
 * The gossip service of a node. Messages carry no gossipsub signature, since a batch is signed
 * itself; their id is the SHA-256 of their bytes, so that nobody can take the id of another's message.
 */
export function gossipService(topic: string): ReturnType<typeof gossipsub> {
  return gossipsub({
    globalSignaturePolicy: StrictNoSign,
    msgIdFn: (message: Message) => hash("sha256", message.data, "buffer"),
    fallbackToFloodsub: false,
    emitSelf: false,
    allowPublishToZeroTopicPeers: true,
    ignoreDuplicatePublishError: true,
    batchPublish: true,
    // Through a relay, too, which limits how long a connection lasts.
    runOnLimitedConnection: true,
    floodPublish: true,
    allowedTopics: [topic],
    D: 4,
    Dlo: 3,
    Dhi: 6,
    Dout: 1,
    Dscore: 2,
    // What is lost here the sessions repair: they tell what they have, and sooner than gossip about gossip would.
    Dlazy: 0,
    gossipFactor: 0,
    heartbeatInterval: 700,
    maxOutboundBufferSize: LIMITS.channelBufferBytes,
    // Nobody asks for messages, so they come one by one.
    maxInboundDataLength: 4 * LIMITS.gossipBytes,
    decodeRpcLimits: {
      maxSubscriptions: 64,
      maxMessages: 4,
      maxIhaveMessageIDs: 512,
      maxIwantMessageIDs: 512,
      maxIdontwantMessageIDs: 512,
      maxControlMessages: 64,
      maxPeerInfos: 0,
    },
    scoreParams: scoreParams(topic),
  });
}

/** Invalid messages cost score (about 50 of them end a peer's part in the mesh); many members behind one address do not. */
function scoreParams(topic: string): NonNullable<GossipsubOpts["scoreParams"]> {
  return {
    IPColocationFactorWeight: 0,
    topics: {
      [topic]: {
        topicWeight: 1,
        timeInMeshWeight: 0,
        timeInMeshQuantum: 1_000,
        timeInMeshCap: 10,
        firstMessageDeliveriesWeight: 0,
        firstMessageDeliveriesDecay: 0.5,
        firstMessageDeliveriesCap: 10,
        meshMessageDeliveriesWeight: 0,
        meshMessageDeliveriesDecay: 0.5,
        meshMessageDeliveriesCap: 10,
        meshMessageDeliveriesThreshold: 1,
        meshMessageDeliveriesWindow: 10,
        meshMessageDeliveriesActivation: 1_000,
        meshFailurePenaltyWeight: 0,
        meshFailurePenaltyDecay: 0.5,
        invalidMessageDeliveriesWeight: -10,
        invalidMessageDeliveriesDecay: 0.9,
      },
    },
  };
}

/** Sends and judges the messages of one topic. */
export class Gossip {
  readonly #pubsub: GossipSub;
  readonly #topic: string;
  readonly #logger: Logger;
  readonly #handler: () => BroadcastHandler | undefined;

  constructor(
    pubsub: GossipSub,
    topic: string,
    handler: () => BroadcastHandler | undefined,
    logger: Logger,
  ) {
    this.#pubsub = pubsub;
    this.#topic = topic;
    this.#handler = handler;
    this.#logger = logger;
  }

  /** Joins the topic. */
  join(): void {
    this.#pubsub.topicValidators.set(this.#topic, (from, message) => this.#judge(from, message));
    this.#pubsub.subscribe(this.#topic);
  }

  /** Publishes; resolves to the number of peers it was sent to. Throws `LIMIT_EXCEEDED` over `LIMITS.gossipBytes`. */
  async publish(bytes: Uint8Array): Promise<number> {
    if (bytes.length > LIMITS.gossipBytes) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `a broadcast of ${String(bytes.length)} bytes is over the limit of ${String(LIMITS.gossipBytes)} (gossipBytes)`,
      );
    }
    const { recipients } = await this.#pubsub.publish(this.#topic, bytes);
    return recipients.length;
  }

  async #judge(from: PeerId, message: Message): Promise<TopicValidatorResult> {
    const handler = this.#handler();
    if (handler === undefined || message.data.length > LIMITS.gossipBytes) {
      return TopicValidatorResult.Ignore;
    }
    try {
      return VERDICTS[await handler(message.data, deviceOf(from))];
    } catch (error) {
      this.#logger.error("gossip.handler-failed", { error: String(error) });
      return TopicValidatorResult.Ignore;
    }
  }
}
