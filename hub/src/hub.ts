// SPDX-License-Identifier: Apache-2.0
import { createHealthServer } from "@ctxmesh/api";
import type { DoorTls } from "@ctxmesh/api";
import type {
  Authorizer,
  Channel,
  ContextService,
  Engine,
  HintBus,
  MembershipService,
  SealingService,
} from "@ctxmesh/model";
import { createStreamAcceptor } from "@ctxmesh/transport-ws";
import type { HubTls } from "@ctxmesh/transport-ws";
import { LiveMembership, createLogOfRecord, openReplica, serve, startSync } from "@ctxmesh/service";
import type { NodeDeps, NodeOptions } from "@ctxmesh/service";
import { createDoors, createHubRelay } from "./doors.ts";
import type { HubRelayOptions } from "./doors.ts";
import { forgetPosition } from "./log-position.ts";
import { Life } from "./life.ts";
import { LogDoor } from "./log-door.ts";
import type { HubAsWitness } from "./log-door.ts";
import { Sealer } from "./sealer.ts";
import type { SealKeys, SealerOptions } from "./sealer.ts";
import type { OwnSeals } from "./shared-seals.ts";
import type { SharedSealer } from "./shared-sealer.ts";
import { shareEngine } from "./sharing.ts";
import type { Sharing } from "./sharing.ts";
import { openBearers } from "./yjs.ts";
import type { BearerOptions } from "./yjs.ts";

/** A hub's settings. */
export interface HubOptions extends NodeOptions, BearerOptions {
  /** TCP address for agents and health probes; port 0 takes any free one. */
  readonly listen: { readonly host: string; readonly port: number };
  /** Without it the door is in plain text, which is for one machine, or for a proxy in front. */
  readonly tls?: DoorTls;
  /** What agents and hubs have to show at the door: a certificate of their device's key, which the authority of `tls` has signed (`authorized`), or nobody else (`own`). */
  readonly clientCertificate?: "own" | "authorized";
  readonly seal: SealKeys;
  /** Makes the hub a witness of other logs. */
  readonly asWitness?: HubAsWitness;
  /** WebSocket URLs of other hubs to keep a connection to. */
  readonly hubs?: readonly string[];
  /** How those are connected to over `wss:`. */
  readonly hubTls?: HubTls;
  /** Makes the hub a relay between agents that can't dial each other. */
  readonly relay?: HubRelayOptions;
  /** What this hub shares with others of the same space, which it closes in the end; without it the store alone is the log of record. */
  readonly engine?: Engine;
  /** Where hubs that share an engine tell each other of news, which this hub closes in the end. */
  readonly hints?: HintBus;
}

/** A running hub. */
export interface Hub {
  readonly service: ContextService & MembershipService;
  readonly sealing: SealingService;
  /** Decides what tokens are good for here; absent where none are accepted. */
  readonly authorizer?: Authorizer;
  /** WebSocket URLs that agents can use. */
  addresses(): readonly string[];
  /** Multiaddrs that agents can name as their relay. */
  relayAddresses(): readonly string[];
  /** Settles what is under way, tells the peers, closes everything. Idempotent. */
  stop(): Promise<void>;
}

/**
 * Starts a hub: port, store, replica, sealer, local API, relay, then the door for agents, and other hubs. When a step fails, what
 * was started before it is closed again. Throws `STORE_LOCKED`, `STORE_CORRUPT`, `STORE_FORMAT`, `FILE_UNAVAILABLE`,
 * `ADDRESS_UNAVAILABLE`, `CONFIG_INVALID`.
 */
export async function createHub(options: HubOptions, deps: NodeDeps): Promise<Hub> {
  await using starting = new AsyncDisposableStack();
  const membership = new LiveMembership(options.space, deps.clock);
  const relay = createHubRelay(options.relay, options.deviceSeed, deps, membership);
  // Whatever fails, what was handed over is closed.
  const sharing = shareEngine(options, deps, starting);
  // The port first, so that a busy one leaves no store behind; until the hub is
  // complete, probes say so and agents try again.
  const life = new Life(() => sharing?.isReachable !== false);
  const logDoor = new LogDoor(options.asWitness);
  const health = createHealthServer({ ...options, ...deps, ...life.probes, ...logDoor.routes });
  starting.defer(async () => health.close());
  await health.listen(options.listen.host, options.listen.port);

  const journal = sharing && { journal: sharing.log };
  const parts = await openReplica({ ...options, ...journal }, deps, starting);
  const { store, vault, replica } = parts;
  const { authorizer, ...guests } = await openBearers(options, parts, membership, deps, starting);
  const sealed = { ...options.seal, ...deps, replica };
  const sealer = await openSealer(sharing, sealed, { store, vault });
  starting.defer(async () => sealer.close());
  // Whatever waits for the engine must not hold up what is closed after it.
  starting.defer(async () => sharing?.stop());
  const met = { ...health, ...guests, hubs: options.hubs ?? [], relay, membership, parts };
  const doors = createDoors({ ...options, ...met }, deps);
  const log = createLogOfRecord({ ...deps, replica, store, ...sharing?.record });
  const { sync, stop } = startSync(replica, deps, {
    log,
    relay: "push",
    admits: (remote) => membership.welcomes(remote),
    ...(options.links === undefined ? {} : { links: options.links }),
  });
  membership.follow(replica, sync);
  sealer.onSealed((frontier) => {
    sync.sealed(frontier);
  });
  starting.defer(async () => doors.stop());
  starting.defer(stop);
  const { addresses, relayAddresses, transport } = doors;
  const service = await serve(
    options,
    deps,
    starting,
    {
      service: "hub",
      parts,
      log,
      confirmations: sync.confirmations,
      peers: () => sync.peers(),
      links: () => sync.links(),
      addresses,
      acceptSocket: createStreamAcceptor(),
      ...(transport === undefined ? {} : { transport }),
      seals: () => sealer.count,
      ...(sharing === undefined ? {} : { engine: () => sharing.report(sealer) }),
    },
    sealer,
  );
  await sharing?.begin(replica, store, sealer);
  await logDoor.open(sealer, store, deps);
  // Last, so that nobody syncs with a hub that is not complete.
  await doors.start((channel: Channel) => void sync.run(channel));
  life.complete(service, doors);
  const reached = { service, sealing: sealer, addresses, relayAddresses };
  return hubOf({ ...reached, ...(authorizer && { authorizer }) }, starting.move(), life);
}

/** Seals into the hub's own store, which then follows no shared log, or, while it is this hub's turn, into what it shares. */
async function openSealer(
  sharing: Sharing | undefined,
  options: Omit<SealerOptions, "store" | "vault">,
  own: OwnSeals,
): Promise<Sealer | SharedSealer> {
  if (sharing !== undefined) return sharing.sealer({ ...options, own });
  await forgetPosition(own.store);
  return Sealer.open({ ...options, ...own });
}

/** A hub whose stop drains it and closes what was started; whoever calls it again waits for the same end. */
function hubOf(hub: Omit<Hub, "stop">, running: AsyncDisposableStack, life: Life): Hub {
  let stopping: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    life.drain();
    await running.disposeAsync();
  };
  return { ...hub, stop: async () => (stopping ??= stop()) };
}
