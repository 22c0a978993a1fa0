// SPDX-License-Identifier: Apache-2.0
/**
 * A whole replica in a page: its own device, facts that are read, written and watched without a connection, and sync with hubs when there is one.
 *
 * ```ts
 * const mesh = await openReplica({ name: "line-2", invite: "ctxmesh-invite1...", urls: ["wss://hub.example.org"] });
 * await mesh.put("line-2/press-7", { key: "temperature", value: 71.5 });
 * ```
 */
// oxlint-disable-next-line import/no-unassigned-import -- it is for what the others find when they are evaluated
import "./buffer.ts";

export { deleteReplica, deviceKey, openReplica } from "./open.ts";
export type { PageReplicaOptions } from "./open.ts";
export type { PageReplica } from "./client.ts";
export type { Belonging } from "./identity.ts";
