// SPDX-License-Identifier: Apache-2.0
import type { Space } from "@ctxmesh/membership";
import { MeshError, toMeshError } from "@ctxmesh/model";
import type {
  DeviceKey,
  Logger,
  SignatureVerifier,
  Store,
  StoreChange,
  Vault,
} from "@ctxmesh/model";
import type { Checkpoint } from "./checkpoint-format.ts";
import { Checkpoints, judgedBy } from "./checkpoints.ts";
import type { Core } from "./core.ts";
import type { DocumentEngines } from "./document-engines.ts";
import { expectedRange, readExpected } from "./layout.ts";
import type { Head } from "./layout.ts";
import { BatchLog, prunedBy } from "./log.ts";
import { Records } from "./records.ts";
import { StateBuilder } from "./state.ts";
import type { VoidPart } from "./void-content.ts";
import type { State, StateStart } from "./state.ts";
import { VoidHeaders } from "./void-headers.ts";

/** What a store holds, rebuilt. */
export interface OpenState {
  readonly log: BatchLog;
  readonly records: Records;
  readonly voidHeaders: VoidHeaders;
  readonly checkpoints: Checkpoints;
  readonly state: State;
  /** Heads that a damaged store had and this one has to reach. */
  readonly expected: readonly ExpectedHead[];
  /** Records of the space file, for the store to have them as well; and without a checkpoint that is not true any more. */
  readonly changes: readonly StoreChange[];
}

/** How far a chain was in a store that was damaged. */
export type ExpectedHead = ReturnType<typeof readExpected>;

/** What opening needs to know. */
export interface OpenContext {
  readonly store: Store;
  readonly vault?: Vault;
  /** From a space file; the store may know more acts. */
  readonly space: Space;
  readonly self: DeviceKey;
  readonly verifier: SignatureVerifier;
  readonly logger: Logger;
  readonly engines: DocumentEngines;
}

/** Where the state begins: at the newest checkpoint, or else at the base. */
async function startOf(
  checkpoints: Checkpoints,
  records: Records,
  logger: Logger,
): Promise<StateStart> {
  const { latest } = checkpoints;
  if (latest !== undefined) {
    try {
      const documents = await checkpoints.documents(latest, records.space);
      return { checkpoint: latest, documents };
    } catch (error) {
      const { code, message } = toMeshError(error);
      if (code !== "STORE_CORRUPT") throw error;
      logger.warn("replica.checkpoint-unusable", { reason: message });
      checkpoints.dropLatest();
    }
  }
  const { base } = checkpoints;
  const documents = await checkpoints.documents(base, records.space);
  return { checkpoint: base, documents };
}

/** The newest stored batch of each chain at a checkpoint. */
const storedHeads = (checkpoint: Checkpoint | undefined): readonly Head[] => [
  ...(checkpoint?.heads ?? []),
  ...(checkpoint?.voids ?? []).map(({ head }) => head),
];

/**
 * Rebuilds the state of a space from its store: from the newest checkpoint and the log behind it. Throws `STORE_CORRUPT`,
 * and `STORE_FORMAT` for a store of another space.
 */
export async function openState(context: OpenContext): Promise<OpenState> {
  const { store, vault, space, self, verifier, logger, engines } = context;
  const { records, changes } = await Records.load(store, space, verifier);
  const voidHeaders = await VoidHeaders.load(store);
  const judged = judgedBy(records, self);
  const { checkpoints, problem } = await Checkpoints.load(store, vault, judged, engines);
  if (problem !== undefined) logger.warn("replica.checkpoint-unusable", { reason: problem });
  const start = await startOf(checkpoints, records, logger);
  const builder = new StateBuilder(records, self, voidHeaders, start);
  const logStart = {
    pruned: prunedBy(checkpoints.base),
    position: checkpoints.latest?.position ?? 0,
    heads: storedHeads(start.checkpoint),
  };
  const log = await BatchLog.open(store, vault, logStart, (batch, position) => {
    if (batch.header.space !== space.id) {
      throw new MeshError("STORE_FORMAT", `the store holds the space ${batch.header.space}`, {
        field: "store",
        remedy: "use the space file of that space, or another store",
      });
    }
    builder.add(batch, position);
  });
  const expected: ExpectedHead[] = [];
  for await (const [key, value] of store.scan(expectedRange)) {
    expected.push(readExpected(key, value));
  }
  const dropped = checkpoints.latest === undefined ? checkpoints.dropLatest() : [];
  const built = builder.finish();
  const isForked = built.forked.length > 0;
  const also = isForked ? checkpoints.dropLatest() : [];
  const parts = { log, checkpoints, records, voidHeaders };
  const state = isForked ? await rebuildState(parts, self) : built;
  return {
    log,
    records,
    voidHeaders,
    checkpoints,
    state,
    expected,
    changes: [...changes, ...dropped, ...also],
  };
}

/** Works out anew what the log amounts to. */
export async function rebuildState(
  {
    log,
    checkpoints,
    records,
    voidHeaders,
  }: Pick<Core, "log" | "checkpoints" | "records" | "voidHeaders">,
  self: DeviceKey,
): Promise<State> {
  const { base } = checkpoints;
  const forked: VoidPart[] = [];
  for (;;) {
    const documents = await checkpoints.documents(base, records.space);
    for (const { doc, client, clock } of forked) documents.voids.addPart(doc, client, clock);
    const builder = new StateBuilder(records, self, voidHeaders, { checkpoint: base, documents });
    for await (const [batch, position] of log.batches()) builder.add(batch, position);
    const state = builder.finish();
    if (state.forked.length === 0) return state;
    forked.push(...state.forked);
  }
}
