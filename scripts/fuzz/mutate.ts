// SPDX-License-Identifier: Apache-2.0
/** Mutations of a batch, from single bytes to well-signed content. */
import { decodeBatch, encodeBatch, encodeHeader } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { decodeFrame, encodeFrame } from "@ctxmesh/facts";
import type { FactRecord } from "@ctxmesh/facts";
import { parseHeaderHash, parseIncarnationId, toHex } from "@ctxmesh/model";
import type { HeaderHash, Hlc } from "@ctxmesh/model";
import { clientOf } from "../../test/attacks/support/forge.ts";
import { mutateBytes } from "./bytes.ts";
import { bytesOf, mutateTree, treeOf } from "./cbor-tree.ts";
import type { Party } from "./devices.ts";
import type { Dice } from "./dice.ts";
import { encodeDraft, openDraft, seal } from "./draft.ts";
import type { Draft, DraftSection } from "./draft.ts";
import { DOCS, NOW_MS } from "./scene.ts";
import { clocksOf, mutateUpdate, readUpdate, writeUpdate } from "./v1.ts";
import type { Id } from "./v1.ts";

/** What mutations draw on. */
export interface Material {
  readonly party: Party;
  /** Valid batches. */
  readonly batches: readonly Uint8Array[];
  readonly hashes: readonly HeaderHash[];
  /** Clocks that somebody wrote. */
  readonly ids: readonly Id[];
}

/** Any bytes of the batch, whatever they mean. */
export const mutateRaw = (dice: Dice, base: Uint8Array, { batches }: Material): Uint8Array =>
  mutateBytes(dice, base, dice.pick(batches));

/** Items of the CBOR around header, signature and bodies. */
export const mutateFrame = (dice: Dice, base: Uint8Array): Uint8Array =>
  bytesOf(mutateTree(dice, treeOf(base)));

/** Items of the header's CBOR; signed again, most of the time. */
export function mutateHeader(dice: Dice, base: Uint8Array, { party }: Material): Uint8Array {
  const { header, headerBytes, signature, bodies } = decodeBatch(base);
  const mutated = bytesOf(mutateTree(dice, treeOf(headerBytes)));
  return dice.chance(20)
    ? encodeBatch({ headerBytes: mutated, signature, bodies })
    : seal(party, header.replica, { headerBytes: mutated, bodies });
}

const MS = 4096;

/** One member of a header has another value of its kind. */
function changeField(dice: Dice, draft: Draft, { party, hashes }: Material): Draft {
  const hash = (): HeaderHash =>
    dice.chance(80) && hashes.length > 0
      ? dice.pick(hashes)
      : parseHeaderHash(toHex(dice.bytes(32)));
  switch (dice.roll(12)) {
    case 0:
      return { ...draft, seq: dice.number(draft.seq) };
    case 1:
      return { ...draft, prev: draft.prev === null || dice.chance(80) ? hash() : null };
    case 2:
      return {
        ...draft,
        hlc: Math.min(
          2 ** 53 - 1,
          Math.max(0, draft.hlc + dice.pick([-1, 1, MS, -MS, 1e6 * MS, -1e9 * MS])),
        ) as Hlc,
      };
    case 3:
      return { ...draft, hlc: dice.number(draft.hlc) as Hlc };
    case 4:
      return { ...draft, epoch: dice.number(draft.epoch) };
    case 5:
      return { ...draft, deps: [...new Set([...draft.deps, hash()])].toSorted() };
    case 6:
      return { ...draft, deps: draft.deps.slice(1) };
    case 7:
      return { ...draft, client: dice.number(draft.client) };
    case 8:
      return { ...draft, replica: dice.pick(party.everybody).key };
    case 9: {
      const incarnation = parseIncarnationId(toHex(dice.bytes(16)));
      return {
        ...draft,
        incarnation,
        seq: 1,
        prev: null,
        client: clientOf(draft.replica, incarnation),
      };
    }
    default: {
      const at = dice.roll(draft.sections.length);
      return {
        ...draft,
        sections: draft.sections.map((section, i) =>
          i === at ? changeSection(dice, section) : section,
        ),
      };
    }
  }
}

function changeSection(dice: Dice, section: DraftSection): DraftSection {
  switch (dice.roll(7)) {
    case 0:
      return { ...section, doc: dice.pick(DOCS) };
    case 1:
      return { ...section, gen: dice.number(section.gen) };
    case 2:
      return { ...section, kind: section.kind === "facts" ? "rich" : "facts" };
    case 3:
      return { ...section, from: dice.number(section.from) };
    case 4:
      return { ...section, to: dice.number(section.to) };
    case 5:
      return { ...section, keyId: dice.bytes(16) };
    default:
      return { ...section, payload: mutateBytes(dice, section.payload, dice.bytes(16)) };
  }
}

/** Members of the header and of its sections; signed again. */
export function mutateFields(dice: Dice, base: Uint8Array, material: Material): Uint8Array {
  let draft = openDraft(base);
  for (let times = 1 + dice.roll(2); times > 0; times--) draft = changeField(dice, draft, material);
  return seal(material.party, draft.replica, encodeDraft(draft));
}

const KEYS = ["k0", "k1", "x", "", "a\n", "__proto__", "k".repeat(513)];
const VALUES = [
  "1",
  '"a"',
  "null",
  "[1,2]",
  '{"a":1}',
  '{"b":1,"a":1}',
  '{"__proto__":1}',
  "1.0",
  "",
  "[",
  String.raw`"\ud800"`,
  `${"[".repeat(64)}${"]".repeat(64)}`,
  `${"[".repeat(65)}${"]".repeat(65)}`,
];

function changeRecord(dice: Dice, record: FactRecord, { party }: Material): FactRecord {
  const { retract: _ruling, ...plain } = record;
  switch (dice.roll(10)) {
    case 0:
      return { ...record, key: dice.pick(KEYS) };
    case 1:
      return { ...plain, valueJson: dice.pick(VALUES) };
    case 2:
      return { ...record, seq: Math.max(record.seq - 1, dice.number(record.seq)) };
    case 3:
      return { ...record, hlc: (record.hlc + dice.pick([0, 1, MS, 1e6 * MS])) as Hlc };
    case 4:
      return { ...plain, confidence: dice.pick([0, 1, 0.5, -0, 1.5, Number.NaN, Infinity]) };
    case 5:
      return { ...plain, ttlMs: dice.number(1) };
    case 6:
      return {
        ...plain,
        tags: Array.from({ length: dice.pick([0, 1, 16, 17]) }, () => dice.pick(KEYS)),
      };
    case 7:
      return { ...plain, source: { model: dice.pick(KEYS), version: dice.pick(KEYS) } };
    case 8:
      return {
        key: record.key,
        seq: record.seq,
        hlc: record.hlc,
        retract: {
          writer: dice.pick(party.everybody).key,
          upTo: dice.number(record.hlc) as Hlc,
          reason: dice.pick(KEYS),
        },
      };
    default:
      return {
        ...plain,
        basis: Array.from({ length: dice.pick([0, 1, 17]) }, () => dice.pick(KEYS)),
      };
  }
}

function mutateFacts(dice: Dice, section: DraftSection, material: Material): DraftSection {
  const { records, ...interval } = decodeFrame(section.payload);
  const at = dice.roll(records.length);
  const record = records[at];
  const way = dice.roll(8);
  if (record === undefined || way === 0) {
    return { ...section, payload: mutateBytes(dice, section.payload, dice.bytes(16)) };
  }
  const changed =
    way === 1
      ? records.toSpliced(at, 1)
      : way === 2
        ? records.toSpliced(at, 0, record)
        : records.with(at, changeRecord(dice, record, material));
  const fits = dice.chance(80);
  const to = fits
    ? Math.max(interval.from + 1, changed.at(-1)?.seq ?? 0)
    : dice.number(interval.to);
  const payload = encodeFrame({ ...interval, to, records: changed });
  return { ...section, to: dice.chance(90) ? to : section.to, payload };
}

function mutateRich(dice: Dice, section: DraftSection, { ids }: Material): DraftSection {
  const read = readUpdate(section.payload);
  if (read === undefined || dice.chance(10)) {
    return { ...section, payload: mutateBytes(dice, section.payload, dice.bytes(16)) };
  }
  const update = mutateUpdate(dice, read, ids);
  const fits = dice.chance(90) && Number.isSafeInteger(update.from + clocksOf(update));
  const { from } = section;
  return {
    ...section,
    to: fits ? from + Math.max(0, clocksOf(update)) : section.to,
    payload: writeUpdate(update),
  };
}

/** The content of one section; hashed and signed again. */
export function mutateContent(dice: Dice, base: Uint8Array, material: Material): Uint8Array {
  const draft = openDraft(base);
  const at = dice.roll(draft.sections.length);
  const sections = draft.sections.map((section, i) => {
    if (i !== at) return section;
    return section.kind === "facts"
      ? mutateFacts(dice, section, material)
      : mutateRich(dice, section, material);
  });
  return seal(material.party, draft.replica, encodeDraft({ ...draft, sections }));
}

/** A body that is not what the header says, or that says more than it holds. */
export function mutateBody(dice: Dice, base: Uint8Array, { party }: Material): Uint8Array {
  const { header, headerBytes, signature, bodies } = decodeBatch(base);
  const at = dice.roll(bodies.length);
  const changed = bodies.map((body, i) =>
    i !== at
      ? body
      : dice.chance(10)
        ? null
        : mutateBytes(dice, body ?? new Uint8Array(), dice.bytes(16)),
  );
  if (dice.chance(30)) return encodeBatch({ headerBytes, signature, bodies: changed });
  const sections = header.sections.map((section, i) => {
    const body = changed[i] ?? new Uint8Array();
    return { ...section, bodyHash: sha256(body), bodyLen: body.length };
  });
  const rewritten = encodeHeader({ ...header, sections });
  return seal(party, header.replica, { headerBytes: rewritten, bodies: changed });
}

/** Clocks of the present, for batches made by hand. */
export const CLOCK_MS: number = NOW_MS;
