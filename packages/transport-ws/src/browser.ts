// SPDX-License-Identifier: Apache-2.0
/** What of this package works in a page, which has a WebSocket of its own. It imports no module of Node.js. */
export { parseHubUrl, Redial } from "./dialling.ts";
export type { DialledChannel, RedialOptions } from "./dialling.ts";
export { Handshake } from "./handshake.ts";
export type { HandshakeOptions, HandshakeStep, Role } from "./handshake.ts";
export { CLOSE_CODES, comeBackMs, describeClose } from "./sockets.ts";
