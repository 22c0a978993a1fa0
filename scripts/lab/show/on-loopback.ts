// SPDX-License-Identifier: Apache-2.0
/** The show's world without root: the LANs are on loopback, and an emulated link joins them. */
import { createLinkEmulator, waitFor } from "@ctxmesh/testing";
import type { LinkWay } from "@ctxmesh/testing";
import { freePorts } from "../emulated.ts";
import { prepareProcesses } from "../processes.ts";
import { readHandshake } from "./tls-hello.ts";
import { LAN_AGENTS, THIN_BYTES_PER_SECOND } from "./world.ts";
import type { RecordedHandshake, World } from "./world.ts";

const RECORDED_MS = 10_000;
const HELLO_BYTES = 16_384;
const MOST_CONNECTIONS = 64;

const loopback = (port: number): string => `/ip4/127.0.0.1/tcp/${String(port)}`;

/** By the number of an agent, from 0. */
const lanOf = (i: number): number => (i < LAN_AGENTS ? 1 : 2);

/** What one connection has said, each way. */
type Heard = Readonly<Record<LinkWay, Uint8Array[]>> & { bytes: number };

/** The first bytes of the first connections over the link. */
class Tap {
  readonly #connections = new Map<number, Heard>();

  hear(way: LinkWay, bytes: Uint8Array, connection: number): void {
    if (connection > MOST_CONNECTIONS) return;
    const heard = this.#connections.get(connection) ?? { ab: [], ba: [], bytes: 0 };
    this.#connections.set(connection, heard);
    if (heard.bytes > HELLO_BYTES) return;
    heard.bytes += bytes.length;
    heard[way].push(bytes);
  }

  async handshake(): Promise<RecordedHandshake> {
    let found: RecordedHandshake | undefined;
    const look = (): boolean => {
      for (const { ab, ba } of this.#connections.values()) {
        try {
          // Those of LAN 2 dial.
          const handshake = readHandshake(Buffer.concat(ba), Buffer.concat(ab));
          found = { ...handshake, between: "an agent of each LAN", how: "on the emulated link" };
          return true;
        } catch {
          // Not all of it was heard yet, or the dial met nobody.
        }
      }
      return false;
    };
    await waitFor(look, { timeoutMs: RECORDED_MS, what: "a handshake over the link" });
    if (found === undefined) throw new Error("no handshake");
    return found;
  }
}

/** Builds it, for a reason why there is no better one; the agents are not started. */
export async function createLoopbackWorld(reason: string): Promise<World> {
  await using building = new AsyncDisposableStack();
  const tap = new Tap();
  const settings = { delayMs: 10, bytesPerSecond: THIN_BYTES_PER_SECOND };
  const link = building.use(
    createLinkEmulator({
      settings,
      onData: (way, bytes, connection) => {
        tap.hear(way, bytes, connection);
      },
    }),
  );
  const ports = await freePorts(2 * LAN_AGENTS);
  const agents = await Promise.all(
    ports.map(async (port, i) => {
      const peers = await Promise.all(
        ports.slice(0, i).map(async (other, j) => {
          if (lanOf(i) === lanOf(j)) return loopback(other);
          const target = { host: "127.0.0.1", port: other };
          return loopback((await link.forward({ target, from: "b" })).port);
        }),
      );
      // They announce nothing: else they would tell each other where they listen, and dial past the link.
      return { within: [], listen: [loopback(port)], announce: [], peers };
    }),
  );
  const mesh = building.use(await prepareProcesses(agents));
  const built = building.move();
  return {
    description: `six agents on loopback in two groups, joined by an emulated link of 256 kbit/s, since ${reason}`,
    mesh,
    part: async () => Promise.resolve(link.set({ blocked: true })),
    heal: async () => Promise.resolve(link.set({ blocked: false })),
    thin: async () => {
      const { ab, ba } = link.counters();
      return Promise.resolve([ba, ab]);
    },
    handshake: async () => tap.handshake(),
    [Symbol.asyncDispose]: async () => built.disposeAsync(),
  };
}
