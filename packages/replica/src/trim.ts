// SPDX-License-Identifier: Apache-2.0
/** What a replica with a subscription keeps of a batch that it was given whole. */
import { encodeBatch } from "@ctxmesh/codec";
import type { Header, Section } from "@ctxmesh/codec";
import { LIMITS } from "@ctxmesh/model";
import type { DeviceKey } from "@ctxmesh/model";
import type { CheckedBatch } from "./checks.ts";
import type { Part } from "./parts.ts";
import type { Wants } from "./wants.ts";

/** Takes the bodies out of batches that this replica does not want; without a subscription, none. */
export class Trim {
  readonly #wants: Wants | undefined;
  readonly #self: DeviceKey;
  readonly #nowMs: number;

  /** What `self` wrote itself is always whole. */
  constructor(wants: Wants | undefined, self: DeviceKey, nowMs: number) {
    this.#wants = wants;
    this.#self = self;
    this.#nowMs = nowMs;
  }

  /** Whether this replica leaves anything out. */
  get isPartial(): boolean {
    return this.#wants !== undefined;
  }

  #wantsOf({ replica }: Header): Wants | undefined {
    return replica === this.#self ? undefined : this.#wants;
  }

  /**
   * Whether a body may be missing, as far as the header shows. Where the content decides, whoever left it out had it; and its clock may
   * be another one.
   */
  mayOmit(header: Header, section: Section): boolean {
    const wants = this.#wantsOf(header);
    if (wants === undefined) return false;
    return wants.byHeader(header, section, this.#nowMs, LIMITS.clockAheadMs) !== "yes";
  }

  #isKept({ header }: CheckedBatch, part: Part, i: number, wants: Wants): boolean {
    const section = header.sections[i];
    if (section === undefined || wants.byHeader(header, section, this.#nowMs) === "no")
      return false;
    return part.kind !== "facts" || wants.hasOne(part.frame);
  }

  /**
   * The batch as it is stored: without the bodies that are not wanted. They were checked all the same: what no honest writer
   * makes is then refused here as it is where it is wanted.
   */
  keep(batch: CheckedBatch): CheckedBatch {
    const wants = this.#wantsOf(batch.header);
    if (wants === undefined) return batch;
    const parts = batch.parts.map((part, i): Part => {
      const section = batch.header.sections[i];
      if (section === undefined || this.#isKept(batch, part, i, wants)) return part;
      return { kind: "omitted", doc: section.doc, section };
    });
    const bodies = batch.bodies.map((body, i) => (parts[i]?.kind === "omitted" ? null : body));
    if (bodies.every((body, i) => body === batch.bodies[i])) return batch;
    const bytes = encodeBatch({ ...batch, bodies });
    return { ...batch, parts, bodies, bytes, received: batch.bytes };
  }
}
