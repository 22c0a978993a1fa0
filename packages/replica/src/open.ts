// SPDX-License-Identifier: Apache-2.0
import type { Space } from "@ctxmesh/membership";
import { MeshError } from "@ctxmesh/model";
import type { DeviceKey, SignatureVerifier, Store, StoreChange, Vault } from "@ctxmesh/model";
import { decodeSignedHeader } from "./evidence.ts";
import { expectedRange, readExpected, voidHeaderRange } from "./layout.ts";
import { BatchLog } from "./log.ts";
import { Records } from "./records.ts";
import { StateBuilder } from "./state.ts";
import type { State } from "./state.ts";
import { VoidHeaders } from "./void-headers.ts";

/** What a store holds, rebuilt. */
export interface OpenState {
  readonly log: BatchLog;
  readonly records: Records;
  readonly voidHeaders: VoidHeaders;
  readonly state: State;
  /** Heads that a damaged store had and this one has to reach. */
  readonly expected: readonly ExpectedHead[];
  /** Records of the space file, for the store to have them as well. */
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
}

/** Rebuilds the state of a space from its store. Throws `STORE_CORRUPT`, and `STORE_FORMAT` for a store of another space. */
export async function openState(context: OpenContext): Promise<OpenState> {
  const { store, vault, space, self, verifier } = context;
  const { records, changes } = await Records.load(store, space, verifier);
  const voidHeaders = new VoidHeaders();
  for await (const [, value] of store.scan(voidHeaderRange)) {
    voidHeaders.add(decodeSignedHeader(value));
  }
  const builder = new StateBuilder(records, self, voidHeaders);
  const log = await BatchLog.open(store, vault, (batch, position) => {
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
  return { log, records, voidHeaders, state: builder.finish(), expected, changes };
}

/** Works out anew what the log amounts to. */
export async function rebuildState(
  log: BatchLog,
  records: Records,
  self: DeviceKey,
  voidHeaders: VoidHeaders,
): Promise<State> {
  const builder = new StateBuilder(records, self, voidHeaders);
  for await (const [batch, position] of log.batches()) builder.add(batch, position);
  return builder.finish();
}
