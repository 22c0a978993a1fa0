// SPDX-License-Identifier: Apache-2.0
/** The `ctxmesh agent` of harness A: a process with all that belongs to it, written to through its local API. */
import { readFileSync } from "node:fs";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import type { JsonValue, VisibleFact } from "@ctxmesh/model";
import { connect } from "@ctxmesh/sdk";
import type { ContextClient } from "@ctxmesh/sdk";
import { until } from "../demonstration/mesh.ts";
import { Daemon, runCli } from "../demonstration/processes.ts";
import type { Dice } from "../fuzz/dice.ts";
import { checkFacts, refusal } from "./inspect.ts";
import type { Broken } from "./inspect.ts";
import { DAMAGED } from "./open.ts";
import { operationAt, valueOf } from "./workload.ts";

const WRITE_MS = 500;
const START_SECONDS = 30;
const LENGTH = 40;

/** An agent that is started, written to and killed. */
export class AgentUnderTest implements AsyncDisposable {
  readonly #daemon: Daemon;
  readonly #seed: number;
  #last = 0;
  #operations = 0;

  private constructor(daemon: Daemon, seed: number) {
    this.#daemon = daemon;
    this.#seed = seed;
  }

  /** Makes a mesh of one agent in a new folder. */
  static async create(folder: string, seed: number): Promise<AgentUnderTest> {
    const args = ["--agents", "1", "--ports", "auto", "--name", "torture"];
    const { exitCode, stderr } = await runCli(["init", folder, ...args], process.cwd());
    if (exitCode !== 0) throw new Error(stderr.trim());
    const daemon = new Daemon("agent-1", folder, ["agent", "agent-1.yaml"], "agent-1/agent.sock");
    return new AgentUnderTest(daemon, seed);
  }

  /** Operations that were acknowledged. */
  get operations(): number {
    return this.#operations;
  }

  /** Starts the agent, looks whether all is there, writes until a random moment, kills it, and looks again. */
  async round(dice: Dice): Promise<Broken | undefined> {
    try {
      if (!this.#daemon.running) await this.#startAndCheck();
      await this.#writeFor(dice.roll(WRITE_MS));
      return await this.#startAndCheck();
    } catch (error) {
      return refusal(error);
    }
  }

  async #startAndCheck(): Promise<Broken | undefined> {
    this.#daemon.start();
    const client = connect({ socketPath: this.#daemon.socketPath });
    try {
      const facts = await this.#readAll(client);
      const found = checkFacts(facts, this.#seed, { own: this.#last, other: 0 });
      if ("breach" in found) return found;
      if (readFileSync(this.#daemon.logPath, "utf8").includes(DAMAGED)) {
        return {
          breach: "refused",
          problem: `the agent found its store damaged: ${this.#daemon.logPath}`,
        };
      }
      this.#last = found.own;
      return undefined;
    } finally {
      client.close();
    }
  }

  async #readAll(client: ContextClient): Promise<readonly VisibleFact[]> {
    let facts: readonly VisibleFact[] | undefined;
    await until("the agent answers", START_SECONDS, async () => {
      if (!this.#daemon.running) throw new Error("the agent ended by itself");
      facts = await client.list({ limit: 10_000 }).catch(() => undefined);
      return facts !== undefined;
    });
    return facts ?? [];
  }

  /** Writes one operation after the other until the agent is killed. */
  async #writeFor(ms: number): Promise<void> {
    const client = connect({ socketPath: this.#daemon.socketPath });
    let killed = false;
    const writing = this.#write(client).catch((error: unknown) => {
      if (!killed) throw error;
    });
    await Promise.race([sleep(ms), writing]);
    killed = true;
    await this.#daemon.stop("SIGKILL");
    await writing;
    client.close();
  }

  async #write(client: ContextClient): Promise<never> {
    for (;;) {
      const id = this.#last + 1;
      const { doc, keys, deletes } = operationAt("own", id);
      const value = (key: string): JsonValue => valueOf(this.#seed, "own", id, key, LENGTH);
      if (deletes) await client.delete(doc, keys);
      else
        await client.put(
          doc,
          keys.map((key) => ({ key, value: value(key) })),
        );
      this.#last = id;
      this.#operations++;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon.stop("SIGKILL");
  }
}
