// SPDX-License-Identifier: Apache-2.0
/** What the bodies of a batch hold, opened and checked; nothing here changes state. */
import { decodeBody, isSurelyCanonical, parseCanonicalJson } from "@ctxmesh/codec";
import type { Header, Section } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { PackedFrame } from "@ctxmesh/facts";
import { LIMITS, fromHex, toHex, toMeshError } from "@ctxmesh/model";
import type { DeviceKey, DocumentName, Hlc, IncarnationId, Refusal } from "@ctxmesh/model";
import { clientIdFrom } from "@ctxmesh/rich";
import type { RichInterval, RichUpdate, RichVerdict } from "@ctxmesh/rich";
import type { MissingOperation } from "./hold.ts";
import type { VoidPart } from "./void-content.ts";

/** One section's content. */
export type Part =
  | { readonly kind: "facts"; readonly doc: DocumentName; readonly frame: PackedFrame }
  | { readonly kind: "rich"; readonly doc: DocumentName; readonly update: RichUpdate }
  /** A rich update that builds on what is void, and so is void itself from that clock on. */
  | {
      readonly kind: "void";
      readonly doc: DocumentName;
      readonly client: number;
      readonly from: number;
      /** It contradicts what was applied of that client, so that has to go, too. */
      readonly forks?: true;
    }
  /** Not looked at: its body is left out; or it is rich content of a document in which such a body is. */
  | { readonly kind: "omitted"; readonly doc: DocumentName; readonly section: Section }
  | { readonly kind: "closed"; readonly doc: DocumentName; readonly section: Section };

/**
 * Checks a rich update against a document as staged: ready, waiting for an operation that may still come,
 * void, or not to be told since something before it is left out. Throws as `RichDocument.check`.
 */
export type OpenRich = (
  doc: DocumentName,
  bytes: Uint8Array,
  interval: RichInterval,
) => RichVerdict | { readonly kind: "void" } | { readonly kind: "closed" };

/** The parts; or why not; or that a rich update builds on what is not here yet. */
export type OpenResult =
  | { readonly kind: "parts"; readonly parts: readonly Part[] }
  | { readonly kind: "missing"; readonly operation: MissingOperation }
  | { readonly kind: "refused"; readonly reason: Refusal; readonly detail: string };

const refused = (reason: Refusal, detail: string): OpenResult & { kind: "refused" } => ({
  kind: "refused",
  reason,
  detail,
});

/**
 * The Yjs client id of an incarnation: from SHA-256 of device key and incarnation, so that every replica
 * can tell whose it is and nobody can write in another's name.
 */
export const clientOf = (replica: DeviceKey, incarnation: IncarnationId): number =>
  clientIdFrom(sha256(fromHex(replica), fromHex(incarnation)));

function checkFrame(
  frame: PackedFrame,
  section: Section,
  after: Hlc,
  upTo: Hlc,
): string | undefined {
  if (frame.from !== section.from || frame.to !== section.to) {
    return "the frame's interval is not the section's";
  }
  if (frame.firstHlc <= after || frame.lastHlc > upTo) {
    return "a fact's clock is not between the previous header's and this one's";
  }
  return frame.lastsMs > (section.until ?? Number.POSITIVE_INFINITY)
    ? "a fact outlasts what its section says"
    : undefined;
}

function openFacts(payload: Uint8Array, section: Section, after: Hlc, upTo: Hlc): OpenResult {
  try {
    const frame = PackedFrame.check(payload, isSurelyCanonical, parseCanonicalJson);
    const problem = checkFrame(frame, section, after, upTo);
    return problem === undefined
      ? { kind: "parts", parts: [{ kind: "facts", doc: section.doc, frame }] }
      : refused("facts", problem);
  } catch (error) {
    return refused("facts", toMeshError(error).message);
  }
}

function openRich(payload: Uint8Array, section: Section, own: number, open: OpenRich): OpenResult {
  const { doc, from, to, alias, by } = section;
  const client = alias ?? own;
  const interval = { client, from, to };
  try {
    const verdict = open(
      doc,
      payload,
      by === undefined ? interval : { ...interval, carried: true, by: toHex(by) },
    );
    switch (verdict.kind) {
      case "closed":
        return { kind: "parts", parts: [{ kind: "closed", doc, section }] };
      case "ready":
        return { kind: "parts", parts: [{ kind: "rich", doc, update: verdict.update }] };
      case "void":
        return { kind: "parts", parts: [{ kind: "void", doc, client, from }] };
      case "forked":
        return { kind: "parts", parts: [{ kind: "void", doc, client, from: 0, forks: true }] };
      case "missing": {
        const { client: other, clock } = verdict;
        return { kind: "missing", operation: { doc, client: other, clock } };
      }
    }
  } catch (error) {
    return refused("rich", toMeshError(error).message);
  }
}

/** Unpacks a section's body. */
function unpack(
  body: Uint8Array,
  section: Section,
): Uint8Array | (OpenResult & { kind: "refused" }) {
  if (section.keyId !== null || section.gen !== 0) {
    // Reading it as what it is not would put other content here than where it can be read.
    return refused(
      "body",
      "the body is encrypted or of a later generation, which this version can't read",
    );
  }
  try {
    return decodeBody(body);
  } catch (error) {
    return refused("body", toMeshError(error).message);
  }
}

/** Opens the facts of one section, whose chain was at `after` and is at `upTo` with its batch. */
export function openFactsSection(
  section: Section,
  body: Uint8Array,
  after: Hlc,
  upTo: Hlc,
): OpenResult {
  const payload = unpack(body, section);
  return "kind" in payload ? payload : openFacts(payload, section, after, upTo);
}

/** Bytes of a rich update, and tags, basis ids or target models, that take about as long as a fact. */
const RICH_BYTES_PER_ITEM = 8;
const TEXTS_PER_ITEM = 8;

/** How much is in parts, as it is charged: facts, or their worth in rich content. */
export function itemsOf(parts: readonly Part[]): number {
  let items = 0;
  for (const part of parts) {
    if (part.kind === "rich") items += part.update.bytes.length / RICH_BYTES_PER_ITEM;
    if (part.kind !== "facts") continue;
    items += part.frame.count + part.frame.texts / TEXTS_PER_ITEM;
  }
  return items;
}

/** The clients that parts show to have two histories, as void parts. */
export const forksIn = (parts: readonly Part[]): readonly VoidPart[] =>
  parts.flatMap((part) =>
    part.kind === "void" && part.forks === true
      ? [{ doc: part.doc, client: part.client, clock: 0 }]
      : [],
  );

/** The sections with their indices, those first that may have to wait: facts never do, and opening them is dear. */
const richFirst = (sections: readonly Section[]): readonly (readonly [number, Section])[] =>
  [...sections.entries()].toSorted(
    ([, a], [, b]) => Number(b.kind === "rich") - Number(a.kind === "rich"),
  );

/**
 * Opens the bodies of a header whose chain was at `after`. They unpack within `LIMITS.bodyBytes` taken
 * together, and hold only well-formed facts and rich updates of the incarnation's own client, or of one that it carries. Those that are left out are passed over.
 */
export function openParts(
  header: Header,
  bodies: readonly (Uint8Array | null)[],
  after: Hlc,
  rich: OpenRich,
): OpenResult {
  const own = clientOf(header.replica, header.incarnation);
  const hasRich = header.sections.some(({ kind }) => kind === "rich");
  if (header.client !== own && (hasRich || header.client !== 0)) {
    return refused("rich", "the Yjs client id is not this incarnation's");
  }
  const parts: (readonly Part[])[] = [];
  let unpacked = 0;
  for (const [i, section] of richFirst(header.sections)) {
    const body = bodies[i] ?? null;
    if (body === null) {
      parts[i] = [{ kind: "omitted", doc: section.doc, section }];
      continue;
    }
    const payload = unpack(body, section);
    if ("kind" in payload) return payload;
    unpacked += payload.length;
    if (unpacked > LIMITS.bodyBytes) {
      const most = String(LIMITS.bodyBytes);
      return refused("body", `the bodies unpack to more than ${most} bytes together`);
    }
    const opened =
      section.kind === "facts"
        ? openFacts(payload, section, after, header.hlc)
        : openRich(payload, section, own, rich);
    if (opened.kind !== "parts") return opened;
    parts[i] = opened.parts;
  }
  return { kind: "parts", parts: parts.flat() };
}
