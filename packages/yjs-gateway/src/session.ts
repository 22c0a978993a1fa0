// SPDX-License-Identifier: Apache-2.0
/** One admitted guest: what it sends, in its order, and its end. */
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { Authorization, GuestSocket, ProjectionWriter } from "@ctxmesh/model";
import { endingFor, endingForNow, isRefusal } from "./endings.ts";
import type { Ending } from "./endings.ts";
import type { MergeUpdates, Room, Seat } from "./room.ts";
import { deniedMessage, KEEP_ALIVE, parseClientMessage } from "./wire.ts";
import { Writer } from "./writer.ts";

/** What tenants may take, as `Tenants` of `@ctxmesh/auth` shares it out. */
export interface Quotas {
  /** Counts a connection until the returned function is called. Throws `LIMIT_EXCEEDED`. */
  connect(tenant: string): () => void;
  /** Resolves when it is the turn of so many bytes. Rejects with `LIMIT_EXCEEDED`, `CLOSED`. */
  turn(tenant: string, bytes: number): Promise<void>;
}

/** What a session is made of. */
export interface SessionOptions {
  readonly socket: GuestSocket;
  readonly room: Room;
  readonly authorization: Authorization;
  readonly writer: ProjectionWriter;
  readonly quotas: Quotas;
  readonly merge: MergeUpdates;
  /** Resolves when a document may be encoded for somebody. */
  readonly nextAnswer: () => Promise<void>;
}

/** Goes on until its socket is closed. */
export class Session {
  readonly #options: SessionOptions;
  readonly #seat: Seat;
  readonly #writer: Writer;
  /** Why it was ended from here, if it was. */
  ending: Ending | undefined;
  #hasSent = true;
  #isReading = true;

  constructor(options: SessionOptions) {
    this.#options = options;
    const { socket, room, authorization, writer, merge } = options;
    const listener = {
      get bufferedBytes(): number {
        return socket.bufferedBytes;
      },
      send: (message: Uint8Array): void => {
        this.#hasSent = true;
        socket.send(message);
      },
      fail: (failure: unknown): void => this.end(endingFor(failure)),
    };
    const from = {
      ...writer,
      whose: (client: number) => room.whose(this.#seat.editor, client),
    };
    this.#writer = new Writer(
      async (update) => room.projection.write(update, from),
      merge,
      (failure) => this.end(endingFor(failure)),
    );
    this.#seat = room.enter(listener, authorization.subject);
  }

  /** Answers until the socket is closed; what was taken in is written then. Never rejects. */
  async run(): Promise<void> {
    const { socket, room } = this.#options;
    try {
      for await (const message of socket.receive()) {
        await this.#turn(message.length);
        if (!this.#isReading) break;
        await this.#handle(message);
      }
    } catch (failure) {
      this.end(endingFor(failure));
    }
    await this.#writer.settle();
    room.leave(this.#seat);
  }

  async #handle(bytes: Uint8Array): Promise<void> {
    const { room, authorization } = this.#options;
    const message = parseClientMessage(bytes);
    switch (message.kind) {
      case "step1":
        await this.#options.nextAnswer();
        if (!this.#isReading) break;
        // What it costs to be asked is the tenant's as well.
        await this.#turn(this.#seat.answer(message.stateVector));
        break;
      case "update":
        if (authorization.access === "write") await this.#writer.add(message.update);
        else this.#assertNothingNew(message.update);
        break;
      case "awareness":
        room.hear(this.#seat.editor, message.entries);
        break;
      case "query":
        await this.#turn(this.#seat.answerQuery());
        break;
    }
  }

  /** Waits for the turn of so many bytes, or ends the session where too many wait already. */
  async #turn(bytes: number): Promise<void> {
    const { quotas, authorization } = this.#options;
    try {
      await quotas.turn(authorization.tenant, Math.min(bytes, LIMITS.syncMessageBytes));
    } catch (failure) {
      this.end(endingForNow(failure));
    }
  }

  /** Who may only read sends what it has, too, as the protocol asks for it. Throws `POLICY_REFUSED`. */
  #assertNothingNew(update: Uint8Array): void {
    if (this.#options.room.projection.holds(update)) return;
    const { document } = this.#options.authorization.query;
    throw new MeshError("POLICY_REFUSED", `the token or the space allows reading ${document} only`);
  }

  /** Called from time to time: says something where nothing was said since the last time. */
  tick(): void {
    if (!this.#hasSent) this.#options.socket.send(KEEP_ALIVE);
    this.#hasSent = false;
  }

  /** Reads no more, and closes; what was taken in is still written. */
  async finish(ending: Ending): Promise<void> {
    this.#isReading = false;
    this.ending ??= ending;
    await this.#options.socket.close(ending.code, ending.reason);
  }

  /** Ends it at once, and writes no more. */
  end(ending: Ending): void {
    this.#isReading = false;
    this.ending ??= ending;
    this.#writer.discard();
    if (isRefusal(ending)) this.#options.socket.send(deniedMessage(ending.reason));
    void this.#options.socket.close(ending.code, ending.reason);
  }
}
