// SPDX-License-Identifier: Apache-2.0
/** A space with the devices of the torture, and the processes that write in it. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { createDeviceVerifier, generateSeed } from "@ctxmesh/crypto";
import { encodeSpaceFile, parseSpaceFile } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { fromHex, toHex } from "@ctxmesh/model";
import { systemRandom } from "@ctxmesh/service";
import { foundSpace } from "../bench/space.ts";
import type { Stream } from "./workload.ts";
import type { WriterPlan } from "./writer.ts";

const KEY = "store.key";
const WRITER = join(import.meta.dirname, "writer.ts");

/** A space, and its two devices. */
export interface World {
  /** Holds the space file and the keys. */
  readonly folder: string;
  readonly spacePath: string;
  readonly space: Space;
  /** The file of the key that protects the stores. */
  readonly keyPath: string;
  /** Of the device keys, hex. */
  readonly deviceSeeds: Readonly<Record<Stream, string>>;
}

/** The bytes of the own device's seed. */
export const ownSeed = ({ deviceSeeds }: World): Uint8Array => fromHex(deviceSeeds.own);

/** Founds a space, and keeps it in a new folder. */
export function createWorld(folder: string): World {
  const { space, seeds } = foundSpace(2);
  const [own = "", other = ""] = seeds.map((seed) => toHex(seed));
  mkdirSync(folder);
  writeFileSync(join(folder, "space.json"), encodeSpaceFile(space));
  writeFileSync(join(folder, "devices.json"), JSON.stringify({ own, other }));
  const key = `${Buffer.from(generateSeed(systemRandom)).toString("base64url")}\n`;
  writeFileSync(join(folder, KEY), key, { mode: 0o600 });
  return openWorld(folder);
}

/** What {@link createWorld} kept. */
export function openWorld(folder: string): World {
  const spacePath = join(folder, "space.json");
  return {
    folder,
    spacePath,
    keyPath: join(folder, KEY),
    space: parseSpaceFile(readFileSync(spacePath, "utf8"), createDeviceVerifier()),
    deviceSeeds: JSON.parse(readFileSync(join(folder, "devices.json"), "utf8")) as Record<
      Stream,
      string
    >,
  };
}

/** A running writer. */
export interface Writer {
  readonly child: ChildProcess;
  /** Whole lines that it has printed. */
  lines(): readonly string[];
  /** Once the store is open. */
  readonly ready: Promise<void>;
  /** The exit code or signal, once it has ended. */
  readonly ended: Promise<number | string>;
}

/** Starts a writer; `under` is the command that it runs under. */
export function startWriter(plan: WriterPlan, under: readonly string[] = []): Writer {
  const [command, ...args] = [
    ...under,
    process.execPath,
    "--conditions=@ctxmesh/source",
    WRITER,
    JSON.stringify(plan),
  ];
  const child = spawn(command, args, {
    stdio: ["ignore", "pipe", "pipe"],
    // File calls of libuv through io_uring would not be seen by strace.
    env: { ...process.env, UV_USE_IO_URING: "0" },
  });
  const printed: string[] = [];
  let errors = "";
  const ready = Promise.withResolvers<void>();
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    printed.push(text);
    ready.resolve();
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
  const ended = new Promise<number | string>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      if (code !== null && code !== 0 && code < 128)
        reject(new Error(`a writer ended with ${String(code)}: ${errors}`));
      else resolve(code ?? signal ?? "");
    });
  });
  return {
    child,
    // The last piece is empty, or a line that the kill cut short.
    lines: () => printed.join("").split("\n").slice(0, -1),
    ready: ready.promise,
    ended,
  };
}

/** What a writer said that it acknowledged. */
export interface Acknowledged {
  /** The last operation of each stream. */
  readonly last: Readonly<Record<Stream, number>>;
  /** Batches in the log at that time. */
  readonly batches: number;
  /** Number of operations. */
  readonly operations: number;
}

/** Adds up the lines of writers. */
export function acknowledgedIn(lines: Iterable<string>): Acknowledged {
  const last = { own: 0, other: 0 };
  let [batches, operations] = [0, 0];
  for (const line of lines) {
    const [, stream, id, count] = /^ack (own|other) (\d+) (\d+)$/u.exec(line) ?? [];
    if (stream === undefined) continue;
    last[stream as Stream] = Math.max(last[stream as Stream], Number(id));
    batches = Math.max(batches, Number(count));
    operations++;
  }
  return { last, batches, operations };
}
