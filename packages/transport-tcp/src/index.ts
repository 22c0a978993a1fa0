// SPDX-License-Identifier: Apache-2.0
/** The `Transport` port over TCP, between an agent and its leaves. */
export { LinkChannel } from "./channel.ts";
export { connectLink } from "./client.ts";
export type { LinkClientOptions } from "./client.ts";
export { FRAME_BYTES, frameNonce, FrameReader, FrameWriter } from "./frames.ts";
export { Handshake, leafPsk } from "./handshake.ts";
export type { HandshakeOptions, HandshakeStep, LinkSession, Role } from "./handshake.ts";
export { createLinkServer } from "./server.ts";
export type { LinkServerOptions } from "./server.ts";
