// SPDX-License-Identifier: Apache-2.0
/** The leaf in C as a process: built once, started, asked over its socket, killed. */
import { spawn, execFileSync, spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { waitFor } from "@ctxmesh/testing";

const MISSING_EXIT = 66;
const BOUND_MS = 20_000;

/** A build of the leaf, or why there is none. */
export interface Build {
  readonly binary: string;
  readonly folder: string;
  /** What the machine lacks, as the script says it; undefined where all is there. */
  readonly missing?: string;
}

const PARTS = "wasm/leaf";

/** What a build is made of, as a name for it: test files share one, whichever comes first makes it. */
function nameOf(options: readonly string[]): string {
  const hash = createHash("sha256").update(options.join(" "));
  const parts = readdirSync(PARTS).filter((name) => /\.[ch]$/u.test(name));
  const others = [
    "scripts/build-leaf",
    "packages/facts/src/wasm-bytes.ts",
    "packages/codec/src/dictionary.ts",
  ];
  for (const file of [...parts.map((name) => join(PARTS, name)), ...others])
    hash.update(readFileSync(file));
  return hash.digest("hex").slice(0, 16);
}

/** The leaf as `scripts/build-leaf` makes it; with sanitizers where `CTXMESH_LEAF_SANITIZE` is 1. */
export function buildLeaf(): Build {
  const options = process.env["CTXMESH_LEAF_SANITIZE"] === "1" ? ["--sanitize"] : [];
  const cache = "node_modules/.cache";
  const folder = join(cache, `leaf-${nameOf(options)}`);
  const binary = join(folder, "ctxmesh-leaf");
  if (existsSync(binary)) return { binary, folder };
  mkdirSync(cache, { recursive: true });
  const own = mkdtempSync(join(cache, "leaf-"));
  const built = spawnSync("scripts/build-leaf", ["--out", own, ...options], { encoding: "utf8" });
  try {
    if (built.status === MISSING_EXIT) return { binary, folder, missing: built.stderr };
    if (built.status !== 0) throw new Error(`scripts/build-leaf: ${built.stderr}`);
    // Fails where another one was there first, which is as good.
    if (!existsSync(binary)) renameSync(own, folder);
  } catch (error) {
    if (!existsSync(binary)) throw error;
  } finally {
    rmSync(own, { recursive: true, force: true });
  }
  return { binary, folder };
}

/** What the process needs to know of its parent. */
export interface ParentSettings {
  readonly device: string;
  readonly address: string;
  readonly psk: string;
}

/** One client of the local socket. */
export class LeafClient {
  readonly #socket: Socket;
  readonly #lines: string[] = [];
  #rest = "";
  #isOver = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => {
      const lines = (this.#rest + text).split("\n");
      this.#rest = lines.pop() ?? "";
      this.#lines.push(...lines);
    });
    socket.on("close", () => (this.#isOver = true));
    socket.on("error", () => (this.#isOver = true));
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  send(text: string | Uint8Array): void {
    this.#socket.write(text);
  }

  /** Reads no more. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** The next lines, so many of them. */
  async lines(count: number): Promise<string[]> {
    await waitFor(() => this.#lines.length >= count || this.#isOver, {
      timeoutMs: BOUND_MS,
      what: `${String(count)} lines of the leaf`,
    });
    return this.#lines.splice(0, count);
  }

  /** Asks with a line each; the answers. */
  async ask(...questions: readonly string[]): Promise<string[]> {
    this.send(questions.map((line) => `${line}\n`).join(""));
    return this.lines(questions.length);
  }

  close(): void {
    this.#socket.destroy();
  }
}

/** A leaf of a test: its directory, and its process while it runs. */
export class Leaf implements AsyncDisposable {
  readonly dir: string;
  readonly device: string;
  /** What it said on stderr, of all its lives. */
  said = "";
  readonly #binary: string;
  #process: ChildProcess | undefined;
  #clients: LeafClient[] = [];

  constructor(binary: string, folder?: string) {
    this.#binary = binary;
    this.dir = folder ?? mkdtempSync(join(tmpdir(), "ctxmesh-leaf-"));
    this.device = execFileSync(binary, ["init", this.dir], { encoding: "utf8" }).trim();
  }

  /** Writes its settings. */
  configure(space: string, parent?: ParentSettings, more = ""): void {
    const lines = [`space ${space}`];
    if (parent !== undefined) {
      lines.push(`device ${parent.device}`, `address ${parent.address}`, `psk ${parent.psk}`);
    }
    writeFileSync(join(this.dir, "leaf.conf"), `${lines.join("\n")}\n${more}`);
  }

  /** Starts it, and waits until it listens. */
  async start(): Promise<void> {
    const before = this.said.length;
    const child = spawn(this.#binary, ["run", this.dir], { stdio: ["ignore", "ignore", "pipe"] });
    this.#process = child;
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (this.said += text));
    await waitFor(() => this.said.includes("ready", before) || child.exitCode !== null, {
      timeoutMs: BOUND_MS,
      what: "the leaf to listen",
    });
    if (child.exitCode !== null) throw new Error(`the leaf has ended: ${this.said.slice(before)}`);
  }

  /** Ends it with a signal; its exit code, null after SIGKILL. */
  async end(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<number | null> {
    const child = this.#process;
    this.#process = undefined;
    for (const client of this.#clients.splice(0)) client.close();
    if (child === undefined) return null;
    child.kill(signal);
    await waitFor(() => child.exitCode !== null || child.signalCode !== null, {
      timeoutMs: BOUND_MS,
      what: "the leaf to end",
    });
    if (signal === "SIGTERM" && child.exitCode !== 0)
      throw new Error(`the leaf has ended badly: ${this.said}`);
    return child.exitCode;
  }

  /** Reads the log as a process of its own. */
  check(): { readonly status: number | null; readonly stdout: string; readonly stderr: string } {
    return spawnSync(this.#binary, ["check", this.dir], { encoding: "utf8" });
  }

  async client(): Promise<LeafClient> {
    const socket = connect(join(this.dir, "leaf.sock"));
    const client = new LeafClient(socket);
    this.#clients.push(client);
    await waitFor(() => !socket.connecting, { timeoutMs: BOUND_MS, what: "a connection" });
    return client;
  }

  /** Asks over a connection of its own. */
  async ask(...questions: readonly string[]): Promise<string[]> {
    const client = await this.client();
    const answers = await client.ask(...questions);
    client.close();
    return answers;
  }

  /** Its frontier digest, hex. */
  async frontier(): Promise<string> {
    const [text = "{}"] = await this.ask("digest");
    return (JSON.parse(text) as { readonly frontier: string }).frontier;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end("SIGKILL");
    if (/Sanitizer|runtime error/u.test(this.said)) throw new Error(this.said);
    rmSync(this.dir, { recursive: true, force: true });
  }
}
