// SPDX-License-Identifier: Apache-2.0
/** A PostgreSQL server of a test's own, in a temporary folder, on a free port of the loopback. */
import { execFile, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, globSync, mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { waitFor } from "@ctxmesh/testing";
import { Client } from "pg";

const run = promisify(execFile);
const START_MS = 20_000;
/** The server does not run as root. */
const NOBODY = 65_534;

/** The folder of the newest server's programs; undefined where there is none. */
export function serverPrograms(): string | undefined {
  const folders = globSync("/usr/lib/postgresql/*/bin").toSorted((a, b) =>
    a.localeCompare(b, "en", { numeric: true }),
  );
  return folders.findLast((folder) => existsSync(join(folder, "initdb")));
}

const asWhom = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** A server that runs, or was stopped and can be started again on the same data. */
export class PostgresServer implements AsyncDisposable {
  /** For the database that all tests share. */
  readonly url: string;
  readonly #programs: string;
  readonly #folder: string;
  readonly #port: number;
  #child: ChildProcess | undefined;

  private constructor(programs: string, folder: string, port: number) {
    this.#programs = programs;
    this.#folder = folder;
    this.#port = port;
    this.url = `postgres://tester:secret-password@127.0.0.1:${String(port)}/postgres`;
  }

  /** Makes an empty one and starts it; it syncs to disk before it acknowledges, as by default. */
  static async start(programs: string): Promise<PostgresServer> {
    const folder = mkdtempSync(join(tmpdir(), "ctxmesh-pg-"));
    if (asWhom.uid !== undefined) chownSync(folder, asWhom.uid, asWhom.gid);
    const server = new PostgresServer(programs, folder, await freePort());
    const options = ["-D", join(folder, "data"), "-U", "tester", "--auth=trust", "-E", "UTF8"];
    await run(join(programs, "initdb"), [...options, "--no-locale"], { ...asWhom, cwd: folder });
    await server.resume();
    return server;
  }

  /** The server's main process. */
  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Starts it again; resolves once it takes connections. While processes of one that was killed are not gone yet it refuses to start, and is asked again. */
  async resume(): Promise<void> {
    await waitFor(
      async () => {
        if (this.#child === undefined || this.#child.exitCode !== null) this.#spawn();
        return this.#answers();
      },
      { timeoutMs: START_MS, what: "PostgreSQL" },
    );
  }

  #spawn(): void {
    const options = [
      "-D",
      join(this.#folder, "data"),
      "-p",
      String(this.#port),
      "-k",
      this.#folder,
    ];
    const settings = ["-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=16MB"];
    this.#child = spawn(join(this.#programs, "postgres"), [...options, ...settings], {
      ...asWhom,
      cwd: this.#folder,
      stdio: "ignore",
    });
  }

  async #answers(): Promise<boolean> {
    const client = new Client({ connectionString: this.url, connectionTimeoutMillis: 1_000 });
    client.on("error", () => undefined);
    try {
      await client.connect();
      await client.query("SELECT 1");
      return true;
    } catch {
      return false;
    } finally {
      await client.end().catch(() => undefined);
    }
  }

  /** Runs statements as the owner of everything. */
  async sql(text: string): Promise<readonly Record<string, unknown>[]> {
    const client = new Client({ connectionString: this.url });
    await client.connect();
    try {
      return (await client.query<Record<string, unknown>>(text)).rows;
    } finally {
      await client.end();
    }
  }

  /** Ends it at once: with SIGKILL as if the machine had lost it, its other processes notice and end, too. */
  async stop(signal: "SIGKILL" | "SIGINT" = "SIGINT"): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
