// SPDX-License-Identifier: Apache-2.0
/** What is left out on a node, told and fetched. */
import { toBase64 } from "@ctxmesh/codec";
import {
  MeshError,
  hlcToMs,
  parseDocumentName,
  parseSubscription,
  subscriptionRules,
} from "@ctxmesh/model";
import type {
  Clock,
  FetchQuery,
  FetchReport,
  OmissionQuery,
  OmissionReport,
  OmittedSectionReport,
  PartialService,
  PartialSummary,
  Subscription,
} from "@ctxmesh/model";
import type { OmittedSection, Replica } from "@ctxmesh/replica";
import type { SyncNode } from "@ctxmesh/sync";

/** Sections of one page. */
const PAGE = 500;
/** Sections of one wish, and their bytes unless one alone has more: about what fits into one answer. */
const CHUNK_SECTIONS = 64;
const CHUNK_BYTES = 262_144;
/** Sections after which a call answers, and the time; well below that of a request. */
const CALL_SECTIONS = 1_024;
const CALL_MS = 8_000;
const CURSOR = /^([1-9]\d{0,14})\.(\d{1,3})$/u;

/** A place behind which to go on: a position in the log, and a section of the batch there. */
export interface OmittedPlace {
  readonly position: number;
  readonly section: number;
}

const textOf = ({ position, section }: OmittedPlace): string =>
  `${String(position)}.${String(section)}`;

function placeOf(text: string | undefined): OmittedPlace | undefined {
  if (text === undefined) return undefined;
  const [, position, section] = CURSOR.exec(text) ?? [];
  if (position === undefined || section === undefined) {
    throw new MeshError("INPUT_INVALID", `${JSON.stringify(text.slice(0, 80))} is no page's next`, {
      field: "before",
      remedy: "give it as the page before had it",
    });
  }
  return { position: Number(position), section: Number(section) };
}

function reportOf(found: OmittedSection, proof: boolean): OmittedSectionReport {
  const { doc, kind, replica: device, incarnation, seq, section, hash, hlc, bytes, until } = found;
  return {
    doc,
    kind,
    device,
    incarnation,
    seq,
    section,
    hash,
    writtenMs: hlcToMs(hlc),
    bytes,
    ...(until === undefined ? {} : { untilMs: until }),
    ...(proof ? { header: toBase64(found.signed) } : {}),
  };
}

/** How much is left out, and why; absent on a node that keeps everything, and always has. */
export function partialSummary(replica: Replica): PartialSummary | undefined {
  const { subscription, omitted } = replica;
  if (subscription === undefined && omitted.isNone) return undefined;
  const rules = subscription === undefined ? {} : { subscription: subscriptionRules(subscription) };
  return { ...rules, ...omitted.summary() };
}

/** Sections in runs that fit into one answer. */
async function* chunked(
  sections: AsyncIterable<OmittedSection>,
): AsyncGenerator<readonly OmittedSection[]> {
  let chunk: OmittedSection[] = [];
  let bytes = 0;
  for await (const section of sections) {
    if (
      chunk.length >= CHUNK_SECTIONS ||
      (chunk.length > 0 && bytes + section.bytes > CHUNK_BYTES)
    ) {
      yield chunk;
      chunk = [];
      bytes = 0;
    }
    chunk.push(section);
    bytes += section.bytes;
  }
  if (chunk.length > 0) yield chunk;
}

/** What a run of fetching came to, and where the next one goes on. */
export interface FetchRun extends Omit<FetchReport, "next"> {
  readonly next?: OmittedPlace;
}

/** What is fetched: `sections`, newest first, and of facts only what `only` wants. */
export interface FetchOrder {
  readonly sections: AsyncIterable<OmittedSection>;
  readonly only: Subscription | undefined;
}

/** Fetches sections for some time. Rejects as `SyncNode.fetch`. */
export async function fetchSome(
  sync: Pick<SyncNode, "fetch">,
  clock: Clock,
  { sections, only }: FetchOrder,
): Promise<FetchRun> {
  const sum = { filled: 0, bytes: 0, unwanted: 0, unavailable: 0 };
  const asked = new Set<string>();
  const startedMs = clock.now();
  let count = 0;
  for await (const chunk of chunked(sections)) {
    const last = chunk.at(-1);
    const outcome = await sync.fetch(chunk, only);
    sum.filled += outcome.filled;
    sum.bytes += outcome.bytes;
    sum.unwanted += outcome.unwanted;
    sum.unavailable += outcome.unavailable.length;
    for (const device of outcome.asked) asked.add(device);
    count += chunk.length;
    const isOver = count >= CALL_SECTIONS || Math.abs(clock.now() - startedMs) >= CALL_MS;
    if (isOver && last !== undefined) {
      const { position, section } = last;
      return { ...sum, asked: [...asked], next: { position, section } };
    }
  }
  return { ...sum, asked: [...asked] };
}

/** The part of a node's service that is about what it leaves out. */
export class NodePartial implements PartialService {
  readonly #replica: Replica;
  readonly #sync: Pick<SyncNode, "fetch">;
  readonly #clock: Clock;

  constructor(replica: Replica, sync: Pick<SyncNode, "fetch">, clock: Clock) {
    this.#replica = replica;
    this.#sync = sync;
    this.#clock = clock;
  }

  async omissions({ doc, before, proof = false }: OmissionQuery = {}): Promise<OmissionReport> {
    const { omitted } = this.#replica;
    const name = doc === undefined ? undefined : parseDocumentName(doc);
    const from = placeOf(before);
    const summary = partialSummary(this.#replica) ?? omitted.summary();
    const all = omitted.documents();
    const documents = name === undefined ? all : all.filter((each) => each.doc === name);
    const sections: OmittedSectionReport[] = [];
    if (name === undefined) return { summary, documents, sections };
    for await (const found of omitted.sections(name, from)) {
      sections.push(reportOf(found, proof));
      if (sections.length < PAGE) continue;
      return { summary, documents, sections, next: textOf(found) };
    }
    return { summary, documents, sections };
  }

  async fetchOmitted({ doc, key, before }: FetchQuery): Promise<FetchReport> {
    const { omitted } = this.#replica;
    const sections = omitted.sections(parseDocumentName(doc), placeOf(before));
    const only = key === undefined ? undefined : parseSubscription({ keys: [key] });
    const { next, ...report } = await fetchSome(this.#sync, this.#clock, { sections, only });
    omitted.reopen();
    return { ...report, ...(next === undefined ? {} : { next: textOf(next) }) };
  }
}
