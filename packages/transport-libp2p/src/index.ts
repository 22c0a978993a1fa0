// SPDX-License-Identifier: Apache-2.0
/** The `Transport` port over libp2p: direct channels between the members of a space, and gossip for large meshes. */
export type { PeerMemory } from "./discovery.ts";
export type { BroadcastHandler, GossipVerdict } from "./gossip.ts";
export { createRelay } from "./relay-server.ts";
export type { Relay, RelayOptions } from "./relay-server.ts";
export { createLibp2pTransport } from "./transport.ts";
export type { ConnectedPeer, Libp2pTransport, Libp2pTransportOptions } from "./transport.ts";
export type { SecurityPolicy } from "./security.ts";
