// SPDX-License-Identifier: Apache-2.0
/**
 * `ours:yjs`: a hub, and stock `y-websocket` providers at its `/yjs`. What the benchmark writes goes into the root map `facts` of one document, so
 * each write becomes a fact that the hub signs and syncs to disk before any other provider sees it.
 */
import { createDevIssuer } from "@ctxmesh/auth";

const AUDIENCE = "bench";
const ROOM = "ctx/all";

/** Whose tokens a hub accepts, and a token that allows everything for a quarter of an hour. */
export async function openDoor(space, clock) {
  const { issuer, keys, ...dev } = await createDevIssuer(AUDIENCE, clock);
  const roles = [{ space, prefix: "", access: "write" }];
  const token = await dev.issue({ subject: "bench", tenant: "bench", roles });
  return { auth: { issuer, audience: AUDIENCE, keys }, token };
}

/** Where a hub has its `/yjs` whose agents use this URL. */
export const yjsUrl = (url, space) => new URL(`/yjs/${space}`, url).href;

/** A stock provider, connected and in sync. */
export async function startProvider({ url, token }) {
  const [{ Doc }, { WebsocketProvider }, { WebSocket }] = await Promise.all([
    import("yjs"),
    import("y-websocket"),
    import("ws"),
  ]);
  const doc = new Doc();
  const facts = doc.getMap("facts");
  const options = { params: { token }, WebSocketPolyfill: WebSocket, disableBc: true };
  const provider = new WebsocketProvider(url, ROOM, doc, options);
  if (!provider.synced) await new Promise((resolve) => provider.once("sync", resolve));
  return {
    write: (key, value) => {
      facts.set(key, value);
    },
    writeBatch: (entries) => {
      doc.transact(() => {
        for (const [key, value] of entries) facts.set(key, value);
      });
    },
    onChange: (listener) => {
      facts.observe(({ keysChanged }) => {
        for (const key of keysChanged) listener(key, facts.get(key));
      });
    },
    read: (key) => facts.get(key),
    size: () => facts.size,
    offline: () => {
      provider.disconnect();
    },
    online: () => {
      provider.connect();
    },
    stop: () => {
      provider.destroy();
    },
  };
}
