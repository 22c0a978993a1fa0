// SPDX-License-Identifier: Apache-2.0
/** The port to what hubs tell each other of news in the log that they share. */
import type { SpaceId } from "./ids.ts";

/**
 * A bus that may lose, repeat, delay and invent what is said on it: whoever hears something looks for itself. Without it, or when
 * nothing comes through, hubs find what is new a little later.
 */
export interface HintBus {
  /** Says that the log of a space has a record at a position. Does not wait, and does not fail. */
  tell(space: SpaceId, position: number): void;
  /** Calls `listener` with what others say of a space. Returns how to stop. */
  listen(space: SpaceId, listener: (position: number) => void): () => void;
  /** Lets go. Idempotent. */
  close(): Promise<void>;
}
