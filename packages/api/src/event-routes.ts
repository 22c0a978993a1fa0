// SPDX-License-Identifier: Apache-2.0
/**
 * `GET /v1/events`: what was said, as CloudEvents. Without `stream` or `follow` one page of them, in batched content mode
 * (`application/cloudevents-batch+json`), that goes on with `since` the `position` of its last one. Else a stream of server-sent events:
 *
 * ```
 * : events                                         once the stream is in place, and every 15 s of silence
 * id: position    event: begin    data: {"begin": position}
 *                                                  of a stream that follows and has no since: the place behind which it begins
 * id: position    data: FactEvent as JSON          one per event, in order
 * event: rejudged data: {}                         what counts has changed: read the facts again
 * event: end      data: {}                         all is told; a stream that follows has no such end
 * event: error    data: Problem as JSON            the last event of a stream that the server ends
 * ```
 *
 * A client that connects again sends the last id as `Last-Event-ID`, as browsers do by themselves, and misses nothing. Nothing is queued
 * for it: the node reads on as fast as it does. One that takes nothing for `LIMITS.eventStallMs` is cut with `LIMIT_EXCEEDED`, and may connect again.
 */
import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { LIMITS, MeshError, toMeshError } from "@ctxmesh/model";
import type { EventItem, EventService, FactEvent } from "@ctxmesh/model";
import type { FastifyInstance } from "fastify";
import { parseEventRequest } from "./event-requests.ts";
import type { EventRequest } from "./event-requests.ts";
import { toProblem } from "./problem.ts";
import type { Readers } from "./readers.ts";

const KEEP_ALIVE_MS = 15_000;
/** How long an ended stream may take to hand over its last bytes before it is cut. */
const LINGER_MS = 5_000;
/** Characters that are put into one write, unless one event alone is longer. */
const WRITE_LENGTH = 65_536;
/** Less than this is not worth a timer. */
const SHORTEST_WAIT_MS = 1;

type Events = AsyncGenerator<readonly EventItem[], void, undefined>;

/** Installs the route; none without a service. */
export function installEventRoutes(
  app: FastifyInstance,
  service: EventService | undefined,
  { readers, closing }: { readonly readers: Readers; readonly closing: AbortSignal },
): void {
  if (service === undefined) return;
  app.get("/v1/events", { exposeHeadRoute: false }, async (request, reply) => {
    const lastId = request.headers["last-event-id"];
    const wanted = parseEventRequest(request.query, Array.isArray(lastId) ? lastId[0] : lastId);
    const leave = readers.enter();
    try {
      const gone = new AbortController();
      reply.raw.once("close", () => {
        gone.abort(new MeshError("CLOSED", "the caller has gone"));
      });
      const signal = AbortSignal.any([gone.signal, closing]);
      const events = service.events(wanted.query, { follow: wanted.form === "follow", signal });
      // A query that the service refuses gets a plain error response.
      const first = await events.next();
      if (wanted.form === "page") {
        const page = await pageOf(events, first.value ?? [], wanted.limit);
        return await reply
          .type("application/cloudevents-batch+json")
          .send(Buffer.from(JSON.stringify(page)));
      }
      reply.hijack();
      await sendEvents(reply.raw, events, { ...wanted, first: first.value ?? [], signal });
      return reply;
    } finally {
      leave();
    }
  });
}

const isEvent = (item: EventItem): item is FactEvent => "specversion" in item;

async function pageOf(
  events: Events,
  first: readonly EventItem[],
  limit: number,
): Promise<readonly FactEvent[]> {
  const page = first.filter(isEvent);
  if (page.length < limit) {
    for await (const part of events) {
      page.push(...part.filter(isEvent));
      if (page.length >= limit) break;
    }
  } else {
    await events.return();
  }
  return page.slice(0, limit);
}

/** How a stream is sent. */
export interface SendOptions extends Pick<EventRequest, "form" | "rate"> {
  /** What comes before the rest. */
  readonly first: readonly EventItem[];
  readonly signal: AbortSignal;
  /** How long the reader may take nothing; `LIMITS.eventStallMs` by default. */
  readonly stallMs?: number;
}

function textOf(item: EventItem): string {
  if ("rejudged" in item) return "event: rejudged\ndata: {}\n\n";
  const data = JSON.stringify(item);
  return "begin" in item
    ? `id: ${item.begin}\nevent: begin\ndata: ${data}\n\n`
    : `id: ${item.position}\ndata: ${data}\n\n`;
}

/** Sends events on a response until they or the reader end. Never rejects: what goes wrong is the stream's last event. */
export async function sendEvents(
  response: ServerResponse,
  events: Events,
  options: SendOptions,
): Promise<void> {
  const { form, first, signal } = options;
  response.on("error", () => undefined);
  response.writeHead(200, {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
  });
  const outlet = new Outlet(response, options);
  try {
    await outlet.write(": events\n\n");
    await outlet.send(first);
    for await (const part of events) await outlet.send(part);
    outlet.end(form === "stream" ? "event: end\ndata: {}\n\n" : "");
  } catch (error) {
    // What the service was called off with comes back as it is; the pause of a rate does not know it.
    const reason = signal.aborted ? signal.reason : error;
    outlet.end(`event: error\ndata: ${JSON.stringify(toProblem(toMeshError(reason)))}\n\n`);
  }
}

/** The sending end of a stream. */
class Outlet {
  readonly #response: ServerResponse;
  readonly #options: SendOptions;
  readonly #startedMs = performance.now();
  readonly #keepAlive: NodeJS.Timeout;
  #sent = 0;

  constructor(response: ServerResponse, options: SendOptions) {
    this.#response = response;
    this.#options = options;
    this.#keepAlive = setInterval(() => {
      if (!response.writableNeedDrain) response.write(": keep-alive\n\n");
    }, KEEP_ALIVE_MS).unref();
  }

  /** Events of a part; all at once, or in step with the rate. */
  async send(part: readonly EventItem[]): Promise<void> {
    const { rate, signal } = this.#options;
    if (rate === undefined) {
      let text = "";
      for (const item of part) {
        text += textOf(item);
        if (text.length < WRITE_LENGTH) continue;
        await this.write(text);
        text = "";
      }
      if (text !== "") await this.write(text);
      return;
    }
    for (const item of part) {
      const dueMs = this.#startedMs + (this.#sent++ * 1_000) / rate;
      const waitMs = dueMs - performance.now();
      if (waitMs >= SHORTEST_WAIT_MS) await sleep(waitMs, undefined, { signal });
      await this.write(textOf(item));
    }
  }

  /** Throws `LIMIT_EXCEEDED` when the reader takes nothing, `CLOSED` when it has gone. */
  async write(text: string): Promise<void> {
    const response = this.#response;
    const { stallMs = LIMITS.eventStallMs, signal } = this.#options;
    if (response.write(text) || signal.aborted) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      reject(stalled(stallMs));
    }, stallMs);
    const go = (): void => {
      resolve();
    };
    response.once("drain", go);
    signal.addEventListener("abort", go);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      response.off("drain", go);
      signal.removeEventListener("abort", go);
    }
  }

  /** The last bytes; a reader that does not take them is cut. */
  end(text: string): void {
    clearInterval(this.#keepAlive);
    const response = this.#response;
    response.end(text);
    setTimeout(() => response.destroy(), LINGER_MS).unref();
  }
}

const stalled = (stallMs: number): MeshError =>
  new MeshError("LIMIT_EXCEEDED", `the reader has taken nothing for ${String(stallMs)} ms`, {
    remedy: "connect again with the position of the last event that was read",
  });
