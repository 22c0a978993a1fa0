// SPDX-License-Identifier: Apache-2.0
/** The show's world in network namespaces: a router parts the LANs with nft, shapes the link with tc, and tcpdump listens. */
import { execFile, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import { waitFor } from "@ctxmesh/testing";
import { Namespaces } from "../namespaces.ts";
import { prepareProcesses } from "../processes.ts";
import { ROUTER, buildLans, heal, part } from "../topologies.ts";
import type { Host } from "../topologies.ts";
import { conversationsIn } from "./packets.ts";
import { readHandshake } from "./tls-hello.ts";
import { LAN_AGENTS, THIN_BYTES_PER_SECOND } from "./world.ts";
import type { RecordedHandshake, ThinTraffic, World } from "./world.ts";

const run = promisify(execFile);
const PORT = 4401;
const RECORDED_MS = 10_000;
/** Bytes that wait at the router before it drops: half a second. */
const QUEUE_BYTES = THIN_BYTES_PER_SECOND / 2;
const BURST_BYTES = 4_096;

/** Why this world can't be built here, in words; undefined where it can. */
export async function whyNoNamespaces(): Promise<string | undefined> {
  const reason = await Namespaces.unavailable();
  if (reason !== undefined) return reason;
  try {
    await run("tcpdump", ["--version"]);
    await using trial = new Namespaces();
    await trial.add("trial");
    await shape(trial, "trial", "lo");
    return undefined;
  } catch {
    return "it takes tcpdump, and tc with the queue tbf";
  }
}

/** Makes a device send no faster than the thin link. */
async function shape(namespaces: Namespaces, at: string, device: string): Promise<void> {
  const rate = `${String((THIN_BYTES_PER_SECOND * 8) / 1_000)}kbit`;
  const tbf = ["tbf", "rate", rate, "burst", String(BURST_BYTES), "limit", String(QUEUE_BYTES)];
  await namespaces.exec(at, "tc", "qdisc", "add", "dev", device, "root", ...tbf);
}

/** What tcpdump hears of agents at a host. */
class Recording implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), "ctxmesh-lab-pcap-"));
  readonly #child: ChildProcess;
  readonly #onExit = (): void => {
    this[Symbol.dispose]();
  };

  constructor([program, ...args]: readonly [string, ...string[]]) {
    const options = ["-i", "eth0", "-U", "-Z", "root", "-w", this.#file];
    this.#child = spawn(program, [...args, "tcpdump", ...options, `tcp port ${String(PORT)}`], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    process.on("exit", this.#onExit);
  }

  /** Resolves once it listens. */
  async listening(): Promise<void> {
    const { stderr } = this.#child;
    if (stderr === null) throw new Error("tcpdump did not start");
    let text = "";
    stderr.setEncoding("utf8").on("data", (more: string) => (text += more));
    const heard = (): boolean => {
      if (this.#child.exitCode !== null) throw new Error(`tcpdump: ${text.trim()}`);
      return text.includes("listening on");
    };
    await waitFor(heard, { timeoutMs: RECORDED_MS, what: "tcpdump to listen" });
  }

  /** The first whole handshake with a host of another LAN. */
  async handshake(self: Host): Promise<RecordedHandshake> {
    let found: RecordedHandshake | undefined;
    const own = self.address.replace(/\d+$/u, "");
    const look = (): boolean => {
      for (const one of conversationsIn(readFileSync(this.#file))) {
        if (one.client.startsWith(own) && one.server.startsWith(own)) continue;
        try {
          const handshake = readHandshake(one.fromClient, one.fromServer);
          found = { ...handshake, between: `${one.client} and ${one.server}`, how: "by tcpdump" };
          return true;
        } catch {
          // Not all of it was heard yet.
        }
      }
      return false;
    };
    await waitFor(look, { timeoutMs: RECORDED_MS, what: "a handshake in the recording" });
    if (found === undefined) throw new Error("no handshake");
    return found;
  }

  async stop(): Promise<void> {
    const ended = once(this.#child, "exit");
    if (this.#child.exitCode === null && this.#child.kill("SIGTERM")) await ended;
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    process.off("exit", this.#onExit);
    this.#child.kill("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get #file(): string {
    return join(this.#folder, "agents.pcap");
  }
}

/** What the router's queue towards a LAN says. */
async function thinTraffic(namespaces: Namespaces, device: string): Promise<ThinTraffic> {
  const [program, ...args] = namespaces.within(ROUTER);
  const show = ["tc", "-s", "-j", "qdisc", "show", "dev", device];
  const { stdout } = await run(program, [...args, ...show]);
  const [queue] = JSON.parse(stdout) as { readonly bytes: number; readonly backlog: number }[];
  return { bytes: queue?.bytes ?? 0, queuedBytes: queue?.backlog ?? 0 };
}

/** Builds it; the agents are not started. */
export async function createNamespaceWorld(): Promise<World> {
  await using building = new AsyncDisposableStack();
  const namespaces = building.use(new Namespaces());
  const hosts = await buildLans(namespaces, [LAN_AGENTS, LAN_AGENTS]);
  await shape(namespaces, ROUTER, "lan1");
  await shape(namespaces, ROUTER, "lan2");
  const listener = hosts.at(-1);
  const [first] = hosts;
  if (listener === undefined || first === undefined) throw new Error("no hosts");
  const recording = new Recording(namespaces.within(listener.name));
  building.defer(async () => recording.stop());
  await recording.listening();
  const known = `/ip4/${first.address}/tcp/${String(PORT)}`;
  const mesh = building.use(
    await prepareProcesses(
      hosts.map((host) => ({
        within: namespaces.within(host.name),
        listen: [`/ip4/0.0.0.0/tcp/${String(PORT)}`],
        peers: host === first ? [] : [known],
      })),
    ),
  );
  const built = building.move();
  return {
    description:
      "six network namespaces in two LANs, a router between them that lets 256 kbit/s pass (tc tbf) and parts them (nft)",
    mesh,
    part: async () => part(namespaces, 1, 2, "both"),
    heal: async () => heal(namespaces),
    thin: async () => [
      await thinTraffic(namespaces, "lan1"),
      await thinTraffic(namespaces, "lan2"),
    ],
    handshake: async () => recording.handshake(listener),
    [Symbol.asyncDispose]: async () => built.disposeAsync(),
  };
}
