// SPDX-License-Identifier: Apache-2.0
/** Which requests are to become something else than HTTP/1.1. */
import type { IncomingMessage } from "node:http";

/** WebSockets alone: clients that would rather speak HTTP/2 (`Upgrade: h2c`) are answered as they asked. */
export const isStreamUpgrade = ({ headers }: IncomingMessage): boolean =>
  headers.upgrade?.toLowerCase() === "websocket";
