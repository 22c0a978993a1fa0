// SPDX-License-Identifier: Apache-2.0
import type { Space } from "@ctxmesh/membership";
import type {
  Clock,
  DeviceSigner,
  Logger,
  RandomSource,
  SignatureVerifier,
  Store,
  Subscription,
  Vault,
} from "@ctxmesh/model";
import type { EngineOptions } from "./document-engines.ts";
import type { Journal } from "./journal.ts";

/** What a replica is made of. */
export interface ReplicaOptions extends EngineOptions {
  /** Used by this replica alone; the replica does not close it. */
  readonly store: Store;
  /** Seals the bodies of batches in the store; without one they are stored as they came. */
  readonly vault?: Vault;
  /** Has first whatever becomes durable here; the replica does not close it. */
  readonly journal?: Journal;
  /** From the space file; the store may know more of its acts. */
  readonly space: Space;
  readonly signer: DeviceSigner;
  readonly verifier: SignatureVerifier;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  /** What of others' batches is kept; everything without it. As `parseSubscription` gives it. */
  readonly subscription?: Subscription;
  /** Resolves once the event loop has gone round. With it, a flood of batches leaves other work its turns. */
  readonly rest?: () => Promise<void>;
  /** Resolves after some milliseconds. With it, local writes that come in quick succession share a batch. */
  readonly wait?: (ms: number) => Promise<void>;
}
