// SPDX-License-Identifier: Apache-2.0
/** The care of a node's store: its check, and its keys. */

/** The check of a store for what rots while nobody reads it. Times are Unix milliseconds. */
export interface ScrubReport {
  /** When the one under way was begun; absent when none is. */
  readonly startedAt?: number;
  /** The last one that was ended since the node was started. */
  readonly last?: {
    readonly endedAt: number;
    /** Files and records that were checked. */
    readonly tables: number;
    readonly records: number;
    /** How many of them are damaged. */
    readonly damaged: number;
    /** Why it came to no end, where it did not. */
    readonly failure?: string;
  };
  /** What is damaged, by any check since the store was opened: the file or the record, 100 at most. */
  readonly findings: readonly string[];
}

/** How a store is encrypted. Times are Unix milliseconds. */
export interface KeysReport {
  /** Without encryption nothing else is here. */
  readonly encrypted: boolean;
  readonly keys?: {
    /** The key that protects the store's key, such as `file:/etc/ctxmesh/store.key`. */
    readonly provider: string;
    /** Number of the store's key: 1, and one more for each new one; and when it was made. */
    readonly storeKey: number;
    readonly storeKeyMadeMs: number;
    /** A new store key was begun and does not wrap every data key yet; the next start goes on with it. */
    readonly rotating: boolean;
    readonly dataKeys: number;
    /** Documents, and generations of them, that have data keys. */
    readonly documents: number;
    /** The most epochs that one of them has had. */
    readonly epochs: number;
    /** Of the data keys that encrypt now: when the oldest and the newest were made; absent without any. */
    readonly oldestMs?: number;
    readonly newestMs?: number;
    /** Whether what was written before encryption was switched on is read as it is. */
    readonly acceptsPlain: boolean;
  };
}

/** What became of the data keys when their store key was replaced. */
export interface RewrapReport {
  /** The key that protects the store's key now. */
  readonly provider: string;
  /** Data keys that were wrapped anew, and those whose records are damaged and stayed as they are. */
  readonly rewrapped: number;
  readonly unreadable: number;
}

/** What a node offers for the care of its store. */
export interface CareService {
  /** How the store is encrypted. */
  keys(): KeysReport;
  /** Ends the epochs of all data keys; resolves with their number. `INPUT_INVALID` without encryption, `STORE_FAILED`. */
  rotateKeys(): Promise<number>;
  /**
   * Protects the store with another key, whose location is a text such as `file:/etc/ctxmesh/store.key`, and wraps
   * all data keys with a new store key. Payloads stay as they are. Rejects with `INPUT_INVALID`, with
   * `KEY_INVALID`, `CONFIG_INVALID`, `FILE_UNAVAILABLE` or `UNREACHABLE` of the key, and with `STORE_FAILED`.
   */
  rewrapKeys(to: string): Promise<RewrapReport>;
  /** Begins a check of the whole store unless one is under way; how it goes is in the report, and in the status. */
  scrub(): ScrubReport;
}
