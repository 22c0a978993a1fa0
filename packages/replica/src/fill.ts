// SPDX-License-Identifier: Apache-2.0
/**
 * Bodies that were left out, and come later. Each is checked against the header that was signed, is written in its place in
 * the log, and then says what it has to say, as if it had always been there: facts apply in any order, and rich content is opened once all of a
 * document's is here, by going through the log. So is one that turns out to be what no honest writer makes: from its batch on, its chain
 * does not count, as it never did for those who had it from the start.
 */
import { encodeBatch } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { LIMITS, toHex } from "@ctxmesh/model";
import type { HeaderHash, Hlc, Store } from "@ctxmesh/model";
import { lackedRole, unpackedOf } from "./checks.ts";
import type { BatchSource, ParsedBatch } from "./checks.ts";
import type { Checkpointer } from "./checkpointer.ts";
import type { Core } from "./core.ts";
import type { ChangedKey } from "./documents.ts";
import { chainKey } from "./layout.ts";
import type { Placed } from "./log.ts";
import { itemsOf, openFactsSection } from "./parts.ts";
import type { Part } from "./parts.ts";

/** Where a body belongs: the batch with this header, and the section's number in it. */
export interface SectionRef {
  readonly hash: HeaderHash;
  readonly section: number;
}

/** A body that was left out. */
export interface LateBody extends SectionRef {
  readonly body: Uint8Array;
}

/** What became of bodies that were handed in. */
export interface FillOutcome {
  /** Those that are in their places now, and their bytes. */
  readonly filled: number;
  readonly bytes: number;
  /** Those that are not what was signed. */
  readonly wrong: number;
}

/** What filling works on. */
export interface FillContext {
  readonly core: Core;
  readonly store: Store;
  readonly checkpointer: Checkpointer;
}

/** A batch with the sections that it gets. */
interface Filling {
  readonly placed: Placed;
  readonly sections: number[];
}

/** What filling came to. */
export interface Filled {
  readonly outcome: FillOutcome;
  readonly changed: readonly ChangedKey[];
  /** Everything has to be worked out anew for it to take effect. */
  readonly rebuild: boolean;
}

const isSigned = (batch: ParsedBatch, section: number, body: Uint8Array): boolean => {
  const signed = batch.header.sections[section];
  return (
    signed !== undefined &&
    body.length === signed.bodyLen &&
    toHex(sha256(body)) === toHex(signed.bodyHash)
  );
};

/** Puts bodies where they are left out and signed for; counts those that are wrong. */
async function place(
  bodies: readonly LateBody[],
  { core }: FillContext,
): Promise<{ readonly fillings: readonly Filling[]; readonly wrong: number }> {
  const fillings = new Map<HeaderHash, Filling>();
  let wrong = 0;
  for (const { hash, section, body } of bodies) {
    const found = fillings.get(hash)?.placed ?? (await core.log.find(hash));
    if (found === undefined) continue;
    const [batch, position] = found;
    if (batch.bodies[section] !== null) continue;
    if (!isSigned(batch, section, body)) {
      wrong++;
      continue;
    }
    const all = batch.bodies.map((known, i) => (i === section ? body : known));
    const bytes = encodeBatch({ ...batch, bodies: all });
    const sections = fillings.get(hash)?.sections ?? [];
    sections.push(section);
    fillings.set(hash, { placed: [{ ...batch, bodies: all, bytes }, position], sections });
  }
  return { fillings: [...fillings.values()], wrong };
}

/** The clock of the batch before one in its chain. */
async function clockBefore({ header }: ParsedBatch, { log }: Core): Promise<Hlc> {
  if (header.prev === null) return 0 as Hlc;
  const pruned = log.pruned.heads.get(chainKey(header.replica, header.incarnation));
  if (pruned?.hash === header.prev) return pruned.hlc;
  return (await log.header(header.prev))?.header.hlc ?? (0 as Hlc);
}

/** The facts in a section of a batch that counts; undefined when they speak against the batch. */
function factsOf(
  batch: ParsedBatch,
  section: number,
  after: Hlc,
  { records }: Core,
): readonly Part[] | undefined {
  const signed = batch.header.sections[section];
  const body = batch.bodies[section];
  if (signed === undefined || !(body instanceof Uint8Array)) return undefined;
  const opened = openFactsSection(signed, body, after, batch.header.hlc);
  if (opened.kind !== "parts") return undefined;
  return lackedRole(batch, opened.parts, records) === undefined ? opened.parts : undefined;
}

/** Applies what came; whatever can't be applied by itself is left to a rebuild. */
function apply(
  { placed: [batch], sections }: Filling,
  after: Hlc,
  core: Core,
  source: BatchSource | undefined,
): { readonly changed: readonly ChangedKey[]; readonly rebuild: boolean } {
  const { header } = batch;
  const { frontier, documents } = core.state;
  const counts = (frontier.head(header.replica, header.incarnation)?.seq ?? 0) >= header.seq;
  if (!counts) return { changed: [], rebuild: false };
  const parts: Part[] = [];
  // All together may be too much, which only opening all of them tells.
  let rebuild = unpackedOf(batch) >= LIMITS.bodyBytes;
  for (const i of sections) {
    const section = header.sections[i];
    if (section === undefined) continue;
    documents.omissions.count(header, section, -1);
    if (section.kind === "rich") {
      rebuild ||= documents.omissions.of(section.doc)?.rich === 0;
      continue;
    }
    const facts = factsOf(batch, i, after, core);
    if (facts === undefined) rebuild = true;
    else parts.push(...facts);
  }
  source?.charge({ bytes: 0, items: itemsOf(parts) });
  return { changed: rebuild ? [] : documents.apply({ header, parts })(), rebuild };
}

/** Takes bodies in; what was filled is durable then. */
export async function fill(
  bodies: readonly LateBody[],
  source: BatchSource | undefined,
  context: FillContext,
): Promise<Filled> {
  const { core, store, checkpointer } = context;
  const { fillings, wrong } = await place(bodies, context);
  if (fillings.length === 0) {
    return { outcome: { filled: 0, bytes: 0, wrong }, changed: [], rebuild: false };
  }
  const clocks: Hlc[] = [];
  for (const { placed } of fillings) clocks.push(await clockBefore(placed[0], core));
  const changes = core.log.replaceAt(fillings.map(({ placed }) => placed));
  await store.write([...changes, ...checkpointer.bodiesChange()]);
  const changed: ChangedKey[] = [];
  let rebuild = false;
  let [filled, bytes] = [0, 0];
  for (const [i, filling] of fillings.entries()) {
    const [{ header }] = filling.placed;
    filled += filling.sections.length;
    for (const section of filling.sections) bytes += header.sections[section]?.bodyLen ?? 0;
    const applied = apply(filling, clocks[i] ?? (0 as Hlc), core, source);
    changed.push(...applied.changed);
    rebuild ||= applied.rebuild;
  }
  return { outcome: { filled, bytes, wrong }, changed, rebuild };
}
