// SPDX-License-Identifier: Apache-2.0
/** A mesh of `ctxmesh` processes, each in a network namespace or on loopback. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { LinkReport } from "@ctxmesh/model";
import { connect } from "@ctxmesh/sdk";
import type { ContextClient } from "@ctxmesh/sdk";
import { Daemon, runCli } from "../demonstration/processes.ts";
import type { LabNode } from "./checks.ts";
import { until } from "./poll.ts";

const READY_MS = 30_000;

/** How one agent is reached, and reaches others. */
export interface ProcessAgent {
  /** What to put in front of its command: nothing, or what runs it in a namespace. */
  readonly within: readonly string[];
  readonly listen: readonly string[];
  /** What it tells others to dial; absent: where it listens. */
  readonly announce?: readonly string[];
  readonly peers: readonly string[];
  readonly hubs?: readonly string[];
  /** Relays through which it may be reached. */
  readonly relays?: readonly string[];
}

/** The hub of a mesh: where it listens for WebSockets and, as a relay, for agents. */
export interface ProcessHub {
  readonly within: readonly string[];
  readonly host: string;
  readonly port: number;
  readonly relay?: readonly string[];
}

/** A process, and what it says. */
export interface ProcessNode extends LabNode {
  readonly daemon: Daemon;
  links(): Promise<readonly LinkReport[]>;
  /** Lines of its log with this event. */
  events(event: string): readonly Readonly<Record<string, unknown>>[];
  /** Starts it and waits until it is ready. */
  start(): Promise<void>;
}

/** Processes that end together: when it is disposed of, or at once when this process ends before that. */
export interface ProcessMesh extends AsyncDisposable {
  readonly agents: readonly ProcessNode[];
  readonly hub: ProcessNode | undefined;
  /** Changes the configuration of an agent, by its number from 0; it takes effect when that starts. */
  configure(index: number, agent: ProcessAgent): void;
}

const list = (name: string, items: readonly string[] | undefined): string =>
  items === undefined ? "" : `${name}: ${JSON.stringify(items)}\n`;

function agentYaml(name: string, agent: ProcessAgent): string {
  const mesh = [
    list("listen", agent.listen),
    list("announce", agent.announce),
    list("peers", agent.peers),
    list("relays", agent.relays),
  ].join("");
  return `space: space.json
key: ${name}/device.jwk
store: ${name}/store
socket: ${name}/agent.sock
mesh:
${mesh.replaceAll(/^(?=.)/gmu, "  ")}${list("hubs", agent.hubs ?? [])}log:
  level: info
`;
}

/** Where `init` has the hub listen for agents of the same machine, the lab may have it elsewhere. */
function hubYaml(text: string, { host, port, relay }: ProcessHub): string {
  const listen = text
    .replace(/^ {2}host: .*$/mu, `  host: ${host}`)
    .replace(/^ {2}port: .*$/mu, `  port: ${String(port)}`);
  return relay === undefined ? listen : `${listen}relay:\n  ${list("listen", relay)}`;
}

/** The last lines of a daemon's log. */
const logOf = (daemon: Daemon): string =>
  readFileSync(daemon.logPath, "utf8").trim().split("\n").slice(-5).join("\n");

/** How often a daemon has said that it is ready, over all its starts. */
function timesReady({ logPath }: Daemon): number {
  return existsSync(logPath)
    ? readFileSync(logPath, "utf8").split(/"(?:agent|hub)\.ready"/u).length
    : 1;
}

function nodeOf(daemon: Daemon, client: ContextClient): ProcessNode {
  return {
    name: daemon.name,
    daemon,
    status: async (digest = false) => client.status({ digest }),
    put: async (doc, facts) => client.put(doc, facts),
    links: async () => client.links(),
    events: (event) =>
      readFileSync(daemon.logPath, "utf8")
        .split("\n")
        .filter((line) => line.includes(`"${event}"`) && line.endsWith("}"))
        .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>),
    start: async () => {
      const before = timesReady(daemon);
      daemon.start();
      const isReady = async (): Promise<boolean> => {
        if (daemon.running) return Promise.resolve(timesReady(daemon) > before);
        throw new Error(`${daemon.name} has ended; its log says:\n${logOf(daemon)}`);
      };
      await until(`${daemon.name} ready`, READY_MS, isReady);
    },
  };
}

/** As `ctxmesh init` names the agents. */
const nameOf = (i: number): string => `agent-${String(i + 1)}`;

/** Makes keys, a space and configurations in a temporary folder; nothing runs yet. */
export async function prepareProcesses(
  agents: readonly ProcessAgent[],
  hub?: ProcessHub,
): Promise<ProcessMesh> {
  const folder = mkdtempSync(join(tmpdir(), "ctxmesh-lab-"));
  await using starting = new AsyncDisposableStack();
  const remove = (): void => {
    rmSync(folder, { recursive: true, force: true });
  };
  starting.defer(remove);
  const daemons: Daemon[] = [];
  const killNow = (): void => {
    for (const daemon of daemons) daemon.kill();
    remove();
  };
  process.on("exit", killNow);
  starting.defer(() => {
    process.off("exit", killNow);
  });
  const args = ["--agents", String(agents.length), "--ports", "auto", "--name", "lab"];
  const init = await runCli(["init", folder, ...args], process.cwd());
  if (init.exitCode !== 0) throw new Error(init.stderr.trim());
  const open = (name: string, kind: "agent" | "hub", within: readonly string[]): ProcessNode => {
    const socket = `${name}/${kind}.sock`;
    const daemon = new Daemon(name, folder, [kind, `${name}.yaml`], socket, within);
    daemons.push(daemon);
    const client = connect({ socketPath: daemon.socketPath });
    starting.defer(async () => {
      client.close();
      await daemon.stop();
    });
    return nodeOf(daemon, client);
  };
  const configure = (i: number, agent: ProcessAgent): void => {
    const name = nameOf(i);
    writeFileSync(join(folder, `${name}.yaml`), agentYaml(name, agent));
  };
  const nodes = agents.map((agent, i) => {
    configure(i, agent);
    return open(nameOf(i), "agent", agent.within);
  });
  const hubFile = join(folder, "hub.yaml");
  if (hub !== undefined) writeFileSync(hubFile, hubYaml(readFileSync(hubFile, "utf8"), hub));
  const hubNode = hub === undefined ? undefined : open("hub", "hub", hub.within);
  const running = starting.move();
  return {
    agents: nodes,
    hub: hubNode,
    configure,
    [Symbol.asyncDispose]: async () => running.disposeAsync(),
  };
}

/** Waits until every agent is connected to so many other agents. */
export async function connected(
  nodes: readonly ProcessNode[],
  wanted: number,
  boundMs: number,
): Promise<void> {
  await until(`${String(wanted)} peers at each agent`, boundMs, async () => {
    const statuses = await Promise.all(nodes.map(async (node) => node.status()));
    return statuses.every(
      ({ peers }) => peers.filter(({ role }) => role === "agent").length === wanted,
    );
  });
}
