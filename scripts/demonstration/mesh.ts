// SPDX-License-Identifier: Apache-2.0
/** The demo's mesh: one hub and three agents as processes, and what can be read from them. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { NodeStatus } from "@ctxmesh/model";
import { connect } from "@ctxmesh/sdk";
import { AGENTS } from "./options.ts";
import type { DemoOptions } from "./options.ts";
import { Daemon, runCli } from "./processes.ts";

/** CSV rows per second and agent. */
const ROWS_PER_SECOND = 100;
/** Host readings per second and agent. */
const READINGS_PER_SECOND = 10;
const POLL_MS = 100;
/** What each agent takes for the state of a zone: not the same, since on a busy machine all of them would say 100 % of the processor, and nobody would disagree. */
const MEASURES = ["cpu_percent", "memory_percent", "disk_percent"] as const;

/**
 * The sources of one agent. All agents write the state of all three zones, and each is surest of its
 * own, so whoever writes last, two zones have an older statement that is surer: a conflict.
 */
function sourcesYaml(agent: number, { csvFiles, seconds }: DemoOptions): string {
  const file = csvFiles?.[agent - 1];
  const from = file === undefined ? MEASURES[agent - 1] : "value";
  const shared = Array.from({ length: AGENTS }, (_, zone) => {
    const distance = (zone + 1 - agent + AGENTS) % AGENTS;
    const confidence = String((9 - distance) / 10);
    return `      - { doc: site, key: zone-${String(zone + 1)}/state, from: ${from}, confidence: ${confidence} }`;
  });
  const kind =
    file === undefined
      ? [
          "  - type: host",
          `    name: agent-${String(agent)}`,
          `    intervalMs: ${String(1000 / READINGS_PER_SECOND)}`,
        ]
      : [
          "  - type: csv",
          `    path: ${JSON.stringify(file)}`,
          `    rate: ${String(ROWS_PER_SECOND)}`,
          "    loop: true",
        ];
  const stop = `    stopAfterMs: ${String(seconds * 1000)}`;
  return `${["sources:", ...kind, stop, "    also:", ...shared].join("\n")}\n`;
}

/** Waits until a condition holds, at most `seconds`; says what for when it does not. */
export async function until(
  what: string,
  seconds: number,
  condition: () => Promise<boolean>,
): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${String(seconds)} s`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** The mesh. */
export class Mesh {
  readonly folder: string;
  readonly hub: Daemon;
  readonly agents: readonly Daemon[];
  readonly #temporary: boolean;

  private constructor(folder: string, temporary: boolean) {
    this.folder = folder;
    this.#temporary = temporary;
    this.hub = new Daemon("hub", folder, ["hub", "hub.yaml"], "hub/hub.sock");
    this.agents = Array.from({ length: AGENTS }, (_, i) => {
      const name = `agent-${String(i + 1)}`;
      return new Daemon(name, folder, ["agent", `${name}.yaml`], `${name}/agent.sock`);
    });
  }

  /** Makes keys, space and configurations with `ctxmesh init`. */
  static async create(options: DemoOptions): Promise<Mesh> {
    const folder = options.keep ?? mkdtempSync(join(tmpdir(), "ctxmesh-demo-"));
    const mesh = new Mesh(folder, options.keep === undefined);
    const args = ["--agents", String(AGENTS), "--ports", "auto", "--name", "demo"];
    const init = await runCli(["init", folder, ...args], process.cwd());
    if (init.exitCode !== 0) {
      mesh.remove();
      throw new Error(init.stderr.trim());
    }
    for (let agent = 1; agent <= AGENTS; agent++) {
      const path = join(folder, `agent-${String(agent)}.yaml`);
      const sources = sourcesYaml(agent, options);
      const text = readFileSync(path, "utf8").replace(/^sources:\n(?:[ #].*\n)*/mu, sources);
      writeFileSync(path, text);
    }
    return mesh;
  }

  /** Hub first, then the agents. */
  get all(): readonly Daemon[] {
    return [this.hub, ...this.agents];
  }

  /** A daemon's status; undefined while it does not answer. Throws when its process has ended. */
  async status(daemon: Daemon, digest = false): Promise<NodeStatus | undefined> {
    if (!daemon.running) {
      const log = readFileSync(daemon.logPath, "utf8").trim().split("\n").slice(-3).join("\n");
      throw new Error(`${daemon.name} has ended; its log says:\n${log}`);
    }
    const client = connect({ socketPath: daemon.socketPath });
    try {
      return await client.status({ digest });
    } catch {
      return undefined;
    } finally {
      client.close();
    }
  }

  /** The statuses of daemons; undefined unless all of them answer. */
  async statuses(
    daemons: readonly Daemon[],
    digest = false,
  ): Promise<readonly NodeStatus[] | undefined> {
    const found = await Promise.all(daemons.map(async (daemon) => this.status(daemon, digest)));
    const answered = found.filter((status) => status !== undefined);
    return answered.length === daemons.length ? answered : undefined;
  }

  /** Whether daemons have applied exactly the same batches. */
  async converged(daemons: readonly Daemon[]): Promise<boolean> {
    const statuses = await this.statuses(daemons);
    return statuses !== undefined && new Set(statuses.map(({ frontier }) => frontier)).size === 1;
  }

  /** Ends every process and waits for it. */
  async stop(): Promise<void> {
    await Promise.all(this.all.map(async (daemon) => daemon.stop()));
  }

  /** Ends every process at once, for when the demo itself is ended. */
  kill(): void {
    for (const daemon of this.all) daemon.kill();
  }

  /** Removes the folder, unless it was asked to stay. */
  remove(): void {
    if (this.#temporary) rmSync(this.folder, { recursive: true, force: true });
  }
}
