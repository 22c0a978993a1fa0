// SPDX-License-Identifier: Apache-2.0
/** The endpoint for stock Yjs clients: sync and awareness of y-protocols between WebSockets and projections. */
export { createYjsGateway } from "./gateway.ts";
export type { YjsGateway, YjsGatewayOptions } from "./gateway.ts";
export type { MergeUpdates } from "./room.ts";
export type { Quotas } from "./session.ts";
export { SUBPROTOCOL, YJS_PREFIX } from "./target.ts";
