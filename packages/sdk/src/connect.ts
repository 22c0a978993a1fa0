// SPDX-License-Identifier: Apache-2.0
/** Clients for Node.js. */
import { createClient } from "./client.ts";
import type { ClientOptions, ContextClient } from "./client.ts";
import { createFetchTransport } from "./fetch-transport.ts";
import type { PortOptions } from "./fetch-transport.ts";
import { createSocketTransport } from "./socket-transport.ts";
import type { Untyped } from "./types.ts";

/** A node on the same machine. */
export interface SocketOptions {
  /** The Unix socket of an agent or a hub. */
  readonly socketPath: string;
}

/** Where the node is, and how calls are made. */
export type ConnectOptions = ClientOptions & (SocketOptions | PortOptions);

/** A client of the node at a socket or a port. Opens no connection by itself. Throws `INPUT_INVALID` for what is no URL of HTTP. */
export const connect = <Types = Untyped>(options: ConnectOptions): ContextClient<Types> =>
  // Types are a promise of the space's schemas: at run time all clients are alike.
  createClient(
    "socketPath" in options
      ? createSocketTransport(options.socketPath)
      : createFetchTransport(options),
    options,
  );
