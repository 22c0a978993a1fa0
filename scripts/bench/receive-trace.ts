// SPDX-License-Identifier: Apache-2.0
/** An editing session: a few people type in one text, each in a place of their own, and move now and then. */
import { RichDocument } from "@ctxmesh/rich";
import type { RichInterval, RichUpdate } from "@ctxmesh/rich";
import { createSeededRandom } from "@ctxmesh/testing";

/** One person's update, to be applied after those before it in the trace. */
export interface TracedUpdate extends RichInterval {
  readonly bytes: Uint8Array;
}

const WORDS = "the seal of press seven leaks under load and has to be changed before noon ".split(
  " ",
);
/** Edits between two exchanges: within them people don't see each other. */
const APART = 8;
/** Of 100 edits: how many go on where the last one ended, and how many delete. */
const GO_ON = 85;
const DELETE = 12;

/** Where somebody types. */
interface Person {
  readonly client: number;
  readonly doc: RichDocument;
  cursor: number;
  /** How much of the trace is applied. */
  known: number;
}

/** Whole numbers below a bound, the same every time. */
function dice(seed: number): (sides: number) => number {
  const random = createSeededRandom(seed);
  return (sides) => {
    const [a = 0, b = 0, c = 0] = random.bytes(3);
    return ((a << 16) | (b << 8) | c) % sides;
  };
}

function edit(person: Person, roll: (sides: number) => number): RichUpdate | undefined {
  return person.doc.change(person.client, (roots) => {
    const text = roots.text("notes");
    if (roll(100) >= GO_ON) person.cursor = roll(text.length + 1);
    person.cursor = Math.min(person.cursor, text.length);
    if (roll(100) < DELETE && person.cursor > 0) {
      const length = Math.min(person.cursor, 1 + roll(4));
      person.cursor -= length;
      text.delete(person.cursor, length);
      return;
    }
    const typed = `${WORDS[roll(WORDS.length)] ?? ""} `.slice(0, 1 + roll(6));
    text.insert(person.cursor, typed);
    person.cursor += typed.length;
  });
}

function catchUp(person: Person, trace: readonly TracedUpdate[]): void {
  for (; person.known < trace.length; person.known++) {
    const update = trace[person.known];
    if (update === undefined || update.client === person.client) continue;
    const verdict = person.doc.check(update.bytes, update);
    if (verdict.kind !== "ready") throw new Error("the trace is out of order");
    person.doc.stage(verdict.update);
    person.doc.apply(verdict.update);
  }
}

/** `edits` edits by these clients, in an order in which each comes after what it builds on. */
export function editingTrace(clients: readonly number[], edits: number): readonly TracedUpdate[] {
  const roll = dice(20_260_101);
  const people = clients.map((client): Person => ({
    client,
    doc: new RichDocument(),
    cursor: 0,
    known: 0,
  }));
  const trace: TracedUpdate[] = [];
  while (trace.length < edits) {
    for (const person of people) {
      for (let i = 0; i < APART; i++) {
        const update = edit(person, roll);
        if (update === undefined) continue;
        person.doc.apply(update);
        trace.push(update);
      }
    }
    for (const person of people) catchUp(person, trace);
  }
  return trace;
}
