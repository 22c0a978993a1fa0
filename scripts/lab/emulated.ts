// SPDX-License-Identifier: Apache-2.0
/** A mesh of agents in this process, with real stores and sockets, whose every connection goes over an emulated link. */
import { randomInt } from "node:crypto";
import { createServer } from "node:net";
import type { Agent } from "@ctxmesh/edge-agent";
import { createLinkEmulator } from "@ctxmesh/testing";
import type { LinkEmulator, LinkOptions, LinkSettings, LinkWay } from "@ctxmesh/testing";
import { createFixture } from "../../test/e2e/fixture.ts";
import type { LabNode } from "./checks.ts";

/** The link between two agents, by their numbers; `a` is the lower one, which the other one dials. */
export interface MeshLink {
  readonly a: number;
  readonly b: number;
  readonly link: LinkEmulator;
}

/** Which agents have a link, and what the links are like. */
export interface EmulatedOptions {
  readonly folder: string;
  readonly agents: number;
  /** Pairs of agents that have a link, the lower number first. */
  readonly pairs: readonly (readonly [number, number])[];
  readonly settings: Partial<LinkSettings>;
  readonly seed: number;
  /** Called with what passes on any link; `ba` is what the dialling end sends. */
  readonly onData?: LinkOptions["onData"];
}

/** A mesh. */
export interface EmulatedMesh extends AsyncDisposable {
  readonly nodes: readonly LabNode[];
  readonly links: readonly MeshLink[];
  /** How many peers each agent is connected to. */
  degrees(): Promise<readonly number[]>;
}

/** Every pair of `agents` agents. */
export const everyPair = (agents: number): (readonly [number, number])[] =>
  Array.from({ length: agents }, (_, b) =>
    Array.from({ length: b }, (__, a) => [a, b] as const),
  ).flat();

/** Each agent and the next `reach` ones, in a circle. */
export function circle(agents: number, reach = 1): (readonly [number, number])[] {
  const pairs = new Map<string, readonly [number, number]>();
  for (let i = 0; i < agents; i++) {
    for (let step = 1; step <= reach; step++) {
      const j = (i + step) % agents;
      const pair = [Math.min(i, j), Math.max(i, j)] as const;
      if (i !== j) pairs.set(pair.join("-"), pair);
    }
  }
  return [...pairs.values()];
}

/** The direction in which what an agent sends goes. */
export const waysFrom = (agent: number, { a }: MeshLink): LinkWay => (a === agent ? "ab" : "ba");

/** Ports that systems don't give to connections, which are many here: one of those could be taken before an agent listens. */
const LISTEN_PORTS = { from: 10_000, to: 32_000 };

/** Whether nobody listens on a port of loopback. */
async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const listening = new Promise<boolean>((resolve) => {
    server.once("error", () => {
      resolve(false);
    });
    server.listen(port, "127.0.0.1", () => {
      resolve(true);
    });
  });
  if (!(await listening)) return false;
  await new Promise((resolve) => server.close(resolve));
  return true;
}

/** Ports of loopback that were free just now. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const ports = new Set<number>();
  while (ports.size < count) {
    const port = randomInt(LISTEN_PORTS.from, LISTEN_PORTS.to);
    if (!ports.has(port) && (await isFree(port))) ports.add(port);
  }
  return [...ports];
}

const nodeOf = ({ service }: Agent, i: number): LabNode => ({
  name: `agent-${String(i + 1)}`,
  status: async (digest = false) => service.status({ digest }),
  put: async (doc, facts) => service.put(doc, facts),
});

/** Starts the agents, each of which knows others only as the far ends of links. */
export async function startEmulatedMesh(options: EmulatedOptions): Promise<EmulatedMesh> {
  const { folder, agents: count, pairs, settings, seed, onData } = options;
  const tap = onData === undefined ? {} : { onData };
  await using starting = new AsyncDisposableStack();
  const fixture = createFixture(folder, count);
  const ports = await freePorts(count);
  const links: MeshLink[] = [];
  const peers: string[][] = ports.map(() => []);
  for (const [i, [a, b]] of pairs.entries()) {
    const link = starting.use(createLinkEmulator({ seed: seed * 1_000 + i, settings, ...tap }));
    const target = { host: "127.0.0.1", port: ports[a] ?? 0 };
    const { port } = await link.forward({ target, from: "b" });
    links.push({ a, b, link });
    peers[b]?.push(`/ip4/127.0.0.1/tcp/${String(port)}`);
  }
  const agents: Agent[] = [];
  for (const [i, port] of ports.entries()) {
    const agent = await fixture.startAgent(i, {
      listen: [`/ip4/127.0.0.1/tcp/${String(port)}`],
      // Else agents would tell each other where they listen, and dial past the links.
      announce: [],
      peers: peers[i] ?? [],
    });
    starting.defer(async () => agent.stop());
    agents.push(agent);
  }
  const running = starting.move();
  return {
    nodes: agents.map(nodeOf),
    links,
    degrees: async () =>
      Promise.all(agents.map(async ({ service }) => (await service.status()).peers.length)),
    [Symbol.asyncDispose]: async () => running.disposeAsync(),
  };
}
