// SPDX-License-Identifier: Apache-2.0
/** The calls of the SDK over a replica in the same page. */
import { MeshError } from "@ctxmesh/model";
import type { ReadLevel } from "@ctxmesh/model";
import { createView } from "@ctxmesh/sdk";
import type { ContextClient, ReadOptions, Untyped } from "@ctxmesh/sdk";
import type { NodeLevels, NodeService } from "@ctxmesh/service";
import { Watches } from "./watch.ts";

/** The calls of `ContextClient` that a page answers by itself; names, arguments and errors are the same. */
type Calls<Types> = Pick<
  ContextClient<Types>,
  | "addActs"
  | "candidates"
  | "compareAndSet"
  | "delete"
  | "evidence"
  | "get"
  | "history"
  | "links"
  | "list"
  | "membership"
  | "put"
  | "retract"
  | "spaceFile"
  | "status"
  | "view"
  | "watch"
>;

/** A replica in a page. Writes take no `idempotencyKey`: what is written is durable once it resolves, and never sent twice. */
export interface PageReplica<Types = Untyped> extends Calls<Types> {
  /** The page's device key, hex. */
  readonly device: string;
  /** Tells hubs what they lack, as far as they can be reached, then lets go of the store. Idempotent. */
  close(): Promise<void>;
}

/** What the calls are made of. */
export interface ClientParts {
  readonly device: string;
  readonly service: NodeService;
  readonly levels: NodeLevels;
  readonly stop: () => Promise<void>;
}

/** Ends a call that has been called off before it began: all others that a page answers end at once. */
function assertWanted(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return;
  throw new MeshError("ABORTED", "the call was called off", { cause: signal.reason });
}

/** How fresh a read is to be, without what is undefined. */
const levelOf = ({ consistency, maxStalenessMs, timeoutMs, signal }: ReadOptions): ReadLevel => ({
  ...(consistency === undefined ? {} : { consistency }),
  ...(maxStalenessMs === undefined ? {} : { maxStalenessMs }),
  ...(timeoutMs === undefined ? {} : { timeoutMs }),
  signal,
});

function createReads(
  service: NodeService,
  levels: NodeLevels,
): Pick<Calls<Untyped>, "candidates" | "get" | "history" | "list"> {
  const covered = async ({ covers, signal }: ReadOptions): Promise<void> => {
    assertWanted(signal);
    if (covers !== undefined) await service.covered(covers, { signal });
  };
  return {
    async get(doc, key, options = {}) {
      const { at, signal } = options;
      await covered(options);
      if (at !== undefined) return service.getAt(doc, key, at, { signal });
      return (await levels.read(doc, key, levelOf(options))).fact;
    },
    async list(options = {}) {
      const { at, signal } = options;
      await covered(options);
      if (at !== undefined) return service.listAt(options, at, { signal });
      return (await levels.readAll(options, levelOf(options))).facts;
    },
    async candidates(doc, key, { signal } = {}) {
      assertWanted(signal);
      const fact = service.get(doc, key);
      const candidates = service.candidates(doc, key);
      return { candidates, ...(fact === undefined ? {} : { fact }) };
    },
    history: async (doc, key, { signal, ...query } = {}) =>
      service.history(doc, key, query, { signal }),
  };
}

function createWrites(
  service: NodeService,
  levels: NodeLevels,
): Pick<Calls<Untyped>, "compareAndSet" | "delete" | "put" | "retract"> {
  return {
    async put(doc, facts, { signal, ...how } = {}) {
      assertWanted(signal);
      return service.put(doc, [facts].flat(), how);
    },
    async delete(doc, keys, { signal, ...how } = {}) {
      assertWanted(signal);
      return service.delete(doc, keys, how);
    },
    async retract(doc, key, writer, reason, { signal, ...how } = {}) {
      assertWanted(signal);
      return service.retract(doc, key, writer, reason, how);
    },
    compareAndSet: async (doc, fact, expected, { signal, ...how } = {}) =>
      levels.compareAndSet(doc, fact, expected, { ...how, signal }),
  };
}

/** The calls over a running replica. */
export function createPageClient(parts: ClientParts): PageReplica {
  const { device, service, levels } = parts;
  const watches = new Watches();
  const reads = createReads(service, levels);
  const watch: Calls<Untyped>["watch"] = (query = {}, { signal } = {}) =>
    watches.start((listener) => service.watch(query, listener), signal);
  let closing: Promise<void> | undefined;
  return {
    device,
    ...reads,
    ...createWrites(service, levels),
    watch,
    view: (how) => createView({ list: reads.list, watch }, how),
    status: async ({ digest = false } = {}) => service.status({ digest }),
    links: async () => service.links(),
    membership: async () => service.membership(),
    addActs: async (records) => service.addActs(records),
    spaceFile: async () => service.spaceFile(),
    evidence: async () => service.evidence(),
    close: async () =>
      (closing ??= (async () => {
        watches.close();
        await parts.stop();
      })()),
  };
}
