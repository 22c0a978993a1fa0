// SPDX-License-Identifier: Apache-2.0
/** What it costs to turn an attack away: processor time and heap of the dearest of its batches. */
import { MeshError } from "@ctxmesh/model";
import process from "node:process";
import { getHeapStatistics } from "node:v8";
import { accept, expectedOf, tally, verdictOf } from "../../test/attacks/support/attack.ts";
import type { Attack, Verdict } from "../../test/attacks/support/attack.ts";
import { openReplica, prepareGround, us } from "../../test/attacks/support/ground.ts";
import type { Ground } from "../../test/attacks/support/ground.ts";
import { ATTACKS } from "../../test/attacks/table.ts";
import { aimed } from "./figure.ts";
import type { Figure } from "./figure.ts";

const MOST_MS = 20;
const MOST_BYTES = 8_000_000;

/** What one batch of an attack took at most. */
interface Cost {
  ms: number;
  bytes: number;
}

const cpuMs = (): number => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
};

/** Bytes on the heap and in buffers of this thread, with what is garbage by now. */
function heapBytes(): number {
  const { used_heap_size: heap, external_memory: external } = getHeapStatistics();
  return heap + external;
}

function collect(): void {
  const { gc } = globalThis as { gc?: () => void };
  if (gc === undefined) throw new MeshError("INTERNAL", "the garbage collector can't be called");
  gc();
}

async function measure(attack: Attack, ground: Ground, cost: Cost): Promise<void> {
  const replica = await openReplica(ground.space, us);
  await accept(replica, ground.base);
  await accept(replica, attack.before?.(ground) ?? []);
  await replica.addRecords({ acts: attack.acts?.(ground) ?? [] });
  const batches = attack.build(ground);
  collect();
  const verdicts: Verdict[] = [];
  for (const bytes of batches) {
    const [heap, started] = [heapBytes(), cpuMs()];
    const outcome = await replica.receive(bytes);
    cost.ms = Math.max(cost.ms, cpuMs() - started);
    cost.bytes = Math.max(cost.bytes, heapBytes() - heap);
    verdicts.push(verdictOf(outcome));
  }
  const expected = expectedOf(attack, batches.length);
  const found = tally(verdicts);
  for (const [verdict, count] of Object.entries(expected)) {
    if (found[verdict as Verdict] !== count) {
      throw new MeshError("INTERNAL", `${attack.name}: ${JSON.stringify(found)}`);
    }
  }
  await replica.close();
}

/** Two figures for each attack: worst of `runs` runs. */
export async function attackFigures(
  runs: number,
  progress: (text: string) => void,
): Promise<readonly Figure[]> {
  const ground = await prepareGround();
  const figures: Figure[] = [];
  for (const attack of ATTACKS) {
    progress(attack.name);
    const cost: Cost = { ms: 0, bytes: 0 };
    for (let run = 0; run < runs; run++) await measure(attack, ground, cost);
    const name = `refused: ${attack.name}`;
    figures.push(
      aimed(name, { value: cost.ms, baseline: null }, "ms", "lower", MOST_MS),
      aimed(name, { value: cost.bytes / 1e6, baseline: null }, "MB", "lower", MOST_BYTES / 1e6),
    );
  }
  return figures;
}
