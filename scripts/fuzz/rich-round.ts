// SPDX-License-Identifier: Apache-2.0
/** A rich document that is given V1 updates without a batch around them. */
import { MeshError } from "@ctxmesh/model";
import { RichDocument } from "@ctxmesh/rich";
import type { RichInterval } from "@ctxmesh/rich";
import { Dice as EditDice, randomEdit } from "../../packages/rich/test/support.ts";
import { mutateBytes } from "./bytes.ts";
import type { Dice } from "./dice.ts";
import type { Round } from "./round.ts";
import { anyStruct, clocksOf, mutateUpdate, readUpdate, writeUpdate } from "./v1.ts";
import type { Id, Update } from "./v1.ts";

const EDITS = 6;
const HONEST = 1_000_003;
const FUZZED = 7;
const MOST_IDS = 200;

const digestOf = (doc: RichDocument): string => JSON.stringify(doc.content());

/** A round against {@link RichDocument}, checks and effects apart. */
export class RichRound implements Round {
  readonly #doc = new RichDocument();
  readonly #mirror = new RichDocument();
  /** Edits by an honest client that has what the document has. */
  readonly #editor = new RichDocument();
  readonly #ids: Id[] = [];
  #digest = "";
  #interval: RichInterval = { client: FUZZED, from: 0, to: 0 };

  constructor(dice: Dice) {
    for (let i = 0; i < EDITS; i++) {
      const update = this.#edit(dice);
      if (update !== undefined) this.#take(update);
    }
    this.#digest = digestOf(this.#doc);
  }

  #edit(dice: Dice): (RichInterval & { readonly bytes: Uint8Array }) | undefined {
    return this.#editor.change(HONEST, (roots) => randomEdit(new EditDice(dice.word()), roots));
  }

  /** Checks, stages and applies. Returns whether something is missing. */
  #apply(doc: RichDocument, bytes: Uint8Array, interval: RichInterval): boolean {
    const verdict = doc.check(bytes, interval);
    // What no gateway carries can't be forked.
    if (verdict.kind !== "ready") return true;
    doc.stage(verdict.update);
    doc.apply(verdict.update);
    return false;
  }

  #take(update: RichInterval & { readonly bytes: Uint8Array }): void {
    this.#apply(this.#doc, update.bytes, update);
    this.#apply(this.#mirror, update.bytes, update);
    for (let clock = update.from; clock < update.to && this.#ids.length < MOST_IDS; clock++) {
      this.#ids.push([update.client, clock]);
    }
  }

  #fresh(dice: Dice, from: number): Update {
    const structs = Array.from({ length: 1 + dice.roll(4) }, () => anyStruct(dice, this.#ids));
    return { client: FUZZED, from, structs, deletes: [] };
  }

  next(dice: Dice): Uint8Array {
    const from = this.#doc.clockOf(FUZZED);
    const made = dice.chance(50) ? new RichDocument() : undefined;
    // An edit of an empty document, by the fuzzed client: valid here as well when it comes first.
    const edit = made?.change(FUZZED, (roots) => randomEdit(new EditDice(dice.word()), roots));
    const read = edit === undefined ? undefined : readUpdate(edit.bytes);
    const update = read === undefined ? this.#fresh(dice, from) : { ...read, from };
    const changed = dice.chance(80) ? mutateUpdate(dice, update, this.#ids) : update;
    const to = from + (dice.chance(95) ? clocksOf(changed) : dice.number(1));
    this.#interval = { client: FUZZED, from, to: Math.min(Math.max(from, to), 2 ** 53 - 1) };
    const bytes = writeUpdate(changed);
    return dice.chance(20) ? mutateBytes(dice, bytes, writeUpdate(update)) : bytes;
  }

  play(bytes: Uint8Array): string {
    const before = this.#digest;
    try {
      if (this.#apply(this.#doc, bytes, this.#interval)) return this.#unchanged("missing", before);
    } catch (error) {
      if (!(error instanceof MeshError) || error.code === "INTERNAL") throw error;
      return this.#unchanged("refused", before);
    }
    this.#digest = digestOf(this.#doc);
    this.#apply(this.#mirror, bytes, this.#interval);
    if (digestOf(this.#mirror) !== this.#digest)
      throw new Error("a second document has other content");
    return "rich update: accepted";
  }

  #unchanged(verdict: string, before: string): string {
    if (digestOf(this.#doc) !== before)
      throw new Error(`an update that was ${verdict} changed the document`);
    return `rich update: ${verdict}`;
  }

  end(): string {
    const restored = RichDocument.fromState(this.#doc.encodeState());
    if (digestOf(restored) !== this.#digest)
      throw new Error("the document's state does not restore it");
    return "restored: the same";
  }
}
