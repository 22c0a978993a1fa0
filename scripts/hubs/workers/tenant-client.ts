// SPDX-License-Identifier: Apache-2.0
/** The stock providers of one tenant, as a process: some write facts into documents of their own, and each fact is waited for where it is read. */
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { waitFor } from "@ctxmesh/testing";
import { WebSocket } from "ws";
import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";
import { serveCalls } from "../../bench/workers/calls.ts";

const SYNC_MS = 30_000;
const ARRIVE_MS = 30_000;
const KEYS = 20;

/** Who connects, and to how many documents: with two providers to each, one that writes and one that reads. */
export interface Providers {
  readonly url: string;
  readonly token: string;
  readonly tenant: string;
  readonly documents: number;
}

/** What is written into each document. */
export interface Beats {
  readonly perSecond: number;
  readonly seconds: number;
}

interface Pair {
  readonly providers: readonly WebsocketProvider[];
  readonly writer: Y.Map<unknown>;
  /** What was written and is not read yet, and when; by number. */
  readonly waiting: Map<number, number>;
}

const pairs: Pair[] = [];
const tookMs: number[] = [];

async function open({ url, token, tenant, documents }: Providers): Promise<void> {
  for (let i = 0; i < documents; i++) {
    const docs = [new Y.Doc(), new Y.Doc()] as const;
    const providers = docs.map(
      (doc) =>
        new WebsocketProvider(url, `${tenant}/${String(i)}`, doc, {
          params: { token },
          disableBc: true,
          WebSocketPolyfill: WebSocket as unknown as typeof globalThis.WebSocket,
        }),
    );
    const waiting = new Map<number, number>();
    const [from, to] = docs;
    const facts = to.getMap<unknown>("facts");
    facts.observe(({ keysChanged }) => {
      for (const key of keysChanged) arrived(waiting, Number(facts.get(key)));
    });
    pairs.push({ providers, writer: from.getMap("facts"), waiting });
  }
  await waitFor(() => pairs.every(({ providers }) => providers.every(({ synced }) => synced)), {
    timeoutMs: SYNC_MS,
    what: `the providers of ${tenant}`,
  });
}

/** A key that was written again before it was read has arrived with the later value. */
function arrived(waiting: Map<number, number>, number: number): void {
  for (const [earlier, sinceMs] of waiting) {
    if (earlier > number || (number - earlier) % KEYS !== 0) continue;
    waiting.delete(earlier);
    tookMs.push(performance.now() - sinceMs);
  }
}

// Each stock provider listens for the end of the process.
process.setMaxListeners(0);

/** Writes at a rate, one document after the other, whatever becomes of it; resolves with how long each took that was read, in milliseconds, and how many were written. */
async function write({
  perSecond,
  seconds,
}: Beats): Promise<{ readonly written: number; readonly tookMs: readonly number[] }> {
  tookMs.length = 0;
  const startMs = performance.now();
  const count = perSecond * seconds * pairs.length;
  for (let i = 0; i < count; i++) {
    const dueMs = startMs + (i * 1_000) / (perSecond * pairs.length);
    const earlyMs = dueMs - performance.now();
    if (earlyMs > 0) await sleep(earlyMs);
    const { writer, waiting } = pairs[i % pairs.length] as Pair;
    const beat = Math.floor(i / pairs.length);
    waiting.set(beat, performance.now());
    writer.set(`beat/${String(beat % KEYS)}`, beat);
  }
  await waitFor(() => pairs.every((pair) => pair.waiting.size === 0), {
    timeoutMs: ARRIVE_MS,
    what: "all that was written to be read",
  });
  return { written: count, tookMs: [...tookMs] };
}

serveCalls({ open, write }, async () => {
  for (const { providers } of pairs) for (const provider of providers) provider.destroy();
  await Promise.resolve();
});
