// SPDX-License-Identifier: Apache-2.0
/** The processes of a run, each with several nodes. */
import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { AttackKind } from "./attackers.ts";
import type { LiveNodeOptions } from "./live-node.ts";
import type { RawFloodKind } from "./raw-floods.ts";
import type { Cast } from "./cast.ts";
import type { Answer, Command, NodeReport } from "./worker.ts";

/** Nodes in one process. */
export const NODES_PER_PROCESS = 8;

/** A process and what it was asked. */
class Member {
  readonly #child: ChildProcess;
  readonly #asked = new Map<number, PromiseWithResolvers<unknown>>();
  #id = 0;

  constructor() {
    const worker = fileURLToPath(new URL("worker.ts", import.meta.url));
    this.#child = fork(worker, {
      execArgv: ["--conditions=@ctxmesh/source", "--expose-gc"],
      serialization: "advanced",
    });
    this.#child.on("message", ({ id, result, error }: Answer) => {
      const asked = this.#asked.get(id);
      this.#asked.delete(id);
      if (error === undefined) asked?.resolve(result);
      else asked?.reject(new Error(error));
    });
    this.#child.on("exit", () => {
      for (const { reject } of this.#asked.values()) reject(new Error("a process has ended"));
    });
  }

  async ask(command: Command): Promise<unknown> {
    const asked = Promise.withResolvers<unknown>();
    this.#asked.set(this.#id, asked);
    this.#child.send({ id: this.#id++, command });
    return asked.promise;
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }
}

/** All processes of a run. */
export class Crew implements AsyncDisposable {
  readonly #cast: Cast;
  readonly #members: Member[] = [];
  /** By the device's number. */
  readonly #places = new Map<number, Member>();

  constructor(cast: Cast) {
    this.#cast = cast;
  }

  /** A process of its own for the devices with these numbers. */
  house(...devices: readonly number[]): void {
    const member = new Member();
    this.#members.push(member);
    for (const n of devices) this.#places.set(n, member);
  }

  /** Processes with some devices each. */
  houseAll(devices: readonly number[]): void {
    for (let i = 0; i < devices.length; i += NODES_PER_PROCESS) {
      this.house(...devices.slice(i, i + NODES_PER_PROCESS));
    }
  }

  async #ask(n: number, command: Command): Promise<unknown> {
    const member = this.#places.get(n);
    if (member === undefined) throw new Error(`device ${String(n)} has no process`);
    return member.ask(command);
  }

  /** Starts an honest node; resolves to its addresses. */
  async startNode(
    n: number,
    options: Omit<LiveNodeOptions, "n" | "cast"> = {},
  ): Promise<readonly string[]> {
    const command = { type: "node", options: { ...options, n, cast: this.#cast } } as const;
    return (await this.#ask(n, command)) as readonly string[];
  }

  async startAttacker(
    n: number,
    kind: AttackKind,
    peers: readonly string[],
  ): Promise<readonly string[]> {
    const command = { type: "attacker", options: { n, cast: this.#cast, kind, peers } } as const;
    return (await this.#ask(n, command)) as readonly string[];
  }

  async startRawFlood(n: number, kind: RawFloodKind, peers: readonly string[]): Promise<void> {
    await this.#ask(n, { type: "raw-flood", n, kind, peers });
  }

  async put(n: number, key: string, value: string): Promise<void> {
    await this.#ask(n, { type: "put", n, key, value });
  }

  async status(n: number): Promise<NodeReport> {
    return (await this.#ask(n, { type: "status", n })) as NodeReport;
  }

  /** Milliseconds from the writing of each batch of another node to its being applied at this one; those since the last call. */
  async latencies(n: number): Promise<readonly number[]> {
    return (await this.#ask(n, { type: "latencies", n })) as readonly number[];
  }

  /** What an attacker has done. */
  async report(n: number): Promise<{ readonly channels: number; readonly sentBytes: number }> {
    return (await this.#ask(n, { type: "report", n })) as {
      readonly channels: number;
      readonly sentBytes: number;
    };
  }

  async stop(n: number): Promise<void> {
    await this.#ask(n, { type: "stop", n });
  }

  /** Bytes in use in the process of a device. */
  async memory(n: number): Promise<number> {
    return (await this.#ask(n, { type: "memory" })) as number;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#members.map(async (member) => member.end()));
  }
}
