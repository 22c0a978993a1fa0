// SPDX-License-Identifier: Apache-2.0
/** Network namespaces of Linux: machines of their own, as far as networks go, that are joined by cables, bridges and routers. */
import { execFile, execFileSync } from "node:child_process";
import process from "node:process";
import { promisify } from "node:util";

const run = promisify(execFile);
const COMMAND_MS = 10_000;

/** What stands in front of a namespace's name; each set of them has a number. */
const OWN = `ctxlab-${String(process.pid)}-`;
let sets = 0;

/** One end of a cable: a namespace, the device in it, and its address such as `10.77.1.2/24`, if it has one. */
export interface CableEnd {
  readonly at: string;
  readonly device: string;
  readonly address?: string;
}

/** Namespaces that go away together. Names are without their prefix. */
export class Namespaces implements AsyncDisposable {
  readonly #prefix: string;
  readonly #names = new Set<string>();
  readonly #onExit = (): void => {
    this.removeNow();
  };

  constructor() {
    sets += 1;
    this.#prefix = `${OWN}${String(sets)}-`;
    process.on("exit", this.#onExit);
  }

  /** Why there can be none here, in words; undefined where there can. */
  static async unavailable(): Promise<string | undefined> {
    if (process.getuid?.() !== 0) return "network namespaces need root";
    await using trial = new Namespaces();
    try {
      await trial.add("trial");
      await trial.nft("trial", "add table inet trial");
      return undefined;
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      return `network namespaces need ip, nft and a kernel that has both: ${text.split("\n", 2).join(" ")}`;
    }
  }

  /** Makes namespaces, with a loopback that works. */
  async add(...names: readonly string[]): Promise<void> {
    for (const name of names) {
      this.#names.add(name);
      await run("ip", ["netns", "add", this.#prefix + name], { timeout: COMMAND_MS });
      await this.ip(name, "link", "set", "lo", "up");
    }
  }

  /** What to put in front of a command so that it runs in a namespace. */
  within(name: string): readonly [string, ...string[]] {
    return ["ip", "netns", "exec", this.#prefix + name];
  }

  /** Runs `ip` in a namespace. */
  async ip(name: string, ...args: readonly string[]): Promise<void> {
    await run("ip", ["-n", this.#prefix + name, ...args], { timeout: COMMAND_MS });
  }

  /** Runs commands of nft in a namespace, one per line. */
  async nft(name: string, commands: string): Promise<void> {
    for (const command of commands.split("\n")) {
      await this.exec(name, "nft", command);
    }
  }

  /** Runs a command in a namespace. */
  async exec(name: string, ...command: readonly string[]): Promise<void> {
    const [program, ...args] = this.within(name);
    await run(program, [...args, ...command], { timeout: COMMAND_MS });
  }

  /** Joins two namespaces by a cable. */
  async cable(a: CableEnd, b: CableEnd): Promise<void> {
    const peer = ["peer", "name", b.device, "netns", this.#prefix + b.at];
    await this.ip(a.at, "link", "add", a.device, "type", "veth", ...peer);
    for (const { at, device, address } of [a, b]) {
      if (address !== undefined) await this.ip(at, "addr", "add", address, "dev", device);
      await this.ip(at, "link", "set", device, "up");
    }
  }

  /** Makes a switch of a namespace, with an address of its own, out of cables that end there. */
  async bridge(
    at: string,
    device: string,
    address: string,
    cables: readonly string[],
  ): Promise<void> {
    await this.ip(at, "link", "add", device, "type", "bridge");
    await this.ip(at, "addr", "add", address, "dev", device);
    await this.ip(at, "link", "set", device, "up");
    for (const cable of cables) await this.ip(at, "link", "set", cable, "master", device);
  }

  /** Makes a namespace pass on packets that are for others. */
  async forward(at: string): Promise<void> {
    await this.exec(at, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward");
  }

  /** Removes them; what runs in them should have ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    process.off("exit", this.#onExit);
    for (const name of this.#names) {
      await run("ip", ["netns", "del", this.#prefix + name], { timeout: COMMAND_MS }).catch(
        // It was never made.
        () => undefined,
      );
    }
    this.#names.clear();
  }

  /** The same without waiting, for the end of this process. */
  removeNow(): void {
    for (const name of this.#names) {
      try {
        execFileSync("ip", ["netns", "del", this.#prefix + name], { stdio: "ignore" });
      } catch {
        // It was never made.
      }
    }
    this.#names.clear();
  }
}
