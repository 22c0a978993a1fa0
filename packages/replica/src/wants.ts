// SPDX-License-Identifier: Apache-2.0
/** A subscription as it is looked at: which sections of a batch it wants, and what a subscriber is sent of one. */
import { decodeBatch, decodeBody, encodeBatch, unpackedBytes } from "@ctxmesh/codec";
import type { Batch, Header, Section } from "@ctxmesh/codec";
import { decodeFrame } from "@ctxmesh/facts";
import type { FactFrame, FactRecord } from "@ctxmesh/facts";
import { LIMITS, hlcToMs } from "@ctxmesh/model";
import type { DeviceKey, Subscription } from "@ctxmesh/model";
import type { BatchSource } from "./checks.ts";
import { Glob } from "./glob.ts";

/** What a header says of a section: it is wanted, it is not, or its content decides. */
export type Wanted = "yes" | "no" | "maybe";

/** A subscription, ready to be asked. */
export class Wants {
  readonly subscription: Subscription;
  /** The same for equal subscriptions. */
  readonly name: string;
  readonly #patterns: readonly Glob[] | undefined;
  readonly #models: ReadonlySet<string> | undefined;

  /** `subscription` is as `parseSubscription` gives it. Throws as {@link Glob}. */
  constructor(subscription: Subscription) {
    const { keys, models } = subscription;
    this.subscription = subscription;
    this.name = JSON.stringify(subscription);
    this.#patterns = keys?.map((pattern) => new Glob(pattern));
    this.#models = models === undefined ? undefined : new Set(models);
  }

  /**
   * As far as the header shows. Clocks differ, so for `slackMs` around the oldest age that is wanted a section may be either.
   */
  byHeader(
    { hlc }: Pick<Header, "hlc">,
    section: Pick<Section, "doc" | "kind">,
    nowMs: number,
    slackMs = 0,
  ): Wanted {
    const { docs, maxAgeMs = Number.POSITIVE_INFINITY } = this.subscription;
    if (docs !== undefined && !docs.some((prefix) => section.doc.startsWith(prefix))) return "no";
    const ageMs = nowMs - hlcToMs(hlc);
    if (ageMs >= maxAgeMs + slackMs) return "no";
    const depends = this.#patterns !== undefined || this.#models !== undefined;
    return ageMs >= maxAgeMs - slackMs || (section.kind === "facts" && depends) ? "maybe" : "yes";
  }

  /** Whether one of the facts of a section that may be wanted is. */
  hasOne({ records }: FactFrame): boolean {
    return records.some((record) => this.#wants(record));
  }

  /** What has no source of its own (a withdrawal, a ruling, a plain statement) may speak against what has. */
  #wants({ key, source }: FactRecord): boolean {
    if (source !== undefined && this.#models?.has(source.model) === false) return false;
    return this.#patterns === undefined || this.#patterns.some((pattern) => pattern.matches(key));
  }
}

/** Whoever is to be sent a batch. */
export interface Subscriber {
  /** Undefined for one that wants everything. */
  readonly wants: Wants | undefined;
  /** What this device wrote itself it gets whole. */
  readonly device: DeviceKey;
}

/**
 * Whether a stored body holds facts of which one is wanted; so is one that can't be read, which makes its batch void. `source` is
 * charged for opening it.
 */
export function bodyIsWanted(
  body: Uint8Array,
  wants: Wants,
  source: BatchSource | undefined,
): boolean {
  source?.charge({ bytes: Math.min(unpackedBytes(body), LIMITS.bodyBytes), items: 0 });
  try {
    const frame = decodeFrame(decodeBody(body));
    source?.charge({ bytes: 0, items: frame.records.length });
    return wants.hasOne(frame);
  } catch {
    return true;
  }
}

/** What a subscriber gets of one section; `lacking` when it is wanted and not here. */
function bodyFor(
  { header, bodies }: Batch,
  i: number,
  { wants, device }: Subscriber,
  nowMs: number,
  source: BatchSource | undefined,
): Uint8Array | null | "lacking" {
  const body = bodies[i] ?? null;
  const section = header.sections[i];
  if (section === undefined) return body;
  const isAll = wants === undefined || header.replica === device;
  const byHeader = isAll ? "yes" : wants.byHeader(header, section, nowMs);
  if (byHeader === "no") return null;
  // What the content decides can't be said without it: whoever asks for it is told that it is not to be had here.
  if (body === null) return (section.until ?? Number.POSITIVE_INFINITY) < nowMs ? null : "lacking";
  if (byHeader === "yes" || wants === undefined) return body;
  return bodyIsWanted(body, wants, source) ? body : null;
}

/**
 * The bytes of a stored batch as a subscriber is to get them: without the bodies that it does not want; undefined when one that it does
 * want is not here. What has expired for good may be missing in any case; it is not left out where it is here, since the subscriber
 * may not have come as far. `source` is charged for what has to be opened.
 */
export function tailored(
  bytes: Uint8Array,
  subscriber: Subscriber,
  nowMs: number,
  source?: BatchSource,
): Uint8Array | undefined {
  const batch = decodeBatch(bytes);
  const bodies: (Uint8Array | null)[] = [];
  for (const i of batch.header.sections.keys()) {
    const body = bodyFor(batch, i, subscriber, nowMs, source);
    if (body === "lacking") return undefined;
    bodies.push(body);
  }
  const isSame = bodies.every((body, i) => (body === null) === (batch.bodies[i] === null));
  return isSame ? bytes : encodeBatch({ ...batch, bodies });
}
