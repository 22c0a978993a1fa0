// SPDX-License-Identifier: Apache-2.0
/** What callers write and read: facts, their candidates, and the answers to a read. */
import type { Hlc } from "./hlc.ts";
import type { DeviceKey, DocumentName, IncarnationId } from "./ids.ts";
import type { JsonValue } from "./json.ts";

/** Where a fact came from. */
export interface FactSource {
  /** Model or sensor id. */
  readonly model: string;
  readonly version?: string;
  readonly instance?: string;
}

/** A fact as a caller writes it. */
export interface FactInput {
  /** 1 to `LIMITS.keyBytes` bytes of UTF-8 without control characters. */
  readonly key: string;
  /** Any JSON value, `LIMITS.valueBytes` at most as canonical JSON. */
  readonly value: JsonValue;
  /** Add `value`, a number, to this writer's own number under the key (0 when it has none). For the resolver `sum`. */
  readonly increment?: boolean;
  /** 0 to 1; how sure the source is. Absent counts as 1. */
  readonly confidence?: number;
  readonly source?: FactSource;
  /** The fact stops counting this many milliseconds after it was written. */
  readonly ttlMs?: number;
  readonly tags?: readonly string[];
  /** Ids of facts or decisions this one came from. */
  readonly basis?: readonly string[];
  /** Ties facts and events of one undertaking together: 1 to `LIMITS.tagBytes` bytes. */
  readonly correlation?: string;
  /** The trace that it belongs to (W3C Trace Context, version 00). */
  readonly traceparent?: string;
  /** The models that it is for, which filters events; all when absent. */
  readonly targets?: readonly string[];
}

/**
 * Where a candidate stands: `shown` won (or is part of a merged value); `undominated` lost, but nothing
 * makes it irrelevant; `dominated`; `expired` by its ttl; `retracted` by somebody who may; `invalid`, since its value breaks the key's schema.
 */
export type Standing = "shown" | "undominated" | "dominated" | "expired" | "retracted" | "invalid";

/** One writer's current statement about a key. */
export interface Candidate {
  readonly writer: DeviceKey;
  readonly incarnation: IncarnationId;
  /** Position among the facts that this incarnation wrote to the document, from 1. */
  readonly seq: number;
  readonly hlc: Hlc;
  /** Absent when the writer deleted the key. */
  readonly value?: JsonValue;
  readonly deleted: boolean;
  readonly confidence?: number;
  readonly source?: FactSource;
  readonly ttlMs?: number;
  readonly tags?: readonly string[];
  readonly basis?: readonly string[];
  readonly correlation?: string;
  readonly traceparent?: string;
  readonly targets?: readonly string[];
  readonly standing: Standing;
  /** Who retracted it, and why. */
  readonly retraction?: { readonly by: DeviceKey; readonly reason: string };
}

/** The answer to reading a key: the candidate that its resolver picked. */
export interface VisibleFact {
  readonly doc: DocumentName;
  readonly key: string;
  readonly value: JsonValue;
  readonly writer: DeviceKey;
  readonly hlc: Hlc;
  /** Hash of the undominated candidates, hex; changes whenever the answer could. */
  readonly version: string;
  /** Milliseconds since the winner was written, by this replica's clock. */
  readonly ageMs: number;
  /** The undominated candidates do not agree, and the resolver had to pick. */
  readonly contested: boolean;
  /** Something of the document is left out on this node, which may know less than there is to know. */
  readonly incomplete?: true;
  /** The resolver that picked. */
  readonly resolver: string;
  readonly confidence?: number;
  readonly source?: FactSource;
  readonly tags?: readonly string[];
}

/** How far a write has got: synced to this node's disk, held by a hub, or covered by a seal. */
export type AckLevel = "local" | "hub" | "sealed";

/**
 * How urgent a write is. On a link with a backlog what is `high` goes first and what is `low` last; where there is none, all are alike.
 * Writes of different priorities that are under way at the same time have no order among them.
 */
export type Priority = "high" | "normal" | "low";

/** How long a write waits for what, and how urgent it is. */
export interface WriteOptions {
  /** Default `normal`, which edits of rich content and retractions always are. */
  readonly priority?: Priority;
  /** The level at which the write resolves; default `local`. */
  readonly ack?: AckLevel;
  /** How long to wait for it once the write is durable here, in milliseconds: 1 to `LIMITS.ackTimeoutMs`, default `LIMITS.ackDefaultMs`. */
  readonly timeoutMs?: number;
  /**
   * A name of the caller's choice, 1 to `LIMITS.idempotencyKeyLength` visible ASCII characters: the same write under the same name is made once, and answered alike
   * again, for `LIMITS.idempotencyMs`, across restarts of the node. `IDEMPOTENCY_CONFLICT` for another write.
   */
  readonly idempotencyKey?: string;
}

/** The answer to a write. */
export interface WriteReceipt {
  /** The level that was asked for, and is reached. */
  readonly acknowledged: AckLevel;
  readonly hlc: Hlc;
  /** Number of facts written. */
  readonly facts: number;
  /** The batch that carries them, in a chain of this device; for a write that changed nothing, the one before it, or 0. */
  readonly incarnation: IncarnationId;
  readonly seq: number;
  /** Names that batch to reads on any node, which then wait until it has it; absent where no node made the write. */
  readonly token?: string;
}
