// SPDX-License-Identifier: Apache-2.0
/** What a hub has to do with the engine that it shares with others, from start to stop. */
import type { Engine, EngineReport, HintBus, SpaceId, Store } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import type { LogOfRecordOptions, NodeDeps } from "@ctxmesh/service";
import { EngineLink } from "./engine-link.ts";
import { Hints } from "./hints.ts";
import type { Sealer } from "./sealer.ts";
import { SharedLog } from "./shared-log.ts";
import { SharedSealer } from "./shared-sealer.ts";
import type { SharedSealerOptions } from "./shared-sealer.ts";

/** What is shared. */
export interface Shared {
  readonly engine: Engine;
  readonly space: SpaceId;
  readonly hints: HintBus | undefined;
}

/** The parts of a hub that know of the engine. */
export class Sharing {
  readonly link: EngineLink;
  /** What the replica hands over before it writes. */
  readonly log: SharedLog;

  constructor({ engine, space, hints }: Shared, deps: NodeDeps) {
    this.link = new EngineLink({ ...deps, engine, space });
    this.log = new SharedLog(this.link, new Hints(hints, space));
  }

  /** Whether the engine answered when it was last asked. */
  get isReachable(): boolean {
    return this.link.status().reachable;
  }

  /** The sealer of a hub among others. */
  sealer(options: Omit<SharedSealerOptions, "caughtUp">): SharedSealer {
    const caughtUp = async (): Promise<void> => this.log.caughtUp();
    return new SharedSealer({ ...options, caughtUp }, this.link);
  }

  /** What makes it the log of record; see {@link SharedLog.current}. */
  get record(): Pick<LogOfRecordOptions, "current"> {
    return { current: async (withinMs) => this.log.current(withinMs) };
  }

  /** How it stands. */
  report(sealer: Sealer | SharedSealer): EngineReport {
    const epoch = sealer instanceof SharedSealer ? sealer.epoch : undefined;
    const twin = sealer instanceof SharedSealer && sealer.hasTwin ? { twin: true as const } : {};
    return {
      ...this.log.status(),
      ...(epoch === undefined ? {} : { sealingEpoch: epoch }),
      ...twin,
    };
  }

  /** Takes in everything that the others have, and goes on doing so; seals when it is this hub's turn. Rejects with `CLOSED` when it is stopped before. */
  async begin(replica: Replica, store: Store, sealer: Sealer | SharedSealer): Promise<void> {
    await this.log.follow(replica, store);
    if (sealer instanceof SharedSealer) await sealer.start();
  }

  /** Ends all waiting for the engine. */
  async stop(): Promise<void> {
    this.link.stop();
    await this.log.stop();
  }
}

/** What an engine in the options amounts to; it and the bus of hints are closed when `stack` is. */
export function shareEngine(
  options: {
    readonly engine?: Engine;
    readonly hints?: HintBus;
    readonly space: { readonly id: SpaceId };
  },
  deps: NodeDeps,
  stack: AsyncDisposableStack,
): Sharing | undefined {
  const { engine, hints, space } = options;
  stack.defer(async () => hints?.close());
  if (engine === undefined) return undefined;
  stack.defer(async () => engine.close());
  return new Sharing({ engine, hints, space: space.id }, deps);
}
