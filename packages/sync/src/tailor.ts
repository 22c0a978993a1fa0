// SPDX-License-Identifier: Apache-2.0
import type { Clock } from "@ctxmesh/model";
import { tailored } from "@ctxmesh/replica";
import type { LiveSession } from "./live-session.ts";
import type { SyncReplica, SyncedBatch } from "./sync-replica.ts";

/** What of a batch goes to whom: to a remote with a subscription the bodies that it wants, to any other all of them or nothing. */
export class Tailor {
  readonly #replica: SyncReplica;
  readonly #clock: Clock;
  /** What was made of a batch, by subscription: it goes to many peers. */
  readonly #made = new WeakMap<Uint8Array, Map<string, Uint8Array | undefined>>();

  constructor(replica: SyncReplica, clock: Clock) {
    this.#replica = replica;
    this.#clock = clock;
  }

  /** An applied batch for a remote; undefined when something that it wants is not in it. */
  push({ bytes, whole, head }: SyncedBatch, session: LiveSession): Uint8Array | undefined {
    const { device, state } = session;
    const isOwn = device === head.replica;
    if (whole && (isOwn || state.keeps === undefined)) return bytes;
    const name = `${String(isOwn)} ${state.keeps?.name ?? ""}`;
    const made = this.#made.get(bytes) ?? new Map<string, Uint8Array | undefined>();
    this.#made.set(bytes, made);
    // What the work costs is ours: the batch came or was written here, once for all of them.
    if (!made.has(name)) {
      const subscriber = { wants: state.keeps, device: session.deviceKey };
      made.set(name, tailored(bytes, subscriber, this.#clock.now()));
    }
    return made.get(name);
  }

  /** A stored batch as the answer to a remote, which is charged for what has to be opened; undefined as of {@link push}. */
  answer(bytes: Uint8Array, session: LiveSession): Uint8Array | undefined {
    const { keeps } = session.state;
    if (keeps === undefined && this.#replica.omitted.isNone) return bytes;
    const subscriber = { wants: keeps, device: session.deviceKey };
    return tailored(bytes, subscriber, this.#clock.now(), session);
  }
}
