// SPDX-License-Identifier: Apache-2.0
/**
 * What a whole agent takes to receive: two agents, each a process, over libp2p or through a hub; the receiver verifies, unpacks, checks,
 * syncs to disk and merges 10,000 facts a second. Once for each engine of facts.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { encodeSpaceFile } from "@ctxmesh/membership";
import { startChild } from "./children.ts";
import type { Child } from "./children.ts";
import { aimed, measured } from "./figure.ts";
import type { BenchOptions, Figure } from "./figure.ts";
import { benchFolder } from "./files.ts";
import { installWorker } from "./installed.ts";
import { waitForPeers } from "./mesh-crowd.ts";
import { cpuSeconds, residentMb } from "./network.ts";
import { foundSpace } from "./space.ts";
import type { AgentStart } from "./workers/agent.ts";
import type { HubStart } from "./workers/hub.ts";
import type { Pour } from "./workers/load.ts";

const ENGINES = ["js", "wasm"] as const;
type Engine = (typeof ENGINES)[number];
/** All of them are in the store before anything is measured. */
const KEYS = 20_000;
const RATE = 10_000;
/** Facts of a write. */
const SIZE = 100;
const MOST_PERCENT = 15;
const ARRIVE_MS = 30_000;

/** What a receiver took. */
interface Taken {
  readonly percent: number;
  readonly idleMb: number;
  readonly mb: number;
}

interface Pair extends AsyncDisposable {
  readonly writer: Child;
  readonly reader: Child;
}

/** A writing agent and one that receives, whom nobody asks for anything: over libp2p, or with a hub between them and without libp2p. */
async function startPair(
  factEngine: Engine,
  by: "libp2p" | "hub",
  { folder, program, signal }: { folder: string; program: string; signal: AbortSignal },
): Promise<Pair> {
  await using stack = new AsyncDisposableStack();
  const { space: founded, seeds } = foundSpace(2, 1);
  const space = encodeSpaceFile(founded);
  const [first, second, third] = seeds.map((seed, i) => ({
    space,
    seed,
    folder: join(folder, `${factEngine}-${by}-${String(i)}`),
  }));
  if (first === undefined || second === undefined || third === undefined) {
    throw new Error("two agents and a hub");
  }
  for (const own of [first, second, third]) await mkdir(own.folder);
  const [writer, reader] = [0, 1].map(() => stack.use(startChild("agent", signal, { program })));
  if (writer === undefined || reader === undefined) throw new Error("two agents");
  const common = { factEngine, quiet: true, peers: [] };
  let where: Pick<AgentStart, "peers"> & Partial<Pick<AgentStart, "listen" | "hubs">> = common;
  if (by === "hub") {
    const hub = stack.use(startChild("hub", signal));
    const hubs = (await hub.call("start", third satisfies HubStart)) as readonly string[];
    where = { peers: [], listen: [], hubs };
  }
  const peers = (await writer.call("start", { ...first, ...common, ...where })) as string[];
  await reader.call("start", { ...second, ...common, ...where, peers });
  await Promise.all([waitForPeers(writer, 1), waitForPeers(reader, 1)]);
  const running = stack.move();
  return { writer, reader, [Symbol.asyncDispose]: async () => running.disposeAsync() };
}

/** Waits until the reader has the last of what the writer wrote. Nothing else is read, as what is read is kept as objects. */
async function arrived(reader: Child, { from, count }: Pour): Promise<void> {
  const deadline = performance.now() + ARRIVE_MS;
  while ((await reader.call("has", from + count - 1)) !== true) {
    if (performance.now() > deadline) throw new Error("not all facts arrived");
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
  }
}

async function take({ writer, reader }: Pair, seconds: number): Promise<Taken> {
  const warmUp: Pour = { from: 0, count: 2 * KEYS, rate: RATE, size: SIZE };
  await writer.call("pour", warmUp);
  await arrived(reader, warmUp);
  const idleMb = residentMb(reader.pid);
  const load: Pour = { from: warmUp.count, count: RATE * seconds, rate: RATE, size: SIZE };
  const [startedMs, before] = [performance.now(), cpuSeconds(reader.pid)];
  await writer.call("pour", load);
  const percent = (100_000 * (cpuSeconds(reader.pid) - before)) / (performance.now() - startedMs);
  await arrived(reader, load);
  return { percent, idleMb, mb: residentMb(reader.pid) };
}

/** Figures of whole agents that receive; the baseline is the engine in JavaScript. */
export async function receiverFigures({
  quick,
  signal,
  progress,
}: BenchOptions): Promise<readonly Figure[]> {
  await using folder = await benchFolder();
  progress("bundling the agent");
  const program = await installWorker("agent", folder.path);
  const figures: Figure[] = [];
  for (const by of ["libp2p", "hub"] as const) {
    const taken: Taken[] = [];
    for (const engine of ENGINES) {
      progress(`an agent that receives, ${by === "hub" ? "without" : "with"} libp2p, ${engine}`);
      await using pair = await startPair(engine, by, { folder: folder.path, program, signal });
      taken.push(await take(pair, quick ? 5 : 20));
    }
    const [js, wasm] = taken;
    if (js === undefined || wasm === undefined) throw new Error("both engines");
    const name = `agent that receives ${String(RATE)} facts/s, ${by === "hub" ? "without libp2p" : "libp2p"}`;
    const pairOf = (of: (one: Taken) => number) => ({ value: of(wasm), baseline: of(js) });
    const share = pairOf(({ percent }) => percent);
    figures.push(
      aimed(`${name}, of a core`, share, "%", "lower", MOST_PERCENT),
      measured(
        `${name}, RSS`,
        pairOf(({ mb }) => mb),
        "MiB",
        "lower",
      ),
      measured(
        `${name}, RSS before`,
        pairOf(({ idleMb }) => idleMb),
        "MiB",
        "lower",
      ),
    );
  }
  return figures;
}
