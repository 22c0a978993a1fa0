// SPDX-License-Identifier: Apache-2.0
/** Goal: what changes is told once to all, soon; who can't take it gets it later, whole; nothing piles up. */
import { LIMITS } from "@ctxmesh/model";
import type { DocumentName, Projection } from "@ctxmesh/model";
import { mergeRichUpdates } from "@ctxmesh/rich";
import { describe, expect, test } from "vitest";
import * as Y from "yjs";
import { Room } from "../src/room.ts";
import { parseClientMessage } from "../src/wire.ts";
import { PlainDocuments, ROOM, until } from "./kit.ts";

/** An end that keeps what it is sent, with a wire that may be slow. */
class Ear {
  bufferedBytes = 0;
  isSlow = false;
  readonly messages: Uint8Array[] = [];
  readonly failures: unknown[] = [];
  fail(failure: unknown): void {
    this.failures.push(failure);
  }
  send(message: Uint8Array): void {
    this.messages.push(message);
    if (this.isSlow) this.bufferedBytes += message.length;
  }
  updates(): Uint8Array[] {
    return this.messages
      .filter(([type, step]) => type === 0 && step !== 0)
      .map((message) => parseClientMessage(message))
      .flatMap((message) => (message.kind === "update" ? [message.update] : []));
  }
  /** What a document is that got all of it. */
  get text(): string {
    const doc = new Y.Doc();
    for (const update of this.updates()) Y.applyUpdate(doc, update);
    return doc.getText("note").toJSON();
  }
}

interface Scene {
  readonly doc: Y.Doc;
  readonly room: Room;
  readonly projection: Projection;
}

async function open(): Promise<Scene> {
  const documents = new PlainDocuments();
  const projection = await documents.open(ROOM as DocumentName);
  return { doc: documents.doc(), projection, room: new Room(projection, mergeRichUpdates) };
}

describe("a room", () => {
  test("tells all the same bytes, and joins what comes at once", async () => {
    const { doc, room } = await open();
    const ears = [new Ear(), new Ear(), new Ear()];
    for (const ear of ears) room.enter(ear, "alice");
    for (let i = 0; i < 300; i++) doc.getText("note").insert(i, String(i % 10));
    await until("the text", () => ears.every((ear) => ear.text.length === 300));
    const [first, ...others] = ears.map((ear) => ear.messages.at(-1));
    for (const other of others) expect(other).toBe(first);
    // Joined by 128 at most.
    expect(ears.map((ear) => ear.updates().length)).toEqual([3, 3, 3]);
    room.close();
  });

  test("sends a single change as it is", async () => {
    const { doc, room } = await open();
    const ear = new Ear();
    room.enter(ear, "alice");
    let made: Uint8Array | undefined;
    doc.on("update", (update: Uint8Array) => (made = update));
    doc.getText("note").insert(0, "x");
    await until("the text", () => ear.updates().length === 1);
    expect(ear.updates()[0]).toEqual(made);
    room.close();
  });

  test("keeps back what does not fit, and sends the rest of the document when there is room, to that one alone", async () => {
    const { doc, room } = await open();
    const [slow, quick] = [new Ear(), new Ear()];
    const seat = room.enter(slow, "alice");
    room.enter(quick, "bob");
    slow.isSlow = true;
    slow.bufferedBytes = LIMITS.socketBufferBytes;
    doc.getText("note").insert(0, "a");
    await until("the first", () => slow.text === "a" && quick.text === "a");
    expect(seat.isBehind).toBe(true);
    const before = slow.messages.length;
    for (let i = 0; i < 50; i++) {
      doc.getText("note").insert(0, "b");
      await until("the others'", () => quick.text.length === i + 2);
    }
    expect(slow.messages).toHaveLength(before);
    // Asked again and again, it gets nothing more either.
    expect(seat.answer(Y.encodeStateVector(new Y.Doc()))).toBe(0);
    slow.bufferedBytes = 0;
    await until("the rest", () => slow.text === quick.text);
    expect(slow.messages.length - before).toBe(1);
    expect(seat.isBehind).toBe(false);
    room.close();
  });

  test("answers who asked while too much waited once there is room, from what it had then, or says that it could not be read", async () => {
    const { doc, room } = await open();
    doc.getText("note").insert(0, "what was there before");
    const askedLate = async (stateVector: Uint8Array): Promise<Ear> => {
      const ear = new Ear();
      const seat = room.enter(ear, "alice");
      ear.bufferedBytes = LIMITS.socketBufferBytes + 1;
      doc.getText("note").insert(0, "a");
      await until("the wait", () => seat.isBehind);
      expect([seat.answer(stateVector), seat.answerQuery()]).toEqual([0, 0]);
      ear.bufferedBytes = 0;
      await until("the answer", () => !seat.isBehind);
      return ear;
    };
    const ear = await askedLate(Y.encodeStateVector(new Y.Doc()));
    expect([ear.text, ear.failures]).toEqual([doc.getText("note").toJSON(), []]);
    const { failures } = await askedLate(new Uint8Array(9).fill(0xff));
    expect(failures).toMatchObject([{ code: "FORMAT_INVALID" }]);
    room.close();
  });

  test("tells nobody who has left, and nothing once it is closed", async () => {
    const { doc, room } = await open();
    const [gone, there] = [new Ear(), new Ear()];
    const seat = room.enter(gone, "alice");
    room.enter(there, "bob");
    room.leave(seat);
    room.leave(seat);
    doc.getText("note").insert(0, "x");
    await until("the text", () => there.text === "x");
    expect(gone.updates()).toEqual([]);
    room.close();
    const before = there.messages.length;
    doc.getText("note").insert(0, "y");
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    expect(there.messages).toHaveLength(before);
  });
});
