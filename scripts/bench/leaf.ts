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
function batches(count: number): readonly Uint8Array[] {
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

/** A parent that pushes; facts per second from the first push until the leaf says that it has the last one. */
async function pushed(leaf: Leaf, count: number): Promise<number> {
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
  const all = batches(count);
  const member = toHex(createDeviceSigner(new Uint8Array(32).fill(2)).publicKey);
  writeFileSync(
    join(leaf.dir, "leaf.conf"),
    `space ${SPACE}\ndevice ${toHex(device.publicKey)}\naddress ${new URL(server.addresses()[0] ?? "").host}\npsk ${toHex(leafPsk(secret, fromHex(leaf.device)))}\n`,
  );
  await leaf.start();
  const channel = await met;
  const nothing = new Uint8Array(16);
  const { promise: done, resolve: finish } = Promise.withResolvers<number>();
  let from = 0;
  const push = async (): Promise<void> => {
    from = performance.now();
    for (const batch of all) await channel.send(encodeMessage({ type: "push", batch }));
    await channel.send(
      encodeMessage({ type: "digest", digest: nothing, records: nothing, asks: true }),
    );
  };
  const listen = async (): Promise<void> => {
    await channel.send(
      encodeMessage({ type: "hello", space: SPACE, digest: nothing, records: nothing }),
    );
    for await (const bytes of channel.receive()) {
      const message = decodeMessage(bytes);
      if (message.type === "ask") {
        const grants = [{ role: "write" as const, notBefore: 0, notAfter: 2 ** 48 }];
        const devices = [{ device: parseDeviceKey(member), revoked: false, grants }];
        const answer = encodeAnswer({ kind: "roster", records: nothing, devices, limits: [] });
        await channel.send(encodeMessage({ type: "answer", id: message.id, answer }));
        void push();
      }
      const last =
        message.type === "ranges"
          ? message.ranges.flatMap((range) => ("heads" in range ? range.heads : []))
          : [];
      if (last.some(({ replica, seq }) => replica === member && seq === count))
        finish(performance.now() - from);
      // Heads are those on the disk: asked again until the last batch is.
      else if (message.type === "ranges" && from > 0)
        await channel.send(
          encodeMessage({ type: "digest", digest: nothing, records: nothing, asks: true }),
        );
    }
  };
  void listen();
  const ms = await done;
  await channel.close();
  await server.stop();
  return (count * BURST) / (ms / 1_000);
}

async function run({ quick, signal, progress }: BenchOptions): Promise<Report> {
  progress("building the leaf");
  await using folder = await benchFolder("leaf");
  const built = spawnSync("scripts/build-leaf", ["--out", join(folder.path, "build")], {
    encoding: "utf8",
  });
  if (built.status !== 0) return { figures: [], notes: [`not measured: ${built.stderr.trim()}`] };
  const binary = join(folder.path, "build", "ctxmesh-leaf");
  await using leaf = new Leaf(binary, join(folder.path, "sender"));
  const figures: Figure[] = [];
  const seconds = quick ? 10 : 60;
  progress("signing and syncing alone");
  const raw = rawRate(join(folder.path, "raw"), 2);
  await leaf.start();
  using client = new Client(join(leaf.dir, "leaf.sock"));
  progress(`${String(PACE)} facts/s for ${String(seconds)} s`);
  const pace = await steadily(client, seconds, signal);
  figures.push(
    aimed(
      "leaf facts at a steady 10,000/s, signed and durable",
      { value: pace, baseline: raw },
      "facts/s",
      "higher",
      PACE_TARGET,
    ),
  );
  figures.push(
    aimed(
      "leaf peak RSS with 20,000 facts, at a steady 10,000/s",
      { value: leaf.peakRssMb(), baseline: null },
      "MB",
      "lower",
      RSS_TARGET_MB,
    ),
  );
  progress("bursts");
  const bursts = await inBursts(client, quick ? 3 : 10, signal);
  figures.push(
    aimed(
      "leaf facts in bursts of 100, signed and durable",
      { value: bursts, baseline: raw },
      "facts/s",
      "higher",
      BURSTS_TARGET,
    ),
  );
  figures.push(
    aimed(
      "leaf peak RSS with 20,000 facts, after bursts",
      { value: leaf.peakRssMb(), baseline: null },
      "MB",
      "lower",
      RSS_TARGET_MB,
    ),
  );
  await leaf.stop();
  await using receiver = new Leaf(binary, join(folder.path, "receiver"));
  progress("over the link");
  const received = await pushed(receiver, quick ? 500 : 2_000);
  figures.push(
    aimed(
      "leaf facts over the link in batches of 100, verified and durable",
      { value: received, baseline: raw },
      "facts/s",
      "higher",
      PACE,
    ),
  );
  figures.push(
    aimed(
      "leaf peak RSS with 20,000 facts, over the link",
      { value: receiver.peakRssMb(), baseline: null },
      "MB",
      "lower",
      RSS_TARGET_MB,
    ),
  );
  await receiver.stop();
  await using small = new Leaf(binary, join(folder.path, "small"));
  await small.start();
  using filler = new Client(join(small.dir, "leaf.sock"));
  for (let sent = BURST; sent <= KEYS; sent += BURST) {
    filler.burst();
    await filler.answered(sent);
  }
  await small.stop();
  const loads: number[] = [];
  for (let i = 0; i < 5; i++) {
    loads.push(await small.start());
    await small.stop();
  }
  const load = loads.toSorted((a, b) => a - b)[2] ?? 0;
  figures.push(
    aimed(
      "leaf start with 20,000 facts in its log",
      { value: load, baseline: null },
      "ms",
      "lower",
      LOAD_TARGET_MS,
    ),
  );
  return {
    figures,
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
