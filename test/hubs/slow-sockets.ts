// SPDX-License-Identifier: Apache-2.0
/** Whoever connects to a hub's door to keep it busy, slowly; and whoever connects to it in earnest meanwhile. */
import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { join } from "node:path";
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import { parseSpaceFile } from "@ctxmesh/membership";
import { fromHex } from "@ctxmesh/model";
import type { Channel, DeviceSigner, SpaceId } from "@ctxmesh/model";
import { systemClock, systemRandom } from "@ctxmesh/service";
import { silentLogger, waitFor } from "@ctxmesh/testing";
import { createWsClient } from "@ctxmesh/transport-ws";
import { initMesh, startDaemon } from "../e2e/processes.ts";
import type { Daemon } from "../e2e/processes.ts";

const DRIP_MS = 1_000;
const CONNECT_MS = 10_000;
const HOST = "127.0.0.1";
const UPGRADE = `GET /v1/sync HTTP/1.1\r\nHost: ${HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n`;
const METRICS = `GET /metrics HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;
/** More answers than what lies between two programs takes. */
const UNREAD_ANSWERS = 2_000;

/** A masked binary frame; masked with zeros. */
const frame = (payload: Uint8Array): Buffer =>
  Buffer.concat([Uint8Array.of(0x82, 0x80 | payload.length, 0, 0, 0, 0), payload]);

/** A way to be slow: what is sent at once, and what is added every second. */
interface Way {
  readonly name: string;
  readonly begin: (hello: Uint8Array) => readonly (string | Uint8Array)[];
  readonly drip?: string;
  readonly readsNothing?: true;
}

const WAYS: readonly Way[] = [
  { name: "says nothing", begin: () => [] },
  { name: "headers byte by byte", begin: () => ["GET / HTTP/1.1\r\nX: "], drip: "x" },
  { name: "half an upgrade", begin: () => [UPGRADE] },
  { name: "an upgrade and no more", begin: () => [UPGRADE, "\r\n"] },
  { name: "a greeting and no proof", begin: (hello) => [UPGRADE, "\r\n", frame(hello)] },
  {
    name: "a message byte by byte",
    begin: (hello) => [UPGRADE, "\r\n", frame(hello).subarray(0, 8)],
    drip: "x",
  },
  {
    name: "a body byte by byte",
    begin: () => [`POST /livez HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 900\r\n\r\n`],
    drip: "x",
  },
  { name: "a probe and no more", begin: () => [`GET /livez HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`] },
  {
    name: "reads no answer",
    begin: () => [METRICS.repeat(UNREAD_ANSWERS)],
    drip: METRICS,
    readsNothing: true,
  },
];

/** How many of one way there were, how many were closed, and when the last of them was, in milliseconds after its connect. */
export interface SlowCount {
  readonly way: string;
  readonly opened: number;
  readonly closed: number;
  readonly slowestMs: number;
}

interface Slow {
  readonly way: Way;
  readonly socket: Socket;
  readonly sinceMs: number;
  closedMs: number | undefined;
}

/** A hub as a process, with a mesh of two agents that are not started: one is pretended to be by slow ones, one connects in earnest. */
export class Door implements AsyncDisposable {
  readonly #hub: Daemon;
  readonly #port: number;
  readonly #space: SpaceId;
  readonly #devices: readonly DeviceSigner[];
  readonly #slow: Slow[] = [];
  readonly #dripping: NodeJS.Timeout;

  private constructor(hub: Daemon, port: number, space: SpaceId, devices: readonly DeviceSigner[]) {
    this.#hub = hub;
    this.#port = port;
    this.#space = space;
    this.#devices = devices;
    this.#dripping = setInterval(() => {
      for (const { way, socket, closedMs } of this.#slow) {
        if (way.drip !== undefined && closedMs === undefined) socket.write(way.drip);
      }
    }, DRIP_MS);
  }

  /** Makes the folder's files and starts the hub. */
  static async start(dir: string): Promise<Door> {
    await initMesh(dir, 2);
    const text = async (name: string): Promise<string> => readFile(join(dir, name), "utf8");
    const port = Number(/port: (\d+)/u.exec(await text("hub.yaml"))?.[1]);
    const { id } = parseSpaceFile(await text("space.json"), createDeviceVerifier());
    const devices = await Promise.all(
      ["agent-1", "agent-2"].map(async (name) => {
        const { d } = JSON.parse(await text(join(name, "device.jwk"))) as { d: string };
        return createDeviceSigner(new Uint8Array(Buffer.from(d, "base64url")));
      }),
    );
    return new Door(await startDaemon(dir, "hub", "hub.yaml"), port, id, devices);
  }

  /** Connects that many slow ones, of all ways alike. */
  async crowd(count: number): Promise<void> {
    const hello = this.#hello();
    await Promise.all(
      Array.from({ length: count }, async (_, i) => {
        const way = WAYS[i % WAYS.length];
        if (way !== undefined) await this.#open(way, hello);
      }),
    );
  }

  async #open(way: Way, hello: Uint8Array): Promise<void> {
    const socket = connect({ host: HOST, port: this.#port });
    const slow: Slow = { way, socket, sinceMs: performance.now(), closedMs: undefined };
    this.#slow.push(slow);
    socket.on("error", () => undefined);
    socket.once("close", () => (slow.closedMs = performance.now()));
    if (way.readsNothing === true) socket.pause();
    else socket.resume();
    await new Promise<void>((resolve) => {
      socket.once("connect", resolve).once("close", () => {
        resolve();
      });
    });
    for (const bytes of way.begin(hello)) socket.write(bytes);
  }

  /** What a member says first; its layout is in `packages/transport-ws/src/handshake.ts`. */
  #hello(): Uint8Array {
    const device = this.#devices[1]?.publicKey ?? new Uint8Array();
    const nonce = systemRandom.bytes(32);
    return Buffer.concat([Uint8Array.of(1, 1), fromHex(this.#space), device, nonce]);
  }

  /** Whether all slow ones are closed. */
  get isClear(): boolean {
    return this.#slow.every(({ closedMs }) => closedMs !== undefined);
  }

  /** The slow ones by their ways. */
  counts(): readonly SlowCount[] {
    return WAYS.map((way) => {
      const all = this.#slow.filter((slow) => slow.way === way);
      const times = all.flatMap(({ closedMs, sinceMs }) =>
        closedMs === undefined ? [] : [closedMs - sinceMs],
      );
      const slowestMs = Math.round(Math.max(0, ...times));
      return { way: way.name, opened: all.length, closed: times.length, slowestMs };
    });
  }

  /** Connects as an agent does and is let in; resolves with the time that took, in milliseconds. Throws when it is not. */
  async connect(): Promise<number> {
    const [device] = this.#devices;
    if (device === undefined) throw new Error("no device");
    const client = createWsClient({
      urls: [`ws://${HOST}:${String(this.#port)}`],
      device,
      space: this.#space,
      hubs: () => true,
      verifier: createDeviceVerifier(),
      random: systemRandom,
      clock: systemClock,
      logger: silentLogger,
    });
    let channel: Channel | undefined;
    let tookMs = 0;
    const sinceMs = performance.now();
    await client.start((opened) => {
      channel = opened;
      tookMs = performance.now() - sinceMs;
    });
    try {
      const bound = { timeoutMs: CONNECT_MS, what: "an honest one to be let in" };
      await waitFor(() => channel !== undefined, bound);
    } finally {
      await client.stop();
    }
    return tookMs;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#dripping);
    for (const { socket } of this.#slow) socket.destroy();
    await this.#hub[Symbol.asyncDispose]();
  }
}
