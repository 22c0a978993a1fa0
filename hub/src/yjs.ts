// SPDX-License-Identifier: Apache-2.0
/** Bearers of tokens at a hub: who may come in, and the endpoint for stock Yjs clients, with what tenants may take of it. */
import { setImmediate as rest } from "node:timers/promises";
import { Tenants } from "@ctxmesh/auth";
import type { TokenAuthorizer } from "@ctxmesh/auth";
import { createProjections } from "@ctxmesh/replica";
import { mergeRichUpdates } from "@ctxmesh/rich";
import type { LiveMembership, NodeDeps, OpenReplica } from "@ctxmesh/service";
import type { GuestEndpoint } from "@ctxmesh/transport-ws";
import { createYjsGateway, SUBPROTOCOL, YJS_PREFIX } from "@ctxmesh/yjs-gateway";
import { openAuthorizer } from "./authorizing.ts";
import type { HubAuth } from "./authorizing.ts";

/** How often it is looked which facts have expired, in milliseconds. */
const REFRESH_MS = 1_000;

/** What a hub is told of them. */
export interface BearerOptions {
  /** Whose tokens are accepted at the endpoints for them; none by default. */
  readonly auth?: HubAuth;
  /** Pages that may connect to `/yjs`, which is there once `auth` is, besides those of the hub's own host. */
  readonly origins?: readonly string[] | "any";
}

/** Decides about them, and takes care of them; empty where no tokens are accepted. */
export interface Bearers {
  readonly authorizer?: TokenAuthorizer;
  readonly guests?: GuestEndpoint;
}

/**
 * Gets ready for them. When the stack is disposed, it waits for writes under way: whatever these wait for has to be stopped before. Throws `CONFIG_INVALID`, `FILE_UNAVAILABLE` and
 * `FORMAT_INVALID`, as {@link openAuthorizer} does.
 */
export async function openBearers(
  { auth, origins = [] }: BearerOptions,
  { device, replica }: OpenReplica,
  membership: LiveMembership,
  deps: NodeDeps,
  stack: AsyncDisposableStack,
): Promise<Bearers> {
  const authorizer = await openAuthorizer(auth, device, membership, deps, stack);
  if (authorizer === undefined) return {};
  const quotas = new Tenants(deps.clock);
  const projections = createProjections(replica, { ...deps, rest });
  const refreshing = setInterval(() => projections.refresh(), REFRESH_MS);
  const { logger } = deps;
  const gateway = createYjsGateway({
    space: replica.space.id,
    authorizer,
    projections,
    quotas,
    merge: mergeRichUpdates,
    logger,
  });
  stack.defer(async () => {
    await gateway.stop();
    clearInterval(refreshing);
    projections.close();
    quotas.close();
  });
  const welcome: GuestEndpoint["welcome"] = (guest) => gateway.welcome(guest);
  return {
    authorizer,
    guests: { prefix: YJS_PREFIX, protocol: SUBPROTOCOL, origins, welcome },
  };
}
