// SPDX-License-Identifier: Apache-2.0
import { createHealthServer } from "@ctxmesh/api";
import type { Channel, ContextService, MembershipService, SealingService } from "@ctxmesh/model";
import { LiveMembership, openReplica, serve, startSync } from "@ctxmesh/service";
import type { NodeDeps, NodeOptions, NodeService } from "@ctxmesh/service";
import { createWsServer } from "@ctxmesh/transport-ws";
import { Sealer } from "./sealer.ts";
import type { SealKeys } from "./sealer.ts";

/** A hub's settings. */
export interface HubOptions extends NodeOptions {
  /** TCP address for agents and health probes; port 0 takes any free one. */
  readonly listen: { readonly host: string; readonly port: number };
  readonly seal: SealKeys;
}

/** A running hub. */
export interface Hub {
  readonly service: ContextService & MembershipService;
  readonly sealing: SealingService;
  /** WebSocket URLs that agents can use. */
  addresses(): readonly string[];
  /** Settles what is under way, tells the peers, closes everything. Idempotent. */
  stop(): Promise<void>;
}

/**
 * Starts a hub: port, store, replica, sealer, local API, then the door for agents. When a step fails, what
 * was started before it is closed again. Throws `STORE_LOCKED`, `STORE_CORRUPT`, `STORE_FORMAT`, `FILE_UNAVAILABLE`,
 * `ADDRESS_UNAVAILABLE`.
 */
export async function createHub(options: HubOptions, deps: NodeDeps): Promise<Hub> {
  await using starting = new AsyncDisposableStack();
  const { space } = options;
  // The port first, so that a busy one leaves no store behind; until the hub is
  // complete, probes say so and agents try again.
  let complete: NodeService | undefined;
  const ready = (): boolean => complete?.ready === true;
  const health = createHealthServer({ ...deps, ready });
  starting.defer(async () => health.close());
  await health.listen(options.listen.host, options.listen.port);

  const parts = await openReplica(options, deps, starting);
  const { store, vault, replica, device, verifier } = parts;
  const sealer = await Sealer.open({ ...options.seal, ...deps, store, vault, replica });
  starting.defer(async () => sealer.close());
  const membership = new LiveMembership(space, deps.clock);
  const door = createWsServer({
    ...deps,
    server: health.server,
    device,
    space: space.id,
    isMember: (remote) => membership.welcomes(remote),
    verifier,
  });
  const { sync, stop } = startSync(replica, deps, {
    relay: "push",
    admits: (remote) => membership.welcomes(remote),
  });
  membership.follow(replica, sync);
  sealer.onSealed((frontier) => {
    sync.sealed(frontier);
  });
  starting.defer(async () => door.stop());
  starting.defer(stop);
  const addresses = (): readonly string[] => door.addresses();
  const service = await serve(
    options,
    deps,
    starting,
    {
      service: "hub",
      parts,
      confirmations: sync.confirmations,
      peers: () => sync.peers(),
      addresses,
      seals: () => sealer.count,
    },
    sealer,
  );
  // Last, so that nobody syncs with a hub that is not complete.
  await door.start((channel: Channel) => void sync.run(channel));
  complete = service;
  const running = starting.move();
  let stopping: Promise<void> | undefined;
  return {
    service,
    sealing: sealer,
    addresses,
    // Whoever calls it again waits for the same end.
    stop: async () => (stopping ??= running.disposeAsync()),
  };
}
