// SPDX-License-Identifier: Apache-2.0
/** Chains made by hand: every batch stands at the right place of its chain, with content made at random. */
import { encodeFrame } from "@ctxmesh/facts";
import type { FactRecord } from "@ctxmesh/facts";
import { hlcFromMs, parseIncarnationId, toHex } from "@ctxmesh/model";
import type { DeviceKey, DocumentName, HeaderHash, Hlc, IncarnationId } from "@ctxmesh/model";
import { clientOf } from "../../test/attacks/support/forge.ts";
import type { Member, Party } from "./devices.ts";
import type { Dice } from "./dice.ts";
import { encodeDraft, seal } from "./draft.ts";
import type { Draft, DraftSection } from "./draft.ts";
import { DOCS, NOW_MS } from "./scene.ts";
import { anyStruct, clocksOf, writeUpdate } from "./v1.ts";
import type { Id, Struct } from "./v1.ts";

/** A chain of a forger and where it stands. */
export class Forger {
  readonly #party: Party;
  readonly #member: Member;
  readonly incarnation: IncarnationId;
  readonly client: number;
  #seq = 0;
  #head: HeaderHash | null = null;
  /** By kind and document: the next seq or clock. */
  readonly #next = new Map<string, number>();

  constructor(party: Party, member: Member, dice: Dice) {
    this.#party = party;
    this.#member = member;
    this.incarnation = parseIncarnationId(toHex(dice.bytes(16)));
    this.client = clientOf(member.key, this.incarnation);
  }

  get replica(): DeviceKey {
    return this.#member.key;
  }

  /** The next batch of the chain. */
  make(dice: Dice, hashes: readonly HeaderHash[], ids: readonly Id[]): Uint8Array {
    const hlc = hlcFromMs(NOW_MS - 30_000 + this.#seq);
    const sections = DOCS.filter(() => dice.chance(60)).flatMap((doc) => [
      ...(dice.chance(40) ? [this.#facts(dice, doc, hlc)] : []),
      ...(dice.chance(70) ? [this.#rich(dice, doc, ids)] : []),
    ]);
    const draft: Draft = {
      space: this.#party.space.id,
      replica: this.#member.key,
      incarnation: this.incarnation,
      seq: this.#seq + 1,
      prev: this.#head,
      hlc,
      epoch: 0,
      deps: dice.chance(60) && hashes.length > 0 ? [dice.pick(hashes)] : [],
      client: this.client,
      sections:
        sections.length === 0 ? [this.#facts(dice, DOCS[0] as DocumentName, hlc)] : sections,
    };
    return seal(this.#party, draft.replica, encodeDraft(draft));
  }

  #facts(dice: Dice, doc: DocumentName, hlc: Hlc): DraftSection {
    const from = this.#next.get(`facts ${doc}`) ?? 0;
    const records = Array.from({ length: 1 + dice.roll(3) }, (_, i): FactRecord => ({
      key: `k${String(dice.roll(6))}`,
      seq: from + 1 + i,
      hlc: (hlc - 8 + i) as Hlc,
      valueJson: String(dice.roll(100)),
    }));
    const to = from + records.length;
    const payload = encodeFrame({ from, to, records });
    return { doc, gen: 0, kind: "facts", from, to, keyId: null, payload };
  }

  #rich(dice: Dice, doc: DocumentName, ids: readonly Id[]): DraftSection {
    const from = this.#next.get(`rich ${doc}`) ?? 0;
    const structs: Struct[] = [];
    const known = [...ids];
    let clock = from;
    for (let count = dice.roll(4); count > 0; count--) {
      const struct = anyStruct(dice, dice.chance(30) ? [] : known);
      structs.push(struct);
      known.push([this.client, clock]);
      clock += struct.length;
    }
    const deletes = ids.length > 0 && dice.chance(30) ? [dice.pick(ids)] : [];
    const update = {
      client: this.client,
      from,
      structs,
      deletes: deletes.map(([client, at]) => [client, [[at, 1] as const]] as const),
    };
    const to = Math.min(Number.MAX_SAFE_INTEGER, from + clocksOf(update));
    return { doc, gen: 0, kind: "rich", from, to, keyId: null, payload: writeUpdate(update) };
  }

  /** A batch of this chain was accepted. */
  advance(draft: Draft, hash: HeaderHash): void {
    if (draft.seq !== this.#seq + 1) return;
    this.#seq = draft.seq;
    this.#head = hash;
    for (const { kind, doc, to } of draft.sections) this.#next.set(`${kind} ${doc}`, to);
  }
}
