// SPDX-License-Identifier: Apache-2.0
/** What it takes to become whole again: an agent that was away, and two that both wrote while they could not see each other. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { encodeSpaceFile } from "@ctxmesh/membership";
import { startChild } from "./children.ts";
import type { Child } from "./children.ts";
import { aimed, measured } from "./figure.ts";
import type { BenchOptions, Figure, Report } from "./figure.ts";
import { installWorker } from "./installed.ts";
import { waitForPeers } from "./mesh-crowd.ts";
import type { CrowdOptions } from "./mesh-crowd.ts";
import { alone } from "./mesh-ten-figures.ts";
import { foundSpace } from "./space.ts";
import { median } from "./stats.ts";

/** Facts of the space, and of them those that are written while an agent is away. */
const HELD = 50_000;
const MISSED = 10_000;
const BATCH = 100;
/** How long those who have all may take to say so to each other before bytes are counted. */
const SETTLE_MS = 1_000;

/** Two agents whose networks come and go. */
interface Pair {
  readonly writer: Child;
  readonly reader: Child;
  readonly addresses: readonly string[];
}

async function startPair(stack: AsyncDisposableStack, options: CrowdOptions): Promise<Pair> {
  const { network, folder, signal } = options;
  const { within } = network;
  const program = await installWorker("mesh-node", folder);
  const { space, seeds } = foundSpace(2);
  const start = async (i: number): Promise<Child> => {
    const child = stack.use(startChild("mesh-node", signal, { within, program }));
    const own = join(folder, `catch-up-${String(i)}`);
    await mkdir(own);
    await child.call("start", { space: encodeSpaceFile(space), seed: seeds[i], folder: own });
    return child;
  };
  const [writer, reader] = [await start(0), await start(1)];
  const { addresses } = (await writer.call("online", [])) as Online;
  return { writer, reader, addresses };
}

/** What going online says. */
interface Online {
  readonly fromMs: number;
  readonly addresses: readonly string[];
}

/** One return of the reader. */
interface Return {
  readonly ms: number;
  readonly bytes: number | undefined;
  /** Of them, those of messages of the sync protocol. */
  readonly messageBytes: number;
}

/** Has the reader come back; how long it takes until both have the same, from the moment it begins to. */
async function comeBack(
  { writer, reader, addresses }: Pair,
  { network }: CrowdOptions,
): Promise<Return> {
  const before = network.bytes();
  const { fromMs } = (await reader.call("online", addresses)) as Online;
  const ends: number[] = [];
  // Each ends up with what both have; which that is, the one that is done first does not know.
  for (;;) {
    const [one, other] = await Promise.all([writer.call("frontier"), reader.call("frontier")]);
    if (one === other) break;
    await sleep(1);
  }
  const wanted = await writer.call("frontier");
  for (const node of [writer, reader]) ends.push(Number(await node.call("until", wanted)));
  await waitForPeers(reader, 1);
  await sleep(SETTLE_MS);
  const after = network.bytes();
  return {
    ms: Math.max(...ends) - fromMs,
    messageBytes: Number(await reader.call("messageBytes")),
    bytes: after === undefined || before === undefined ? undefined : after - before,
  };
}

/** Measures returns after nothing, after missed facts, and after both have written. */
export async function measureCatchUp(
  { quick, progress }: BenchOptions,
  options: CrowdOptions,
): Promise<Report> {
  const rounds = quick ? 1 : 3;
  await using stack = new AsyncDisposableStack();
  progress("50,000 facts on two agents");
  const pair = await startPair(stack, options);
  const { writer, reader } = pair;
  let from = 0;
  const write = async (node: Child, count: number): Promise<void> => {
    await node.call("flood", { from, count, batch: BATCH, atOnce: 1 });
    from += count;
  };
  await write(writer, HELD);
  await comeBack(pair, options);
  const [nothing, missed, parted]: [Return[], Return[], Return[]] = [[], [], []];
  const away = async (returns: Return[], meanwhile: () => Promise<unknown>): Promise<void> => {
    await reader.call("offline");
    await meanwhile();
    returns.push(await comeBack(pair, options));
  };
  for (let round = 1; round <= rounds; round++) {
    progress(`away, round ${String(round)} of ${String(rounds)}`);
    await away(nothing, async () => Promise.resolve());
    await away(missed, async () => write(writer, MISSED));
    await away(parted, async () => {
      await write(writer, MISSED);
      await write(reader, MISSED);
    });
  }
  return { figures: figuresOf(nothing, missed, parted), notes: NOTES };
}

const NOTES = [
  "Catching up and healing: from the moment at which the agent that was away starts its network, libp2p node and handshakes among it, to equal frontiers. Bytes are all on the wire, less what coming back takes where nothing was missed; of finding out that, the messages of the sync protocol.",
];

function figuresOf(
  nothing: readonly Return[],
  missed: readonly Return[],
  parted: readonly Return[],
): Figure[] {
  const ms = (returns: readonly Return[]): number => median(returns.map((one) => one.ms));
  const bytes = (returns: readonly Return[]): number =>
    median(returns.flatMap((one) => one.bytes ?? []));
  const perFact = (bytes(missed) - bytes(nothing)) / MISSED;
  const check = median(nothing.map((one) => one.messageBytes));
  const figures = [
    aimed("finding out that nothing was missed, both ways", alone(check), "B", "lower", 200),
    measured("coming back, nothing missed", alone(ms(nothing)), "ms", "lower"),
    aimed("catching up on 10,000 facts of 50,000", alone(ms(missed)), "ms", "lower", 150),
    aimed("equal again after both wrote 10,000 facts", alone(ms(parted)), "ms", "lower", 2_000),
  ];
  return Number.isNaN(perFact)
    ? figures
    : [...figures, aimed("catching up, for each missed fact", alone(perFact), "B", "lower", 127)];
}
