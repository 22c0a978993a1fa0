// SPDX-License-Identifier: Apache-2.0
/** What is left out here, told by the headers that sign it; and the bodies that others lack. */
import { decodeBatch } from "@ctxmesh/codec";
import { LIMITS } from "@ctxmesh/model";
import type { DeviceKey, DocumentName, Hlc, IncarnationId, Store } from "@ctxmesh/model";
import type { BatchSource } from "./checks.ts";
import type { Core } from "./core.ts";
import { encodeSignedHeader, hashOfHeader } from "./evidence.ts";
import type { SectionRef } from "./fill.ts";
import { logKey, logRange, readU64 } from "./layout.ts";
import { STORED_BYTES } from "./stored-batch.ts";
import { bodyIsWanted } from "./wants.ts";
import type { Wants } from "./wants.ts";

/** A section of a batch that counts, whose body is left out. */
export interface OmittedSection extends SectionRef {
  /** Of the batch in the log. */
  readonly position: number;
  readonly replica: DeviceKey;
  readonly incarnation: IncarnationId;
  /** Of the batch in its chain. */
  readonly seq: number;
  readonly hlc: Hlc;
  readonly doc: DocumentName;
  readonly kind: "facts" | "rich";
  readonly bytes: number;
  /** When the last of its facts expires, Unix milliseconds. */
  readonly until?: number;
  /** CBOR `[header, signature]`: it proves that there is such a body, and which. */
  readonly signed: Uint8Array;
}

/**
 * The sections that are left out here, of one document or all, newest first by the order of the log, behind a place in it. What is
 * pruned is not among them.
 */
export async function* omittedSections(
  store: Store,
  { log, state: { frontier } }: Core,
  doc?: DocumentName,
  before: Pick<OmittedSection, "position" | "section"> = { position: 0, section: 0 },
): AsyncGenerator<OmittedSection> {
  const all = logRange(log.pruned.position + 1);
  const lt = before.position === 0 ? all.lt : logKey(before.position + 1);
  for await (const [key, stored] of store.scan({ ...all, lt, reverse: true })) {
    const position = readU64(key, 1);
    if (position <= log.pruned.position) return;
    const { header, headerBytes, signature, bodies } = decodeBatch(stored, STORED_BYTES);
    if (bodies.every((body) => body !== null)) continue;
    const { replica, incarnation, seq, hlc } = header;
    if (seq > (frontier.head(replica, incarnation)?.seq ?? 0)) continue;
    const hash = hashOfHeader(headerBytes);
    const signed = encodeSignedHeader({ headerBytes, signature });
    for (const [section, { doc: name, kind, bodyLen, until }] of header.sections.entries()) {
      if (bodies[section] !== null || (doc !== undefined && name !== doc)) continue;
      if (position === before.position && section <= before.section) continue;
      const of = { position, hash, section, replica, incarnation, seq, hlc };
      yield {
        ...of,
        doc: name,
        kind,
        bytes: bodyLen,
        ...(until === undefined ? {} : { until }),
        signed,
      };
    }
  }
}

/** The answer to the wish for a body: null when it is here, and nothing in it is among what was asked for. */
export interface FoundBody extends SectionRef {
  readonly body: Uint8Array | null;
}

/** Looking up a batch is charged as about so many facts. */
const ITEMS_PER_READ = 64;

/**
 * The bodies that are here of those that are wanted, up to some `LIMITS.syncChunkBytes`; of facts only those with something that `only`
 * wants. `source`, who asks, is charged for what is read and opened.
 */
export async function findBodies(
  { log }: Core,
  wanted: readonly SectionRef[],
  only: Wants | undefined,
  source: BatchSource | undefined,
): Promise<readonly FoundBody[]> {
  const found: FoundBody[] = [];
  let bytes = 0;
  let last: Awaited<ReturnType<typeof log.byHash>>;
  for (const { hash, section } of wanted) {
    if (last?.hash !== hash) {
      source?.charge({ bytes: 0, items: ITEMS_PER_READ });
      last = await log.byHash(hash);
    }
    const body = last?.bodies[section] ?? null;
    const signed = last?.header.sections[section];
    if (body === null || signed === undefined) continue;
    if (bytes > 0 && bytes + body.length > LIMITS.syncChunkBytes) break;
    if (signed.kind === "facts" && only !== undefined && !bodyIsWanted(body, only, source)) {
      found.push({ hash, section, body: null });
      continue;
    }
    found.push({ hash, section, body });
    bytes += body.length;
  }
  return found;
}
