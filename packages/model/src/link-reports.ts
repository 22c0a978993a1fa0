// SPDX-License-Identifier: Apache-2.0
/** What a node says of its links: peers, relays, queues and rates. */
import type { ChannelSecurity } from "./ports.ts";

/** A connected peer. */
export interface PeerStatus {
  readonly device: string;
  readonly address: string;
  readonly role: "agent" | "hub";
  /** It is a leaf, over a link of its own. */
  readonly leaf?: true;
  readonly connectedSinceMs: number;
  /** The peer's last known frontier equals ours. */
  readonly inSync: boolean;
  /** What protects the connection, as negotiated; absent where the transport does not know. */
  readonly security?: ChannelSecurity;
}

/** A relay of an agent's configuration. */
export interface RelayStatus {
  readonly device: string;
  readonly address: string;
  readonly connected: boolean;
  /** Whether others can reach this agent through it. */
  readonly reserved: boolean;
}

/** A node's connections to agents, and those that did not come about. */
export interface TransportStatus {
  /** Refusals since the start, by kind: `membership`, `handshake`, `security`, `version`, `protocol`, `relay`, and `remote` for those of others. */
  readonly refusals: Readonly<Record<string, number>>;
  /** An agent's relays. */
  readonly relays?: readonly RelayStatus[];
  /** What a hub relays: agents that are reachable through it, and circuits between two of them. */
  readonly relaying?: { readonly reservations: number; readonly circuits: number };
}

/** What goes first over a link: what keeps peers in step, and then batches by their priority. */
export type LinkClass = "control" | "high" | "normal" | "low";

/** What waits in one class. */
export interface LinkQueue {
  readonly messages: number;
  readonly bytes: number;
}

/** Bytes that passed since the link was opened, and per second of late. */
export interface LinkRate {
  readonly bytes: number;
  readonly perSecond: number;
}

/** A link to a peer, and how busy it is. */
export interface LinkReport {
  readonly device: string;
  readonly address: string;
  readonly role: "agent" | "hub";
  /** It is a leaf, over a link of its own. */
  readonly leaf?: true;
  readonly connectedSinceMs: number;
  readonly security?: ChannelSecurity;
  readonly inSync: boolean;
  /** Whether an answer to a pull is waited for. */
  readonly pulling: boolean;
  readonly traffic: {
    /** Bytes per second that may go out; absent without a limit. */
    readonly budget?: number;
    readonly in: LinkRate;
    readonly out: LinkRate;
    readonly queue: Readonly<Record<LinkClass, LinkQueue>>;
    /** Pushes that found no room since the link was opened, and about how many bytes of them the peer has yet to pull. */
    readonly deferred: { readonly pushes: number; readonly bytes: number };
    /** Bytes of facts that were not sent, since their time was over. */
    readonly expiredBytes: number;
    /** How long it takes to send what is known to wait, in milliseconds. */
    readonly drainMs: number;
  };
}
