// SPDX-License-Identifier: Apache-2.0
/** One stock Yjs provider as a process: writes a load into the root map `facts`, or measures what arrives of another's. */
import { WebSocket } from "ws";
import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";
import { serveCalls } from "./calls.ts";
import { Inbox, keyOf, writeAll } from "./load.ts";
import type { Load, Reading, Span } from "./load.ts";

/** Where a hub has its `/yjs`, and what lets a client in. */
export interface YjsDoor {
  readonly url: string;
  readonly token: string;
}

const ROOM = "bench/line-0";
/** Keys of the one document, which has a limit; more than can be under way. */
const KEYS = 5_000;

const inbox = new Inbox();
const doc = new Y.Doc();
const facts: Y.Map<unknown> = doc.getMap("facts");
let provider: WebsocketProvider | undefined;

async function start({ url, token }: YjsDoor): Promise<void> {
  provider = new WebsocketProvider(url, ROOM, doc, {
    params: { token },
    WebSocketPolyfill: WebSocket as unknown as typeof globalThis.WebSocket,
    disableBc: true,
  });
  if (!provider.synced) await new Promise((resolve) => provider?.once("sync", resolve));
}

facts.observe((event, { local }) => {
  if (local) return;
  for (const key of event.keysChanged) inbox.arrived(facts.get(key as string) as Reading);
});

serveCalls(
  {
    start,
    peers: () => (provider?.synced === true ? 1 : 0),
    write: async (load: Load) =>
      writeAll(load, async (_, value) =>
        Promise.resolve(facts.set(keyOf(value.seq % KEYS), { ...value })),
      ),
    expect: ({ load, own }: { readonly load: Span; readonly own?: Span }) => {
      inbox.expect(load, own);
    },
    collect: async (timeoutMs: number) => inbox.collect(timeoutMs),
  },
  async () => {
    provider?.destroy();
    await Promise.resolve();
  },
);
