// SPDX-License-Identifier: Apache-2.0
/** The parts that an agent and a hub share, in the order in which both start them. */
import { createControlServer } from "@ctxmesh/api";
import type { AcceptSocket, LoopbackOptions } from "@ctxmesh/api";
import type { ScrubReport, SealingService } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import type { LogOfRecord, SyncNode } from "@ctxmesh/sync";
import { backUp } from "./backup.ts";
import { Freshness } from "./freshness.ts";
import type { LinkBudgets } from "./link-budgets.ts";
import { NodeCare } from "./node-care.ts";
import { withBatches } from "./enclose-batches.ts";
import { NodeDecisions } from "./node-decisions.ts";
import { NodeDocuments } from "./node-documents.ts";
import { NodeEvents } from "./node-events.ts";
import { NodeSchemas } from "./node-schemas.ts";
import { NodeLevels } from "./node-levels.ts";
import { NodePartial } from "./node-partial.ts";
import { NodeService } from "./node-service.ts";
import type { NodeServiceOptions } from "./node-service.ts";
import { NodeWrites } from "./node-writes.ts";
import { Once } from "./once.ts";
import type { OpenReplica, StoreOptions } from "./open-replica.ts";
import { Scrubber } from "./scrubber.ts";
import type { NodeDeps } from "./start-sync.ts";

/** The settings that every node has. */
export interface NodeOptions extends StoreOptions {
  readonly version: string;
  /** Unix socket of the local API. */
  readonly socketPath: string;
  /** Where it listens on TCP, too, and for whom; nowhere by default. */
  readonly api?: LoopbackOptions;
  /** How much may go to whom; without limit by default. */
  readonly links?: LinkBudgets;
}

/** What reads and writes with a level are made of at an agent, or at a hub. */
function levelsOf(
  replica: Replica,
  { clock, random }: NodeDeps,
  stack: AsyncDisposableStack,
  { sync, log }: { readonly sync?: Pick<SyncNode, "asker">; readonly log?: LogOfRecord },
): NodeLevels {
  const common = { replica, clock, random };
  if (sync === undefined) return new NodeLevels({ ...common, ...(log && { log }) });
  const { asker } = sync;
  const freshness = new Freshness({ replica, clock, elapsed: () => performance.now(), asker });
  stack.defer(() => {
    freshness.stop();
  });
  return new NodeLevels({ ...common, remotes: { asker, freshness } });
}

/** Opens the local API over a node's service. Throws `ADDRESS_UNAVAILABLE`. */
export async function serve(
  options: NodeOptions,
  deps: NodeDeps,
  stack: AsyncDisposableStack,
  node: Omit<NodeServiceOptions, "version" | "clock" | "scrub" | "recovered" | "replica"> & {
    readonly parts: OpenReplica;
    /** Fetches what is left out. */
    readonly sync?: Pick<SyncNode, "asker" | "fetch">;
    /** Makes WebSockets of upgrade requests at the local API. */
    readonly acceptSocket?: AcceptSocket;
    /** Hubs only. */
    readonly log?: LogOfRecord;
  },
  sealing?: SealingService,
): Promise<NodeService> {
  const { version, socketPath, api } = options;
  const { store, keys, replica, recovered, device } = node.parts;
  const scrubber = new Scrubber({ ...deps, store });
  stack.defer(() => {
    scrubber.stop();
  });
  scrubber.start();
  const scrub = (): ScrubReport => scrubber.report();
  const known = { replica, recovered, scrub, version, clock: deps.clock };
  const once = await Once.open({ store, replica, clock: deps.clock });
  const writes = new NodeWrites({ ...node, replica, once });
  const service = new NodeService({ ...node, ...known, writes });
  stack.defer(() => {
    service.close();
  });
  const control = createControlServer({
    service,
    backup: () =>
      backUp(store, {
        space: replica.space.id,
        device: replica.device,
        service: node.service,
        takenAt: deps.clock.now(),
      }),
    care: new NodeCare({ store, keys, scrubber }),
    events: new NodeEvents(replica),
    documents: new NodeDocuments(replica, writes),
    ...(node.acceptSocket === undefined ? {} : { acceptSocket: node.acceptSocket }),
    levels: levelsOf(replica, deps, stack, node),
    schemas: new NodeSchemas({ replica, device, clock: deps.clock }),
    ...(node.service === "agent"
      ? { decisions: new NodeDecisions({ replica, writes, device, clock: deps.clock }) }
      : {}),
    ...(node.sync === undefined
      ? {}
      : { partial: new NodePartial(replica, node.sync, deps.clock) }),
    version,
    logger: deps.logger,
    ...(sealing === undefined ? {} : { sealing: withBatches(sealing, replica) }),
  });
  stack.defer(async () => {
    // First, since the API waits for requests under way.
    service.endWaits();
    await control.close();
  });
  await control.listenUnix(socketPath);
  if (api !== undefined) await control.listenLoopback(api);
  return service;
}
