// SPDX-License-Identifier: Apache-2.0
/** The leaf in C beside what signing and syncing a batch takes by itself: facts that it takes over its socket and over the link, and its memory. */
import { spawn, spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import {
  closeSync,
  fdatasyncSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { encodeBatch, encodeBody, encodeHeader, headerSigningInput } from "@ctxmesh/codec";
import { createDeviceSigner, createDeviceVerifier, sha256 } from "@ctxmesh/crypto";
import { encodeFrame } from "@ctxmesh/facts";
import {
  fromHex,
  hlcFromMs,
  parseDeviceKey,
  parseDocumentName,
  parseHeaderHash,
  parseIncarnationId,
  parseSpaceId,
  toHex,
} from "@ctxmesh/model";
import type { Channel, HeaderHash, Hlc } from "@ctxmesh/model";
import { systemRandom } from "@ctxmesh/service";
import { decodeMessage, encodeAnswer, encodeMessage } from "@ctxmesh/sync";
import { silentLogger } from "@ctxmesh/testing";
import { createLinkServer, leafPsk } from "@ctxmesh/transport-tcp";
import { aimed } from "./figure.ts";
import type { Bench, BenchOptions, Figure, Report } from "./figure.ts";
import { benchFolder } from "./files.ts";

const KEYS = 20_000;
const BURST = 100;
/** Facts per second that are sent at a steady pace. */
const PACE = 10_000;
const PACE_TARGET = 9_900;
const BURSTS_TARGET = 100_000;
const LOAD_TARGET_MS = 50;
const RSS_TARGET_MB = 15;
/** Bursts whose answers are awaited at a time: what came meanwhile is one batch and one sync. */
const AHEAD = 32;
const SPACE = parseSpaceId("5a".repeat(32));
const DOC = parseDocumentName("line-2/press-7");
const KIB = 1_024;
const MB = 1_000_000;

/** The running program. */
class Leaf implements AsyncDisposable {
  readonly dir: string;
  readonly device: string;
  readonly #binary: string;
  #child: ChildProcess | undefined;

  constructor(binary: string, dir: string) {
    this.#binary = binary;
    this.dir = dir;
    this.device = spawnSync(binary, ["init", dir], { encoding: "utf8" }).stdout.trim();
    writeFileSync(join(dir, "leaf.conf"), `space ${SPACE}\n`);
  }

  /** Starts it; milliseconds until it listens, the process's own start included. */
  async start(): Promise<number> {
    const from = performance.now();
    const child = spawn(this.#binary, ["run", this.dir], { stdio: ["ignore", "ignore", "pipe"] });
    this.#child = child;
    let said = "";
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said += text;
      if (said.includes("ready")) resolve(performance.now() - from);
    });
    child.on("exit", () => reject(new Error(`the leaf has ended: ${said}`)));
    return promise;
  }

  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined) return;
    const { promise, resolve } = Promise.withResolvers<undefined>();
    child.once("exit", () => resolve(undefined));
    child.kill("SIGTERM");
    await promise;
  }

  /** The most memory that it has had, in megabytes. */
  peakRssMb(): number {
    const status = readFileSync(`/proc/${String(this.#child?.pid ?? "self")}/status`, "utf8");
    return (Number(/VmHWM:\s+(\d+)/u.exec(status)?.[1] ?? 0) * KIB) / MB;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Sends lines and counts answers; a line that is refused ends it. */
class Client implements Disposable {
  readonly #socket: Socket;
  answers = 0;
  problem: string | undefined;
  #next = 0;

  constructor(path: string) {
    this.#socket = connect(path);
    this.#socket.setEncoding("utf8").on("data", (text: string) => {
      for (const char of text) if (char === "\n") this.answers++;
      if (text.includes("error")) this.problem ??= text.slice(0, 200);
    });
  }

  /** One burst of facts, of keys in turn. */
  burst(): void {
    let text = "";
    for (let i = 0; i < BURST; i++) {
      const n = this.#next++;
      text += `put ${DOC} machine-${String(n % KEYS)} ${String(n % 1_000)}.5\n`;
    }
    this.#socket.write(text);
  }

  async answered(count: number): Promise<void> {
    while (this.answers < count) {
      if (this.problem !== undefined) throw new Error(this.problem);
      await sleep(1);
    }
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

/** Bursts at a steady pace; facts per second that were acknowledged. */
async function steadily(client: Client, seconds: number, signal: AbortSignal): Promise<number> {
  const from = performance.now();
  const already = client.answers;
  let sent = 0;
  while (performance.now() - from < seconds * 1_000) {
    signal.throwIfAborted();
    const due = Math.floor(((performance.now() - from) / 1_000) * PACE);
    for (; sent + BURST <= due; sent += BURST) client.burst();
    await sleep(2);
  }
  await client.answered(already + sent);
  return sent / ((performance.now() - from) / 1_000);
}

/** Bursts as fast as they are acknowledged, some ahead. */
async function inBursts(client: Client, seconds: number, signal: AbortSignal): Promise<number> {
  const from = performance.now();
  const already = client.answers;
  let sent = 0;
  while (performance.now() - from < seconds * 1_000) {
    signal.throwIfAborted();
    for (; sent - (client.answers - already) < AHEAD * BURST; sent += BURST) client.burst();
    await sleep(0);
  }
  await client.answered(already + sent);
  return sent / ((performance.now() - from) / 1_000);
}

/** Signs a header and syncs a record, both as long as those of a burst, one after another: facts per second. */
function rawRate(path: string, seconds: number): number {
  const signer = createDeviceSigner(new Uint8Array(32).fill(1));
  const fd = openSync(path, "w");
  const from = performance.now();
  let batches = 0;
  for (; performance.now() - from < seconds * 1_000; batches++) {
    signer.sign(new Uint8Array(300));
    writeSync(fd, new Uint8Array(1_200));
    fdatasyncSync(fd);
  }
  closeSync(fd);
  return (batches * BURST) / ((performance.now() - from) / 1_000);
}

/** Batches of a burst each, of another device. */
function batchesOf(count: number): readonly Uint8Array[] {
  const signer = createDeviceSigner(new Uint8Array(32).fill(2));
  const chain = {
    space: SPACE,
    replica: parseDeviceKey(toHex(signer.publicKey)),
    incarnation: parseIncarnationId("01".repeat(16)),
  };
  const start = hlcFromMs(Date.now());
  let prev: HeaderHash | null = null;
  return Array.from({ length: count }, (_, n) => {
    const [from, to] = [n * BURST, (n + 1) * BURST];
    const records = Array.from({ length: BURST }, (__, i) => ({
      key: `machine-${String((from + i) % KEYS)}`,
      seq: from + i + 1,
      hlc: (start + from + i) as Hlc,
      valueJson: `${String((from + i) % 1_000)}.5`,
    }));
    const body = encodeBody(encodeFrame({ from, to, records }));
    const facts = { doc: DOC, gen: 0, kind: "facts" as const, from, to, keyId: null };
    const headerBytes = encodeHeader({
      ...chain,
      seq: n + 1,
      prev,
      hlc: (start + to - 1) as Hlc,
      epoch: 0,
      deps: [],
      client: 0,
      sections: [{ ...facts, bodyHash: sha256(body), bodyLen: body.length }],
    });
    prev = parseHeaderHash(toHex(sha256(headerBytes)));
    return encodeBatch({
      headerBytes,
      signature: signer.sign(headerSigningInput(headerBytes)),
      bodies: [body],
    });
  });
}

const NOTHING = new Uint8Array(16);
const ASKS = encodeMessage({ type: "digest", digest: NOTHING, records: NOTHING, asks: true });

/** A parent on its listener: the leaf's settings, and the channel once it is there. */
async function listen(
  leaf: Leaf,
): Promise<{ readonly met: Promise<Channel>; readonly stop: () => Promise<void> }> {
  const secret = systemRandom.bytes(32);
  const device = createDeviceSigner(new Uint8Array(32).fill(3));
  const { promise: met, resolve: meet } = Promise.withResolvers<Channel>();
  const server = createLinkServer({
    host: "127.0.0.1",
    port: 0,
    secret,
    device,
    space: SPACE,
    verifier: createDeviceVerifier(),
    random: systemRandom,
    logger: silentLogger,
    isMember: () => true,
  });
  await server.start(meet);
  const settings = [
    `space ${SPACE}`,
    `device ${toHex(device.publicKey)}`,
    `address ${new URL(server.addresses()[0] ?? "").host}`,
    `psk ${toHex(leafPsk(secret, fromHex(leaf.device)))}`,
  ];
  writeFileSync(join(leaf.dir, "leaf.conf"), `${settings.join("\n")}\n`);
  return { met, stop: async () => server.stop() };
}

/** Greets, answers with a roster of one member, pushes all batches, and asks for heads until the last one is on the disk; milliseconds of the two last. */
async function feed(channel: Channel, all: readonly Uint8Array[]): Promise<number> {
  const member = parseDeviceKey(toHex(createDeviceSigner(new Uint8Array(32).fill(2)).publicKey));
  const grants = [{ role: "write" as const, notBefore: 0, notAfter: 2 ** 48 }];
  const devices = [{ device: member, revoked: false, grants }];
  let from = 0;
  const push = async (): Promise<void> => {
    for (const batch of all) await channel.send(encodeMessage({ type: "push", batch }));
    await channel.send(ASKS);
  };
  await channel.send(
    encodeMessage({ type: "hello", space: SPACE, digest: NOTHING, records: NOTHING }),
  );
  for await (const bytes of channel.receive()) {
    const message = decodeMessage(bytes);
    if (message.type === "ask") {
      const answer = encodeAnswer({ kind: "roster", records: NOTHING, devices, limits: [] });
      await channel.send(encodeMessage({ type: "answer", id: message.id, answer }));
      from = performance.now();
      void push();
    }
    if (message.type !== "ranges" || from === 0) continue;
    const heads = message.ranges.flatMap((range) => ("heads" in range ? range.heads : []));
    const isThere = heads.some(({ replica, seq }) => replica === member && seq === all.length);
    if (isThere) return performance.now() - from;
    await channel.send(ASKS);
  }
  throw new Error("the leaf has gone");
}

/** A parent that pushes; facts per second from the first push until the leaf has the last one on its disk. */
async function pushed(leaf: Leaf, count: number): Promise<number> {
  const { met, stop } = await listen(leaf);
  const all = batchesOf(count);
  await leaf.start();
  const channel = await met;
  const ms = await feed(channel, all);
  await channel.close();
  await stop();
  return (count * BURST) / (ms / 1_000);
}

const rate = (figure: string, value: number, raw: number, target: number): Figure =>
  aimed(`leaf ${figure}`, { value, baseline: raw }, "facts/s", "higher", target);
const memory = (when: string, leaf: Leaf): Figure =>
  aimed(
    `leaf peak RSS with 20,000 facts, ${when}`,
    { value: leaf.peakRssMb(), baseline: null },
    "MB",
    "lower",
    RSS_TARGET_MB,
  );

/** Over the local socket. */
async function measureSocket(
  leaf: Leaf,
  raw: number,
  { quick, signal, progress }: BenchOptions,
): Promise<Figure[]> {
  await leaf.start();
  using client = new Client(join(leaf.dir, "leaf.sock"));
  const seconds = quick ? 10 : 60;
  progress(`${String(PACE)} facts/s for ${String(seconds)} s`);
  const pace = await steadily(client, seconds, signal);
  const atPace = memory("at a steady 10,000/s", leaf);
  progress("bursts");
  const bursts = await inBursts(client, quick ? 3 : 10, signal);
  const afterBursts = memory("after bursts", leaf);
  await leaf.stop();
  return [
    rate("facts at a steady 10,000/s, signed and durable", pace, raw, PACE_TARGET),
    atPace,
    rate("facts in bursts of 100, signed and durable", bursts, raw, BURSTS_TARGET),
    afterBursts,
  ];
}

/** The median of five starts with 20,000 facts in the log. */
async function measureStart(leaf: Leaf): Promise<Figure> {
  await leaf.start();
  using client = new Client(join(leaf.dir, "leaf.sock"));
  for (let sent = BURST; sent <= KEYS; sent += BURST) {
    client.burst();
    await client.answered(sent);
  }
  await leaf.stop();
  const loads: number[] = [];
  for (let i = 0; i < 5; i++) {
    loads.push(await leaf.start());
    await leaf.stop();
  }
  const value = loads.toSorted((a, b) => a - b)[2] ?? 0;
  return aimed(
    "leaf start with 20,000 facts in its log",
    { value, baseline: null },
    "ms",
    "lower",
    LOAD_TARGET_MS,
  );
}

async function run(options: BenchOptions): Promise<Report> {
  const { quick, progress } = options;
  progress("building the leaf");
  await using folder = await benchFolder();
  const at = (name: string): string => join(folder.path, name);
  const built = spawnSync("scripts/build-leaf", ["--out", at("build")], { encoding: "utf8" });
  if (built.status !== 0) return { figures: [], notes: [`not measured: ${built.stderr.trim()}`] };
  const binary = join(at("build"), "ctxmesh-leaf");
  progress("signing and syncing alone");
  const raw = rawRate(at("raw"), 2);
  await using sender = new Leaf(binary, at("sender"));
  const overSocket = await measureSocket(sender, raw, options);
  progress("over the link");
  await using receiver = new Leaf(binary, at("receiver"));
  const received = await pushed(receiver, quick ? 500 : 2_000);
  const overLink = [
    rate("facts over the link in batches of 100, verified and durable", received, raw, PACE),
    memory("over the link", receiver),
  ];
  await receiver.stop();
  progress("starting");
  await using small = new Leaf(binary, at("small"));
  return {
    figures: [...overSocket, ...overLink, await measureStart(small)],
    notes: [
      "baseline: one Ed25519 signature and one fdatasync of 1,200 bytes for each 100 facts, one after another, in Node.",
    ],
  };
}

/** The benchmark of the leaf. */
export const leafBench: Bench = {
  summary: "the leaf in C: facts over its socket and over the link, memory, start",
  run,
};
