// SPDX-License-Identifier: Apache-2.0
/** Hubs that accept tokens, with documents of their own or on one engine, and stock providers that bear them. */
import { join } from "node:path";
import { createDevIssuer } from "@ctxmesh/auth";
import type { DevIssuer } from "@ctxmesh/auth";
import { createHub } from "@ctxmesh/hub";
import type { Hub } from "@ctxmesh/hub";
import type { Access, Engine } from "@ctxmesh/model";
import { systemClock, systemRandom } from "@ctxmesh/service";
import {
  MemoryEngineData,
  createMemoryEngine,
  silentLogger,
  tempDir,
  waitFor,
} from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterEach, beforeEach } from "vitest";
import { WebSocket } from "ws";
import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";
import { sealKeys } from "./fixture.ts";
import { hubSeed, space } from "./shared-kit.ts";

export const ROOM = "line-2/press-7";
const AUDIENCE = "https://hub.example.org";
const deps = { clock: systemClock, random: systemRandom, logger: silentLogger };

export const until = async (what: string, holds: () => boolean | Promise<boolean>): Promise<void> =>
  waitFor(holds, { timeoutMs: 15_000, what });

let dir: TempDir;
let cleanup: AsyncDisposableStack;
let issuer: DevIssuer;
let data: MemoryEngineData;

/** Gives each test of a file a folder, an engine and an issuer of its own, and stops what it started. */
export function eachYjsTest(): void {
  beforeEach(async () => {
    dir = await tempDir();
    cleanup = new AsyncDisposableStack();
    cleanup.defer(async () => dir.remove());
    data = new MemoryEngineData();
    issuer = await createDevIssuer(AUDIENCE, systemClock);
  });
  afterEach(async () => cleanup.disposeAsync());
}

/** One more end of the engine that the hubs of a test share. */
export const engine = (): Engine => createMemoryEngine(data, systemClock);

/** Starts a hub; one with the same number goes on with the same store. */
export async function startYjsHub(
  index: number,
  options: {
    readonly engine?: Engine;
    readonly port?: number;
    readonly origins?: readonly string[];
  } = {},
): Promise<Hub> {
  const { port = 0, ...more } = options;
  const hub = await createHub(
    {
      version: "0.0.0",
      space,
      deviceSeed: hubSeed(index),
      storePath: join(dir.path, `hub-${String(index)}`),
      socketPath: join(dir.path, `hub-${String(index)}.sock`),
      listen: { host: "127.0.0.1", port },
      auth: { issuer: issuer.issuer, audience: AUDIENCE, keys: issuer.keys },
      seal: sealKeys,
      ...more,
    },
    deps,
  );
  cleanup.defer(async () => hub.stop());
  return hub;
}

/** Where a hub listens. */
export const baseOf = (hub: Hub): URL => new URL(hub.addresses()[0] ?? "");

/** The URL that a provider is given. */
export const yjsUrl = (hub: Hub): string => `ws://${baseOf(hub).host}/yjs/${space.id}`;

export const tokenFor = async (subject: string, access: Access = "write"): Promise<string> =>
  issuer.issue({ subject, tenant: "acme", roles: [{ space: space.id, prefix: "", access }] });

/** A stock provider, and how it was closed for good. */
export interface Editor {
  readonly doc: Y.Doc;
  readonly provider: WebsocketProvider;
  readonly closed: { code: number; reason: string }[];
}

export async function edit(
  hub: Hub,
  subject: string,
  options: { readonly access?: Access; readonly doc?: Y.Doc; readonly room?: string } = {},
): Promise<Editor> {
  const { access, doc = new Y.Doc(), room = ROOM } = options;
  const closed: { code: number; reason: string }[] = [];
  const provider = new WebsocketProvider(yjsUrl(hub), room, doc, {
    params: { token: await tokenFor(subject, access) },
    disableBc: true,
    WebSocketPolyfill: WebSocket as unknown as typeof globalThis.WebSocket,
  });
  provider.on("closed", (close: { code: number; reason: string }) => closed.push(close));
  cleanup.defer(() => {
    provider.destroy();
    provider.awareness.destroy();
  });
  return { doc, provider, closed };
}

/** Waits until all have heard from their hubs. */
export const inSync = async (...editors: readonly Editor[]): Promise<void> =>
  until("the sync", () => editors.every(({ provider }) => provider.synced));

export const textOf = ({ doc }: { readonly doc: Y.Doc }): string =>
  doc.getText("text:note").toJSON();
export const factsOf = ({ doc }: { readonly doc: Y.Doc }): unknown => doc.getMap("facts").toJSON();
