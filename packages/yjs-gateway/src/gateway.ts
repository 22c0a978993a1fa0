// SPDX-License-Identifier: Apache-2.0
/** The endpoint for stock Yjs clients: who comes in, which documents are open, who has to go. */
import { setImmediate as rest } from "node:timers/promises";
import { LIMITS, MeshError, toMeshError } from "@ctxmesh/model";
import type {
  Authorization,
  Authorizer,
  DocumentName,
  FactSource,
  Guest,
  Logger,
  Projections,
  SpaceId,
} from "@ctxmesh/model";
import { endingFor, endingForNow, STOPPING, UNAUTHORIZED } from "./endings.ts";
import type { Ending } from "./endings.ts";
import { Room } from "./room.ts";
import type { MergeUpdates } from "./room.ts";
import { Session } from "./session.ts";
import type { Quotas } from "./session.ts";
import { queryOf, tokenOf } from "./target.ts";

/** What a gateway is made of. */
export interface YjsGatewayOptions {
  /** The one space that is here. */
  readonly space: SpaceId;
  readonly authorizer: Authorizer;
  readonly projections: Projections;
  readonly quotas: Quotas;
  /** Joins updates into one. */
  readonly merge: MergeUpdates;
  readonly logger: Logger;
}

/** Speaks y-protocols with guests. */
export interface YjsGateway {
  /** Takes care of a guest until its socket is closed. */
  welcome(guest: Guest): void;
  /** Writes what has come, and asks everybody to connect elsewhere. Idempotent. */
  stop(): Promise<void>;
}

/** Creates it. */
export const createYjsGateway = (options: YjsGatewayOptions): YjsGateway => new Gateway(options);

/** A provider takes 30 s without a message for a lost connection. */
const TICK_MS = 10_000;

interface OpenRoom {
  readonly room: Promise<Room>;
  users: number;
}

class Gateway implements YjsGateway {
  readonly #options: YjsGatewayOptions;
  readonly #rooms = new Map<DocumentName, OpenRoom>();
  readonly #sessions = new Set<Session>();
  readonly #running = new Set<Promise<void>>();
  readonly #ticks: NodeJS.Timeout;
  #answers: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(options: YjsGatewayOptions) {
    this.#options = options;
    this.#ticks = setInterval(() => {
      for (const session of this.#sessions) session.tick();
    }, TICK_MS);
    this.#ticks.unref();
  }

  welcome(guest: Guest): void {
    const visit = this.#visit(guest).finally(() => this.#running.delete(visit));
    this.#running.add(visit);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearInterval(this.#ticks);
    await Promise.all(Array.from(this.#sessions, (session) => session.finish(STOPPING)));
    await Promise.all(this.#running);
  }

  /** From the first message to the end of a connection. Never rejects. */
  async #visit(guest: Guest): Promise<void> {
    const { authorizer, logger } = this.#options;
    const { socket, address } = guest;
    let authorization;
    try {
      const query = queryOf(guest);
      if (query.space !== this.#options.space) throw new MeshError("NOT_FOUND", NO_SUCH_SPACE);
      authorization = await authorizer.authorize(tokenOf(guest), query);
    } catch (failure) {
      const { code, message: reason } = toMeshError(failure);
      logger.warn("guest.refused", { code, reason, address });
      await turnAway(guest, endingFor(failure));
      return;
    }
    guest.admit();
    using stack = new DisposableStack();
    try {
      stack.defer(this.#options.quotas.connect(authorization.tenant));
      await this.#serve(guest, authorization, sourceOf(authorization));
    } catch (failure) {
      const { code, message: reason } = toMeshError(failure);
      logger.warn("guest.failed", { code, reason, address });
      await turnAway(guest, endingForNow(failure));
    }
    logger.debug("guest.left", { address, reason: await socket.closed });
  }

  async #serve(guest: Guest, authorization: Authorization, source: FactSource): Promise<void> {
    const { authorizer, quotas, merge, logger } = this.#options;
    const { document } = authorization.query;
    const { subject, access, token } = authorization;
    const room = await this.#open(document);
    try {
      if (this.#isStopped) throw new MeshError("CLOSED", STOPPING.reason);
      const { socket, address } = guest;
      const writer = { source };
      const session = new Session({
        socket,
        room,
        authorization,
        writer,
        quotas,
        merge,
        nextAnswer: () => this.#nextAnswer(),
      });
      this.#sessions.add(session);
      const release = authorizer.hold(authorization, (reason) =>
        session.end({ code: UNAUTHORIZED, reason }),
      );
      logger.debug("guest.admitted", { address, document, subject, access, token });
      await session.run();
      release();
      this.#sessions.delete(session);
      if (session.ending !== undefined) {
        logger.info("guest.closed", { address, document, subject, ...session.ending });
      }
    } finally {
      this.#release(document);
    }
  }

  /** One each time that the event loop goes round: a document may take long to encode, and many may come back at once. */
  #nextAnswer(): Promise<void> {
    const turn = this.#answers;
    this.#answers = turn.then(async () => rest());
    return turn;
  }

  async #open(document: DocumentName): Promise<Room> {
    const { projections, merge } = this.#options;
    let open = this.#rooms.get(document);
    if (open === undefined) {
      const room = projections.open(document).then((projection) => new Room(projection, merge));
      open = { room, users: 0 };
      this.#rooms.set(document, open);
    }
    open.users += 1;
    try {
      return await open.room;
    } catch (failure) {
      if (this.#rooms.get(document) === open) this.#rooms.delete(document);
      throw failure;
    }
  }

  #release(document: DocumentName): void {
    const open = this.#rooms.get(document);
    if (open === undefined) return;
    open.users -= 1;
    if (open.users > 0) return;
    this.#rooms.delete(document);
    void open.room.then((room) => room.close());
  }
}

const NO_SUCH_SPACE = "another space is here";

const turnAway = async ({ socket }: Guest, { code, reason }: Ending): Promise<void> =>
  socket.close(code, reason);

/** How facts name who wrote them here. Throws `POLICY_REFUSED` for who can't be named in one. */
function sourceOf({ subject, access }: Authorization): FactSource {
  if (access === "write" && Buffer.byteLength(subject) > LIMITS.tagBytes) {
    const limit = String(LIMITS.tagBytes);
    throw new MeshError(
      "POLICY_REFUSED",
      `facts can't name this subject as their source: it has more than ${limit} bytes (tagBytes)`,
    );
  }
  return { model: subject, instance: "yjs" };
}
