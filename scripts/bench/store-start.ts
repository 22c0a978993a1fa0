// SPDX-License-Identifier: Apache-2.0
/** How long an agent with many facts takes from the start of its process to the first read over its local API. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createDeviceSigner } from "@ctxmesh/crypto";
import { encodeSpaceFile } from "@ctxmesh/membership";
import { aimed, measured } from "./figure.ts";
import type { BenchOptions, Report } from "./figure.ts";
import { installCommand } from "./installed.ts";
import { foundSpace } from "./space.ts";
import { median } from "./stats.ts";
import { RowSource, openAgent, openRaw } from "./store-rows.ts";
import type { Target } from "./store-rows.ts";

const FACTS = 50_000;
const DOCS = 10;
const BATCH = 100;
/** From the start of the process. */
const TARGET_MS = 300;
const POLL_MS = 1;
const GIVE_UP_MS = 30_000;
const LEVEL_SERVER = fileURLToPath(new URL("workers/level-server.mjs", import.meta.url));

/** A daemon that can be started again and again. */
interface Program {
  readonly args: readonly string[];
  readonly socket: string;
  /** What is asked first, and the status of the answer. */
  readonly path: string;
  readonly status: number;
}

/** The status of an answer over a Unix socket; undefined while nobody serves it. */
async function statusOf({ socket, path }: Program): Promise<number | undefined> {
  const { promise, resolve } = Promise.withResolvers<number | undefined>();
  request({ socketPath: socket, path, agent: false }, (response) => {
    response.resume().on("end", () => {
      resolve(response.statusCode);
    });
  })
    .on("error", () => {
      resolve(undefined);
    })
    .end();
  return promise;
}

/** Milliseconds from the start of the program to the answer; it is stopped again. */
async function startMs(program: Program, cache: string, signal: AbortSignal): Promise<number> {
  signal.throwIfAborted();
  if ((await statusOf(program)) !== undefined) throw new Error(`${program.socket} is served`);
  const started = performance.now();
  const child = spawn(process.execPath, program.args, {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, XDG_CACHE_HOME: cache },
    signal,
    killSignal: "SIGKILL",
  });
  const exit = once(child, "exit");
  // Rejects on abort, which ends the loop below.
  exit.catch(() => undefined);
  try {
    for (;;) {
      const status = await statusOf(program);
      const ms = performance.now() - started;
      if (status === program.status) return ms;
      if (status !== undefined) throw new Error(`the first read was answered ${String(status)}`);
      if (child.exitCode !== null || child.signalCode !== null || ms > GIVE_UP_MS) {
        throw new Error(`${program.args[0] ?? ""} did not serve ${program.socket}`);
      }
      await sleep(POLL_MS);
    }
  } finally {
    child.kill("SIGTERM");
    await exit;
  }
}

async function fill(target: Target, source: RowSource, signal: AbortSignal): Promise<void> {
  for (let i = 0; i < FACTS; i += BATCH) {
    signal.throwIfAborted();
    const { doc, rows } = source.take(BATCH);
    await target.put(doc, rows);
  }
}

/** Rows of {@link DOCS} documents that are {@link FACTS} different keys. */
const rows = (): RowSource => new RowSource(DOCS, FACTS);
const FIRST = `doc=${encodeURIComponent("bench/store-0")}&key=${encodeURIComponent("press-7/sensor-7")}`;

/** A device key file (packages/crypto/src/keys.ts). */
function deviceKey(seed: Uint8Array): string {
  const [x, d] = [createDeviceSigner(seed).publicKey, seed].map((bytes) =>
    Buffer.from(bytes).toString("base64url"),
  );
  return JSON.stringify({ kty: "OKP", crv: "Ed25519", x, d });
}

/** An agent in `folder`, with {@link FACTS} facts or none. */
async function prepareAgent(
  command: string,
  folder: string,
  isFull: boolean,
  signal: AbortSignal,
): Promise<Program> {
  await mkdir(folder, { recursive: true });
  const space = foundSpace(1);
  await writeFile(join(folder, "space.json"), encodeSpaceFile(space.space));
  const seed = space.seeds[0] ?? new Uint8Array();
  await writeFile(join(folder, "device.jwk"), deviceKey(seed), { mode: 0o600 });
  const config = `space: space.json
key: device.jwk
store: store
socket: s.sock
mesh:
  listen: [/ip4/127.0.0.1/tcp/0]
log:
  level: warn
`;
  await writeFile(join(folder, "agent.yaml"), config);
  {
    await using agent = await openAgent(space, join(folder, "store"), join(folder, "store.key"));
    if (isFull) await fill(agent, rows(), signal);
  }
  const args = [command, "agent", join(folder, "agent.yaml")];
  return {
    args,
    socket: join(folder, "s.sock"),
    path: `/v1/fact?${FIRST}`,
    status: isFull ? 200 : 404,
  };
}

async function prepareLevel(folder: string, signal: AbortSignal): Promise<Program> {
  {
    await using database = await openRaw(folder, false);
    await fill(database, rows(), signal);
  }
  const socket = `${folder}.sock`;
  const path = `/?key=${encodeURIComponent("bench/store-0/press-7/sensor-7")}`;
  return { args: [LEVEL_SERVER, folder, socket], socket, path, status: 200 };
}

/** Part two of `store`. Writes into `folder`. */
export async function measureStart(
  folder: string,
  { quick, signal, progress }: BenchOptions,
): Promise<Report> {
  const rounds = quick ? 7 : 15;
  progress("bundling, and filling stores");
  const command = await installCommand(folder);
  const programs = {
    full: await prepareAgent(command, join(folder, "full"), true, signal),
    empty: await prepareAgent(command, join(folder, "empty"), false, signal),
    level: await prepareLevel(join(folder, "level"), signal),
  };
  const cache = join(folder, "cache");
  const times = { full: [] as number[], empty: [] as number[], level: [] as number[] };
  // The first start compiles, and keeps what it has compiled.
  const first = await startMs(programs.full, cache, signal);
  for (let round = 0; round <= rounds; round++) {
    progress(`cold start, round ${String(round)} of ${String(rounds)}`);
    for (const name of ["full", "empty", "level"] as const) {
      const ms = await startMs(programs[name], cache, signal);
      if (round > 0) times[name].push(ms);
    }
  }
  const [full, empty, level] = [median(times.full), median(times.empty), median(times.level)];
  const facts = FACTS.toLocaleString("en-US");
  return {
    figures: [
      aimed(
        `process start to first read, ${facts} facts, to level behind a socket`,
        { value: full, baseline: level },
        "ms",
        "lower",
        TARGET_MS,
      ),
      measured(
        `process start to first read, ${facts} facts, to none`,
        { value: full, baseline: empty },
        "ms",
        "lower",
      ),
    ],
    notes: [
      `A start: ctxmesh agent, bundled, encrypted store of ${facts} facts that was closed in order, page cache warm, until GET /v1/fact is answered over the Unix socket; medians of ${String(rounds)}. The very first one, without compiled code: ${first.toFixed(0)} ms.`,
      "Its baseline: the same rows in level, opened by a Node.js process of twenty lines that answers over a Unix socket; nothing is checked, decrypted or signed.",
    ],
  };
}
