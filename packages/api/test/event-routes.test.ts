// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: events leave the node in order, in the form that was asked for, in bounded memory, and with every end named.
 * Method: the real server on a socket over a service that tells what the test has put into it.
 */
import { createServer, request } from "node:http";
import type { IncomingMessage, RequestOptions } from "node:http";
import { join } from "node:path";
import { MeshError } from "@ctxmesh/model";
import type {
  EventQuery,
  EventService,
  EventStreamOptions,
  FactEvent,
  RejudgedNote,
} from "@ctxmesh/model";
import { silentLogger, tempDir, waitFor } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { sendEvents } from "../src/event-routes.ts";
import { createControlServer } from "../src/index.ts";
import type { ControlServer } from "../src/index.ts";
import { RecordingService, rawRequest } from "./raw.ts";

type Item = FactEvent | RejudgedNote;

const LOG = "0123456789abcdef";
const positionOf = (n: number): string => `${LOG}.${String(n)}.0.1.${LOG}`;
const eventOf = (n: number, value = "v"): FactEvent =>
  ({ specversion: "1.0", id: `e${String(n)}`, position: positionOf(n), data: { value } }) as never;
const BOUND = { timeoutMs: 10_000, what: "the stream" };

/** Tells so many events, and then, to who follows, what is added. */
class ScriptedEvents implements EventService {
  readonly calls: { query: EventQuery; follow: boolean }[] = [];
  readonly items: Item[];
  #news = Promise.withResolvers<void>();
  running = 0;

  constructor(count: number) {
    this.items = Array.from({ length: count }, (_, i) => eventOf(i + 1));
  }

  add(item: Item): void {
    this.items.push(item);
    this.#news.resolve();
    this.#news = Promise.withResolvers();
  }

  async *events(
    query: EventQuery,
    { follow = false, signal }: EventStreamOptions = {},
  ): AsyncGenerator<readonly Item[], void, undefined> {
    this.calls.push({ query, follow });
    if (query.doc === "bad doc") {
      throw new MeshError("INPUT_INVALID", "no document", { field: "doc" });
    }
    this.running++;
    signal?.addEventListener("abort", () => {
      this.#news.resolve();
    });
    try {
      yield [];
      for (let at = 0; ;) {
        if (signal?.aborted === true) throw signal.reason;
        const part = this.items.slice(at, at + 7);
        at += part.length;
        if (part.length > 0) yield part;
        else if (follow) await this.#news.promise;
        else return;
      }
    } finally {
      this.running--;
    }
  }
}

let dir: TempDir;
let events: ScriptedEvents;
let server: ControlServer;
let socketPath: string;

beforeEach(async () => {
  dir = await tempDir();
  socketPath = join(dir.path, "api.sock");
  events = new ScriptedEvents(20);
  const service = new RecordingService();
  server = createControlServer({ service, events, version: "1.2.3", logger: silentLogger });
  await server.listenUnix(socketPath);
});

afterEach(async () => {
  await server.close();
  await dir.remove();
});

const get = (query: string, headers: Readonly<Record<string, string>> = {}): Promise<Response> =>
  rawRequest({ socketPath, path: `/v1/events${query}`, headers });
type Response = Awaited<ReturnType<typeof rawRequest>>;

async function open(options: RequestOptions): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  request({ agent: false, ...options }, resolve)
    .on("error", reject)
    .end();
  return promise;
}

async function readAll(response: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of response.setEncoding("utf8") as AsyncIterable<string>) text += chunk;
  return text;
}

const blocks = (text: string): string[] => text.trimEnd().split("\n\n");
const blockOf = (n: number): string => `id: ${positionOf(n)}\ndata: ${JSON.stringify(eventOf(n))}`;

describe("a page", () => {
  test.each([
    ["", 20],
    ["?limit=5", 5],
    ["?limit=7", 7],
    ["?limit=1000", 20],
  ])("%s has the first events, and reads no more of them", async (query, count) => {
    const { status, headers, text } = await get(query);
    expect(status).toBe(200);
    expect(headers["content-type"]).toBe("application/cloudevents-batch+json");
    const expected = Array.from({ length: count }, (_, i) => eventOf(i + 1));
    expect(JSON.parse(text)).toEqual(expected);
    expect(events.running).toBe(0);
  });
});

test("a query reaches the service: times as milliseconds, positions as they are", async () => {
  const texts = "doc=a/b&prefix=p&pattern=*&source=s&model=m&priority=high";
  await get(
    `?${texts}&minConfidence=0.5&since=2026-01-31T14:05:00Z&until=${positionOf(3)}&stream=1`,
  );
  expect(events.calls).toEqual([
    {
      follow: false,
      query: {
        doc: "a/b",
        prefix: "p",
        pattern: "*",
        source: "s",
        model: "m",
        priority: "high",
        minConfidence: 0.5,
        since: Date.UTC(2026, 0, 31, 14, 5),
        until: positionOf(3),
      },
    },
  ]);
});

test.each([
  ["since the header, whatever the query says", "?since=5", positionOf(9), positionOf(9)],
  ["since the query without one", "?since=5", "", 5],
])("a client that connects again goes on %s", async (_, query, lastId, since) => {
  await get(query, { "last-event-id": lastId });
  expect(events.calls[0]?.query).toEqual({ since });
});

describe("a stream", () => {
  test("has every event with its position as id, and an end", async () => {
    const { headers, text } = await get("?stream=1");
    expect(headers["content-type"]).toBe("text/event-stream; charset=utf-8");
    const expected = Array.from({ length: 20 }, (_, i) => blockOf(i + 1));
    expect(blocks(text)).toEqual([": events", ...expected, "event: end\ndata: {}"]);
  });

  test("that follows goes on, says when what counts has changed, and ends with the node", async () => {
    const response = await open({ socketPath, path: "/v1/events?follow=1" });
    events.add({ rejudged: true });
    events.add(eventOf(21));
    const text = readAll(response);
    await waitFor(() => events.running === 1 && events.items.length === 22, BOUND);
    await server.close();
    const [first, ...rest] = blocks(await text);
    expect(first).toBe(": events");
    expect(rest.slice(0, 20)).toEqual(Array.from({ length: 20 }, (_, i) => blockOf(i + 1)));
    expect(rest.at(-1)).toMatch(/^event: error\ndata: .*"code":"CLOSED"/u);
    const told = rest.slice(20, -1);
    expect(["event: rejudged\ndata: {}", blockOf(21)].slice(0, told.length)).toEqual(told);
    expect(events.running).toBe(0);
  });

  test("with a rate has all events, too", async () => {
    const { text } = await get("?stream=1&rate=2000");
    expect(blocks(text)).toHaveLength(22);
  });

  test("ends at the service when its reader goes away, in the pause of a rate, too", async () => {
    for (const rate of ["", "&rate=0.01"]) {
      const response = await open({ socketPath, path: `/v1/events?follow=1${rate}` });
      await waitFor(() => events.running === 1, BOUND);
      response.destroy();
      await waitFor(() => events.running === 0, BOUND);
    }
    expect(events.calls).toHaveLength(2);
  });

  test("is cut with a name when its reader takes nothing, and holds no more than a part of it", async () => {
    let told = 0;
    async function* endless(): AsyncGenerator<readonly Item[]> {
      for (;;) yield [eventOf(++told, "v".repeat(50_000))];
    }
    const path = join(dir.path, "slow.sock");
    const sent = Promise.withResolvers<void>();
    const slow = createServer((_, response) => {
      const how = { form: "follow", first: [], signal: new AbortController().signal } as const;
      sendEvents(response, endless(), { ...how, stallMs: 50 }).then(sent.resolve, sent.reject);
    });
    await new Promise<void>((resolve) => slow.listen(path, resolve));
    const response = await open({ socketPath: path, path: "/" });
    response.pause();
    await sent.promise;
    // What the sockets of the system hold, and not what there is.
    expect(told).toBeLessThan(200);
    const text = await readAll(response);
    expect(blocks(text).at(-1)).toMatch(/^event: error\ndata: .*LIMIT_EXCEEDED.*taken nothing/u);
    slow.close();
  });
});

test.each([
  ["doc=bad%20doc", "doc"],
  ["stream=2", "stream"],
  ["follow=yes", "follow"],
  ["limit=0", "limit"],
  ["limit=1001", "limit"],
  ["limit=5&stream=1", "limit"],
  ["rate=5", "rate"],
  ["rate=0&stream=1", "rate"],
  ["rate=-1&follow=1", "rate"],
  ["rate=fast&stream=1", "rate"],
  ["rate=&stream=1", "rate"],
  ["minConfidence=", "minConfidence"],
  ["minConfidence=2", "minConfidence"],
  ["rate=1e-300&stream=1", "rate"],
  ["rate=0.0009&stream=1", "rate"],
  ["since=2026-13-01T00:00:00Z", "since"],
  ["until=2026-13-01T00:00:00Z", "until"],
  ["doc=a&doc=b", "doc"],
  ["key=k", "query"],
])("%s is refused with its field, and not as a stream", async (query, field) => {
  const { status, headers, text } = await get(`?${query}`);
  expect([status, headers["content-type"]]).toEqual([400, "application/problem+json"]);
  expect(JSON.parse(text)).toMatchObject({ code: "INPUT_INVALID", field });
});
