// SPDX-License-Identifier: Apache-2.0
/** The client for browsers: what `index.ts` has, but for sockets. It imports no module of Node.js. */
import { createClient } from "./client.ts";
import type { ClientOptions, ContextClient } from "./client.ts";
import { createFetchTransport } from "./fetch-transport.ts";
import type { PortOptions } from "./fetch-transport.ts";
import type { Untyped } from "./types.ts";

/** Where the node is, and how calls are made. */
export type ConnectOptions = ClientOptions & PortOptions;

/** A client of the node at a port. Opens no connection by itself. Throws `INPUT_INVALID` for what is no URL of HTTP. */
export const connect = <Types = Untyped>(options: ConnectOptions): ContextClient<Types> =>
  // Types are a promise of the space's schemas: at run time all clients are alike.
  createClient(createFetchTransport(options), options);

export type {
  CallControl,
  ClientOptions,
  ContextClient,
  DecideOptions,
  KeyCandidates,
  PutOptions,
} from "./client.ts";
export type { DocumentCalls, EditOptions } from "./documents.ts";
export type { EventCalls, EventFeed, EventOptions } from "./events.ts";
export type { PortOptions } from "./fetch-transport.ts";
export type { CompareCallOptions, LevelOptions } from "./levels.ts";
export type { HistoryOptions, ListOptions, ReadOptions } from "./reads.ts";
export type { SchemaCalls, SchemaInput } from "./schemas.ts";
export type { PutCall, TypedFact, TypedInput, Untyped, ValueOf } from "./types.ts";
export { createView } from "./view.ts";
export type { View, ViewOptions, ViewSource } from "./view.ts";
export type { Watch } from "./watch.ts";
