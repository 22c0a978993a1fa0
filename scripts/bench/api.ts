// SPDX-License-Identifier: Apache-2.0
/** The local API of an agent beside bare `node:http`: one keep-alive client on a Unix socket that reads, writes and watches. */
import { Agent, request as httpRequest } from "node:http";
import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import { encodeSpaceFile } from "@ctxmesh/membership";
import { startChild } from "./children.ts";
import { aimed, measured } from "./figure.ts";
import type { Bench, BenchOptions, Report } from "./figure.ts";
import { benchFolder } from "./files.ts";
import { measureSchemas } from "./schemas.ts";
import { foundSpace } from "./space.ts";
import { percentile } from "./stats.ts";
import type { AgentStart } from "./workers/agent.ts";
import type { EchoStart } from "./workers/echo.ts";

const READ_P50_US = 300;
const READS_PER_SECOND = 5_000;
const WRITES_PER_SECOND = 3_000;
const WATCH_P95_MS = 10;
/** Calls of the client that are under way at a time: reads, and writes, which share a sync of the disk. */
const READERS = 8;
const WRITERS = 64;
const KEYS = 1_000;
const WARM_UP = 500;
/** Between two writes that a watcher hears of, in milliseconds. */
const WATCH_EVERY_MS = 4;

/** One client: connections stay, and as many as there are calls under way. */
class Client implements Disposable {
  readonly #socketPath: string;
  readonly #agent = new Agent({ keepAlive: true });

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  async call(path: string, body?: string): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const outgoing = httpRequest({
      agent: this.#agent,
      socketPath: this.#socketPath,
      path,
      ...(body === undefined
        ? {}
        : {
            method: "POST",
            headers: {
              "content-type": "application/json",
              "content-length": Buffer.byteLength(body),
            },
          }),
    });
    outgoing.on("error", reject);
    outgoing.on("response", (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        if (response.statusCode === 200) resolve(text);
        else reject(new Error(text));
      });
    });
    outgoing.end(body);
    return promise;
  }

  async open(path: string): Promise<IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    httpRequest({ agent: this.#agent, socketPath: this.#socketPath, path })
      .on("response", resolve)
      .on("error", reject)
      .end();
    return promise;
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }
}

const keyOf = (i: number): string => `line-2/press-${String(i % KEYS)}/temperature`;
const readPath = (i: number): string => `/v1/fact?doc=bench&key=${encodeURIComponent(keyOf(i))}`;
const factText = (i: number): string =>
  JSON.stringify({
    doc: "bench",
    facts: [{ key: keyOf(i), value: i, confidence: 0.9, source: { model: "bench" } }],
  });

/** Milliseconds of each call, one after the other. */
async function inTurn(calls: number, call: (i: number) => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < calls + WARM_UP; i++) {
    const before = performance.now();
    await call(i);
    if (i >= WARM_UP) times.push(performance.now() - before);
  }
  return times;
}

/** Calls per second, so many under way at a time. */
async function rate(
  calls: number,
  workers: number,
  call: (i: number) => Promise<unknown>,
): Promise<number> {
  let next = 0;
  const work = async (until: number): Promise<void> => {
    while (next < until) await call(next++);
  };
  const all = async (until: number): Promise<unknown> =>
    Promise.all(Array.from({ length: workers }, async () => work(until)));
  await all(WARM_UP);
  const before = performance.now();
  await all(WARM_UP + calls);
  return (calls * 1_000) / (performance.now() - before);
}

/** When a watcher hears of writes, of the slowest of twenty, in milliseconds. */
interface Watched {
  /** Since the write was begun, which includes a sync of the disk. */
  readonly begun: number;
  /** Since it was answered. */
  readonly answered: number;
}

async function watchWrites(client: Client, writes: number, signal: AbortSignal): Promise<Watched> {
  const stream = await client.open("/v1/watch");
  const begunMs: number[] = [];
  const answeredMs: number[] = [];
  const heardMs: number[] = [];
  const { promise: done, resolve } = Promise.withResolvers<void>();
  stream.setEncoding("utf8").on("data", (text: string) => {
    const now = performance.now();
    for (const _ of text.matchAll(/^event: change$/gmu)) heardMs.push(now);
    if (heardMs.length >= writes) resolve();
  });
  const written: Promise<unknown>[] = [];
  const write = async (i: number): Promise<void> => {
    await client.call("/v1/facts", factText(i));
    answeredMs[i] = performance.now();
  };
  for (let i = 0; i < writes; i++) {
    signal.throwIfAborted();
    begunMs.push(performance.now());
    written.push(write(i));
    await new Promise((next) => setTimeout(next, WATCH_EVERY_MS));
  }
  await Promise.all(written);
  await done;
  stream.destroy();
  const after = (sinceMs: readonly number[]): number =>
    percentile(
      heardMs.map((ms, i) => Math.max(0, ms - (sinceMs[i] ?? Number.NaN))).slice(writes / 10),
      0.95,
    );
  return { begun: after(begunMs), answered: after(answeredMs) };
}

interface Figures {
  readonly readUs: number;
  readonly reads: number;
  readonly writes: number;
  readonly watchMs: number;
  readonly watchBegunMs: number;
}

async function measure(socketPath: string, { quick, signal }: BenchOptions): Promise<Figures> {
  using client = new Client(socketPath);
  const calls = quick ? 5_000 : 20_000;
  for (let i = 0; i < KEYS; i++) await client.call("/v1/facts", factText(i));
  const read = async (i: number): Promise<unknown> => client.call(readPath(i));
  const times = await inTurn(calls, read);
  signal.throwIfAborted();
  const reads = await rate(calls * 2, READERS, read);
  signal.throwIfAborted();
  const writes = await rate(calls, WRITERS, async (i) => client.call("/v1/facts", factText(i)));
  signal.throwIfAborted();
  const watched = await watchWrites(client, quick ? 500 : 2_000, signal);
  return {
    readUs: percentile(times, 0.5) * 1_000,
    reads,
    writes,
    watchMs: watched.answered,
    watchBegunMs: watched.begun,
  };
}

async function run(options: BenchOptions): Promise<Report> {
  const { signal, progress } = options;
  await using folder = await benchFolder();
  const { space, seeds } = foundSpace(1);
  await using agent = startChild("agent", signal);
  const start: AgentStart = {
    space: encodeSpaceFile(space),
    seed: seeds[0] ?? new Uint8Array(),
    folder: folder.path,
    peers: [],
  };
  await agent.call("start", start);
  const socketPath = join(folder.path, "s.sock");
  using client = new Client(socketPath);
  const write = await client.call("/v1/facts", factText(1));
  const read = await client.call(readPath(1));
  await using echo = startChild("echo", signal);
  const echoPath = join(folder.path, "e.sock");
  const texts: EchoStart = { socketPath: echoPath, read, write };
  await echo.call("start", texts);
  progress("node:http");
  const theirs = await measure(echoPath, options);
  progress("agent");
  const ours = await measure(socketPath, options);
  const schemas = await measureSchemas(join(folder.path, "schemas"), options);
  const pair = (name: keyof Figures): { value: number; baseline: number } => ({
    value: ours[name],
    baseline: theirs[name],
  });
  return {
    figures: [
      aimed("api point read, p50", pair("readUs"), "us", "lower", READ_P50_US),
      aimed("api reads of one client", pair("reads"), "reads/s", "higher", READS_PER_SECOND),
      aimed("api durable writes", pair("writes"), "writes/s", "higher", WRITES_PER_SECOND),
      aimed("api watch after the write, p95", pair("watchMs"), "ms", "lower", WATCH_P95_MS),
      measured("api watch since the write began, p95", pair("watchBegunMs"), "ms", "lower"),
      ...schemas.figures,
    ],
    notes: [
      "The baseline is bare node:http on a Unix socket in the same run, which keeps nothing; each write of ours is signed, encrypted and synced.",
      `One client with keep-alive connections: reads one after the other for the p50, ${String(READERS)} under way for the rate; ${String(WRITERS)} writes of one fact each under way.`,
      `A watcher's time runs from the answer of a write, one every ${String(WATCH_EVERY_MS)} ms, to its event; from its beginning it has a sync of the disk in it, which the baseline has not.`,
      ...schemas.notes,
      ...folder.notes,
    ],
  };
}

/** The benchmark of the local API. */
export const apiBench: Bench = {
  summary: "the local API beside bare node:http: reads, durable writes, and a watcher",
  run,
};
