// SPDX-License-Identifier: Apache-2.0
/** What a hub answers strong reads and writes from: the log that it shares with others, or its own store, which it alone writes. */
import { roleAt } from "@ctxmesh/membership";
import { MeshError } from "@ctxmesh/model";
import type { Clock, Store } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import type { LogOfRecord } from "@ctxmesh/sync";
import { SEALS_UNCERTAIN } from "./seals-uncertain.ts";

/** What a hub's log of record is made of. */
export interface LogOfRecordOptions {
  readonly replica: Pick<Replica, "degraded" | "device" | "failure" | "space">;
  readonly store: Pick<Store, "get">;
  readonly clock: Clock;
  /** Where it is shared: brings everything here that is in it now. */
  readonly current?: (withinMs: number) => Promise<void>;
}

const refused = (message: string, remedy: string): MeshError =>
  new MeshError("POLICY_REFUSED", message, { remedy });

/** Other hubs that may be at work: they would decide, too. */
function others({ replica: { space, device }, clock }: LogOfRecordOptions): number {
  const nowMs = clock.now();
  return [...space.grants].filter(
    ([member, grants]) =>
      member !== device &&
      grants.some(({ service }) => service === "hub") &&
      roleAt(space, member, nowMs) !== undefined,
  ).length;
}

/** Throws `POLICY_REFUSED` while a hub may lack what it has acknowledged. */
async function assertWhole({ replica, store }: LogOfRecordOptions): Promise<void> {
  if (replica.degraded().length > 0) {
    throw refused(
      "the hub's store is not whole, so it says nothing of what is newest",
      "ctxmesh status at the hub says what to do",
    );
  }
  if ((await store.get(SEALS_UNCERTAIN.key)) !== undefined) {
    throw refused(
      "the hub's store was restored or healed, and may lack what it has acknowledged, so it says nothing of what is newest",
      "see to it that its agents have synced with it, and seal once: ctxmesh seal --after N",
    );
  }
}

/**
 * The log of record of a hub. It answers nothing while its store is not whole or was restored, since it may lack what it has acknowledged; and decides
 * nothing where it has a store of its own and others are hubs of the space as well.
 */
export const createLogOfRecord = (options: LogOfRecordOptions): LogOfRecord => ({
  async current(withinMs) {
    const { replica, current } = options;
    if (replica.failure !== undefined) throw replica.failure;
    await current?.(withinMs);
  },
  assertWhole: async () => assertWhole(options),
  async assertDecides() {
    await assertWhole(options);
    if (options.current === undefined && others(options) > 0) {
      throw refused(
        "the space has several hubs, which do not share an engine, so none decides",
        "give them an engine, or revoke those that are gone: ctxmesh space revoke",
      );
    }
  },
});
