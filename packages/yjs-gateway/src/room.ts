// SPDX-License-Identifier: Apache-2.0
/**
 * One open document and the connections to it. What changes is gathered for a moment, encoded once, and the same bytes are sent to all. The moment
 * is short as long as telling everybody costs little: telling takes a fixed share of the time at most.
 */
import { LIMITS } from "@ctxmesh/model";
import type { ClientHolder, Projection } from "@ctxmesh/model";
import { Presence } from "./presence.ts";
import type { Editor } from "./presence.ts";
import type { AwarenessEntry } from "./wire.ts";
import { awarenessMessage, stepOne, stepTwo, updateMessage } from "./wire.ts";

/** Joins updates of one document into one. */
export type MergeUpdates = (updates: readonly Uint8Array[]) => Uint8Array;

/** The end of a connection that a room sends to. */
export interface Listener {
  /** Bytes that wait to be sent. */
  readonly bufferedBytes: number;
  send(message: Uint8Array): void;
  /** What it asked for can't be answered. */
  fail(failure: unknown): void;
}

/** So many times as long as telling took is waited until it is done again. */
const REST_FACTOR = 2;
const LONGEST_REST_MS = 25;
/** Updates that are joined at a time: what it costs grows faster than their number. */
const MERGED_UPDATES = 128;
/** Who had too much waiting gets what is new once no more than this is left. */
const LOW_WATER_BYTES: number = LIMITS.socketBufferBytes / 8;
/** How often it is looked whether that is so, in milliseconds. */
const LOOK_MS = 100;

/** Goes on until {@link Room.close}. */
export class Room {
  readonly projection: Projection;
  readonly #merge: MergeUpdates;
  readonly #presence = new Presence();
  readonly #seats = new Set<Seat>();
  readonly #unsubscribe: () => void;
  #updates: Uint8Array[] = [];
  /** Whether it is about to be told. */
  #isDue = false;
  #isClosed = false;
  #looking: NodeJS.Timeout | undefined;
  #restUntilMs = 0;

  constructor(projection: Projection, merge: MergeUpdates) {
    this.projection = projection;
    this.#merge = merge;
    this.#unsubscribe = projection.onUpdate((update) => {
      this.#updates.push(update);
      this.#tellSoon();
    });
  }

  /** A connection of a subject comes in. It is sent what the document has, who is there, and from now on whatever changes. */
  enter(listener: Listener, subject: string): Seat {
    // What waits is in the document already, and may be of no use to who has just come: it does no harm either.
    const seat = new Seat(this, listener, this.#presence.join(subject));
    this.#seats.add(seat);
    listener.send(stepOne(this.projection.stateVector()));
    this.tellPresence(listener);
    return seat;
  }

  /** A connection has ended. */
  leave(seat: Seat): void {
    if (!this.#seats.delete(seat)) return;
    this.#presence.leave(seat.editor);
    if (this.#presence.hasNews) this.#tellSoon();
  }

  /** Takes in what a connection says of itself. Throws as {@link Presence.hear} does. */
  hear(editor: Editor, entries: readonly AwarenessEntry[]): void {
    try {
      this.#presence.hear(editor, entries);
    } finally {
      if (this.#presence.hasNews) this.#tellSoon();
    }
  }

  /** Whose page says that it has a client id, as an editor sees it. */
  whose(editor: Editor, client: number): ClientHolder | undefined {
    return this.#presence.whose(editor, client);
  }

  /** Sends who is there, if anybody is; returns how many bytes that is. */
  tellPresence(listener: Listener): number {
    const entries = this.#presence.all();
    if (entries.length === 0) return 0;
    const message = awarenessMessage(entries);
    listener.send(message);
    return message.length;
  }

  /** Ends it, once all have left. */
  close(): void {
    this.#isClosed = true;
    clearInterval(this.#looking);
    this.#unsubscribe();
    this.projection.close();
  }

  #tellSoon(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    const restMs = this.#restUntilMs - performance.now();
    if (restMs > 0) setTimeout(() => this.#tell(), restMs);
    else setImmediate(() => this.#tell());
  }

  #tell(): void {
    this.#isDue = false;
    if (this.#isClosed) return;
    const startMs = performance.now();
    const updates = this.#updates;
    this.#updates = [];
    const messages: Uint8Array[] = [];
    for (let at = 0; at < updates.length; at += MERGED_UPDATES) {
      const part = updates.slice(at, at + MERGED_UPDATES);
      const [first] = part;
      messages.push(updateMessage(part.length === 1 && first ? first : this.#merge(part)));
    }
    if (this.#presence.hasNews) messages.push(awarenessMessage(this.#presence.takeNews()));
    for (const seat of this.#seats) seat.tell(messages);
    if (Array.from(this.#seats).some(({ isBehind }) => isBehind)) this.#lookAgain();
    const endMs = performance.now();
    this.#restUntilMs = endMs + Math.min((endMs - startMs) * REST_FACTOR, LONGEST_REST_MS);
  }

  /** Begins to look after those that are behind. */
  #lookAgain(): void {
    this.#looking ??= setInterval(() => {
      let isAnybodyBehind = false;
      for (const seat of this.#seats) {
        seat.catchUp();
        isAnybodyBehind ||= seat.isBehind;
      }
      if (isAnybodyBehind) return;
      clearInterval(this.#looking);
      this.#looking = undefined;
    }, LOOK_MS);
  }

  /** Somebody has got more than fits. */
  watch(): void {
    this.#lookAgain();
  }
}

/** A connection in a room. */
export class Seat {
  readonly editor: Editor;
  readonly #room: Room;
  readonly #listener: Listener;
  /** What the client will have once all that waits is sent, as a state vector, while that is so much that no more is added. */
  #has: Uint8Array | undefined;
  /** The state vector of sync step 1, while the answer has to wait. */
  #asked: Uint8Array | undefined;

  constructor(room: Room, listener: Listener, editor: Editor) {
    this.#room = room;
    this.#listener = listener;
    this.editor = editor;
  }

  /** Whether updates are kept back, since too much waits. */
  get isBehind(): boolean {
    return this.#has !== undefined;
  }

  /** Sends what is new. */
  tell(messages: readonly Uint8Array[]): void {
    if (this.isBehind) return;
    for (const message of messages) this.#listener.send(message);
    this.#look();
  }

  /** Sends what a client with that state vector lacks, once there is room for it; returns how many bytes that is by now. Throws `FORMAT_INVALID`. */
  answer(stateVector: Uint8Array): number {
    if (this.isBehind) {
      this.#asked = stateVector;
      return 0;
    }
    const message = stepTwo(this.#room.projection.diff(stateVector));
    this.#listener.send(message);
    this.#look();
    return message.length;
  }

  /** Sends who is there, unless that comes later anyway; returns how many bytes that is. */
  answerQuery(): number {
    if (this.isBehind) return 0;
    const bytes = this.#room.tellPresence(this.#listener);
    this.#look();
    return bytes;
  }

  /** Sends what was kept back, when there is room for it: all of the document that is newer. */
  catchUp(): void {
    const has = this.#has;
    if (has === undefined || this.#listener.bufferedBytes > LOW_WATER_BYTES) return;
    const asked = this.#asked;
    this.#has = undefined;
    this.#asked = undefined;
    const { projection } = this.#room;
    try {
      this.#listener.send(
        asked === undefined ? updateMessage(projection.diff(has)) : stepTwo(projection.diff(asked)),
      );
    } catch (failure) {
      this.#listener.fail(failure);
    }
    this.#room.tellPresence(this.#listener);
    this.#look();
  }

  #look(): void {
    if (this.isBehind || this.#listener.bufferedBytes <= LIMITS.socketBufferBytes) return;
    this.#has = this.#room.projection.stateVector();
    this.#room.watch();
  }
}
