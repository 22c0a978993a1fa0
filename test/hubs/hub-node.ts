// SPDX-License-Identifier: Apache-2.0
/** Hubs on one PostgreSQL, and agents with two of the hubs each, as processes: their files, their starts and their ends. */
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { connect } from "@ctxmesh/sdk";
import type { ContextClient } from "@ctxmesh/sdk";
import { run, startDaemon } from "../e2e/processes.ts";
import type { Daemon } from "../e2e/processes.ts";

/** Hubs, and as many agents. */
export const NODES = 3;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** A hub's or an agent's process, which may be away, and a client of it. */
export class HubNode implements AsyncDisposable {
  readonly client: ContextClient;
  readonly name: string;
  readonly #dir: string;
  readonly #kind: "hub" | "agent";
  readonly #config: string;
  #daemon: Daemon | undefined;

  constructor(dir: string, kind: "hub" | "agent", name: string) {
    this.name = name;
    this.#dir = dir;
    this.#kind = kind;
    this.#config = `${name}.yaml`;
    this.client = connect({ socketPath: join(dir, name, `${kind}.sock`) });
  }

  async start(): Promise<void> {
    this.#daemon = await startDaemon(this.#dir, this.#kind, this.#config);
  }

  /** Stops it where it is, or lets it go on. */
  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    this.#daemon?.signal(signal);
  }

  async kill(): Promise<void> {
    await this.#daemon?.end("SIGKILL");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close();
    await this.#daemon?.[Symbol.asyncDispose]();
  }
}

/** The names of the hubs, or of the agents; so are their folders called, and their configurations. */
export const namesOf = (kind: "hub" | "agent"): readonly string[] =>
  Array.from({ length: NODES }, (_, i) =>
    kind === "hub" && i === 0 ? "hub" : `${kind}-${String(i + 1)}`,
  );

/** Two more hubs with keys and grants of their own; each agent has two of the hubs, and no other agents. */
export async function writeConfigs(dir: string, url: string): Promise<void> {
  const template = await readFile(join(dir, "hub.yaml"), "utf8");
  const engine = `engine:\n  url: ${url}\n`;
  const ports: number[] = [];
  for (const name of namesOf("hub")) {
    const port = name === "hub" ? Number(/port: (\d+)/u.exec(template)?.[1]) : await freePort();
    ports.push(port);
    if (name !== "hub") await addHub(dir, name);
    const config = template
      .replaceAll(/hub\/(device\.jwk|store|hub\.sock)/gu, `${name}/$1`)
      .replace(/port: \d+/u, `port: ${String(port)}`);
    await writeFile(join(dir, `${name}.yaml`), config + engine);
  }
  for (const [i, name] of namesOf("agent").entries()) {
    const path = join(dir, `${name}.yaml`);
    const urls = [0, 1].map((step) => `  - ws://127.0.0.1:${String(ports[(i + step) % NODES])}\n`);
    const config = (await readFile(path, "utf8"))
      .replace(/^mesh:\n(?: .*\n)*/mu, "mesh:\n  listen: []\n  peers: []\n")
      .replace(/^hubs:\n(?: .*\n)*/mu, `hubs:\n${urls.join("")}`);
    await writeFile(path, config);
  }
}

async function addHub(dir: string, name: string): Promise<void> {
  await mkdir(join(dir, name), { recursive: true });
  const key = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
  await writeFile(join(dir, name, "device.jwk"), JSON.stringify(key), { mode: 0o600 });
  const device = Buffer.from(key.x ?? "", "base64url").toString("hex");
  const grant = ["space", "grant", device, "--service", "hub", "--role", "write"];
  const { exit, stderr } = await run(
    dir,
    ...grant,
    "--space",
    "space.json",
    "--key",
    "creator/creator.jwk",
  );
  if (exit !== 0) throw new Error(stderr);
}
