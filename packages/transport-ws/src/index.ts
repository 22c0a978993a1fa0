// SPDX-License-Identifier: Apache-2.0
/** The `Transport` port over WebSockets (RFC 6455), between agents and a hub, and the WebSockets of who bears a token there. */
export { createWsClient } from "./client.ts";
export type { WsClientOptions } from "./client.ts";
export { createCertificateRequest, createDeviceCertificate } from "./device-certificate.ts";
export { parseHubUrl, Redial } from "./dialling.ts";
export type { DialledChannel, RedialOptions } from "./dialling.ts";
export type { GuestEndpoint } from "./guests.ts";
export { Handshake } from "./handshake.ts";
export type { HandshakeOptions, HandshakeStep, Role } from "./handshake.ts";
export { createWsServer } from "./server.ts";
export type { WsServerOptions, WsServerTransport } from "./server.ts";
export { CLOSE_CODES, comeBackMs, describeClose } from "./sockets.ts";
export { createStreamAcceptor } from "./streams.ts";
export type { StreamSocket } from "./streams.ts";
export { deviceIdentity } from "./tls.ts";
export type { HubTls } from "./tls.ts";
