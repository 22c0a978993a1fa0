// SPDX-License-Identifier: Apache-2.0
/** Scenarios of `ctxmesh` processes in network namespaces, where the kernel's own TCP meets the faults. */
import { setTimeout as pass } from "node:timers/promises";
import { Load, isParted, judge } from "./checks.ts";
import type { Verdict } from "./checks.ts";
import { Namespaces } from "./namespaces.ts";
import { until } from "./poll.ts";
import { connected, prepareProcesses } from "./processes.ts";
import type { ProcessAgent, ProcessNode } from "./processes.ts";
import type { Scenario, ScenarioResult, Size } from "./scenario.ts";
import { ROUTER, buildLans, heal, part } from "./topologies.ts";
import type { Host } from "./topologies.ts";

const PORT = 4401;
const RELAY_PORT = 4402;
const CONNECT_MS = 20_000;
const BOUND_MS = 60_000;
/** Long enough for a silent connection to be given up, which takes 14 s at most. */
const PARTITION_MS: Readonly<Record<Size, number>> = { short: 16_000, full: 60_000 };

type Outcome = Pick<ScenarioResult, keyof Verdict | "agents" | "figures">;

/** What a scenario runs with. */
interface Scene {
  readonly namespaces: Namespaces;
  readonly stack: AsyncDisposableStack;
  readonly size: Size;
}

/** An agent at a host, which knows others by their addresses and listens on all of its own. */
const agentAt = (
  namespaces: Namespaces,
  { name }: Host,
  peers: readonly string[],
): ProcessAgent => ({
  within: namespaces.within(name),
  listen: [`/ip4/0.0.0.0/tcp/${String(PORT)}`],
  peers: peers.map((address) => `/ip4/${address}/tcp/${String(PORT)}`),
});

/** An agent at each host, all of which know the first one, started and connected to each other. */
async function startAgents(
  { namespaces, stack }: Scene,
  hosts: readonly Host[],
): Promise<readonly ProcessNode[]> {
  const [first] = hosts;
  const agents = hosts.map((host) =>
    agentAt(namespaces, host, host === first || first === undefined ? [] : [first.address]),
  );
  const mesh = stack.use(await prepareProcesses(agents));
  await Promise.all(mesh.agents.map(async (agent) => agent.start()));
  await connected(mesh.agents, hosts.length - 1, CONNECT_MS);
  return mesh.agents;
}

/** Two LANs, and for a time nothing passes from one to the other, or nothing in one direction. */
async function partition(scene: Scene, ways: "one" | "both"): Promise<Outcome> {
  const { namespaces, size } = scene;
  const hosts = await buildLans(namespaces, size === "full" ? [3, 3] : [2, 2]);
  const agents = await startAgents(scene, hosts);
  await using load = new Load(agents, 10);
  await part(namespaces, 1, 2, ways);
  // The faults last for a time; that is no wait for anything.
  await pass(PARTITION_MS[size]);
  await load.stop();
  const parted = await isParted(agents, load.total);
  await heal(namespaces);
  const verdict = await judge(agents, load.total, { boundMs: BOUND_MS });
  const idle = parted ? [] : ["the partition kept nothing from anybody"];
  return {
    ...verdict,
    problems: [...verdict.problems, ...idle],
    agents: agents.length,
    figures: {},
  };
}

/** An agent's machine gets another address: nobody answers at the old one any more. */
async function addressChange(scene: Scene): Promise<Outcome> {
  const { namespaces } = scene;
  const hosts = await buildLans(namespaces, [2]);
  const agents = await startAgents(scene, hosts);
  const [, moving] = hosts;
  if (moving === undefined) throw new Error("no host");
  await using load = new Load(agents, 10);
  // In this order: a second address of the same network would go away with the first.
  await namespaces.ip(moving.name, "addr", "del", `${moving.address}/24`, "dev", "eth0");
  await namespaces.ip(moving.name, "addr", "add", "10.77.1.99/24", "dev", "eth0");
  const movedAt = performance.now();
  const [first] = agents;
  await until(
    "a connection with the new address",
    BOUND_MS,
    async () =>
      (await first?.status())?.peers.some(({ address }) => address.includes(".99/")) === true,
  );
  const reconnectMs = Math.round(performance.now() - movedAt);
  await load.stop();
  const verdict = await judge(agents, load.total, { boundMs: BOUND_MS });
  return { ...verdict, agents: agents.length, figures: { reconnectMs } };
}

/** A machine goes away without a word, and comes back: its peer still has the old connection until it notices. */
async function halfOpen(scene: Scene): Promise<Outcome> {
  const { namespaces } = scene;
  const hosts = await buildLans(namespaces, [1, 1]);
  const agents = await startAgents(scene, hosts);
  const [first, second] = agents;
  if (first === undefined || second === undefined) throw new Error("no agents");
  await using load = new Load([first], 10);
  await part(namespaces, 1, 2, "both");
  await second.daemon.stop("SIGKILL");
  const goneAt = performance.now();
  await until("the peer missed", BOUND_MS, async () => (await first.status()).peers.length === 0);
  const noticedMs = Math.round(performance.now() - goneAt);
  await heal(namespaces);
  await second.start();
  await connected(agents, 1, CONNECT_MS);
  await load.stop();
  const verdict = await judge(agents, load.total, { boundMs: BOUND_MS, restarted: true });
  return { ...verdict, agents: agents.length, figures: { noticedMs } };
}

/** Two agents behind routers that hide them can't dial each other, and meet through the relay of a hub. */
async function nat(scene: Scene): Promise<Outcome> {
  const { namespaces, stack, size } = scene;
  const hosts = await buildLans(namespaces, [1, 1, 1]);
  const [a, b, public_] = hosts;
  if (a === undefined || b === undefined || public_ === undefined) throw new Error("no hosts");
  await namespaces.nft(
    ROUTER,
    [
      "add table ip nat",
      "add chain ip nat post { type nat hook postrouting priority 100 ; }",
      "add rule ip nat post ip daddr 10.77.3.0/24 masquerade",
    ].join("\n"),
  );
  await part(namespaces, 1, 2, "both");
  const agents = [a, b].map((host) => agentAt(namespaces, host, []));
  const mesh = stack.use(
    await prepareProcesses(agents, {
      within: namespaces.within(public_.name),
      host: "0.0.0.0",
      port: 4400,
      relay: [`/ip4/0.0.0.0/tcp/${String(RELAY_PORT)}`],
    }),
  );
  await mesh.hub?.start();
  const id = /\/p2p\/\w+/u.exec(JSON.stringify(mesh.hub?.events("relay.listening")))?.[0] ?? "";
  const relay = `/ip4/${public_.address}/tcp/${String(RELAY_PORT)}${id}`;
  for (const [i, agent] of agents.entries()) mesh.configure(i, { ...agent, relays: [relay] });
  await Promise.all(mesh.agents.map(async (agent) => agent.start()));
  await connected(mesh.agents, 1, BOUND_MS);
  const statuses = await Promise.all(mesh.agents.map(async (agent) => agent.status()));
  const direct = statuses.filter(
    ({ peers }) => !(peers[0]?.address ?? "").includes("/p2p-circuit"),
  );
  await using load = new Load(mesh.agents, 10);
  await pass(size === "full" ? 30_000 : 2_000);
  await load.stop();
  const verdict = await judge(mesh.agents, load.total, { boundMs: BOUND_MS });
  const problems = direct.map(({ peers }) => `not relayed: ${String(peers[0]?.address)}`);
  return {
    ...verdict,
    problems: [...verdict.problems, ...problems],
    agents: mesh.agents.length,
    figures: {},
  };
}

const scenario = (
  name: string,
  what: string,
  act: (scene: Scene) => Promise<Outcome>,
  sizes: readonly Size[] = ["short", "full"],
): Scenario => ({
  name,
  what,
  kind: "namespaces",
  sizes,
  unavailable: async () => Namespaces.unavailable(),
  run: async (size) => {
    const startedAt = performance.now();
    await using namespaces = new Namespaces();
    await using stack = new AsyncDisposableStack();
    const outcome = await act({ namespaces, stack, size });
    const seconds = Math.round(performance.now() - startedAt) / 1_000;
    return { scenario: name, seconds, ...outcome };
  },
});

/** Those in network namespaces. */
export const IN_NAMESPACES: readonly Scenario[] = [
  scenario("ns-halves", "a silent partition of two LANs", async (scene) =>
    partition(scene, "both"),
  ),
  scenario(
    "ns-one-way",
    "two LANs of which one hears the other, and is not heard",
    async (scene) => partition(scene, "one"),
    ["full"],
  ),
  scenario("ns-address", "an agent's machine gets another address", addressChange),
  scenario("ns-half-open", "a machine goes away without a word, and comes back", halfOpen),
  scenario("ns-nat", "agents behind two routers meet through the relay of a hub", nat),
];
