// SPDX-License-Identifier: Apache-2.0
/** Small plans made by hand, and what is looked at in their runs. */
import { contentRoot } from "@ctxmesh/ledger";
import { toHex } from "@ctxmesh/model";
import { runPlan } from "@ctxmesh/simulator";
import type {
  Checker,
  LineQuality,
  Plan,
  PlannedEvent,
  RunOptions,
  RunResult,
  SimEvent,
  World,
} from "@ctxmesh/simulator";

const DAY_MS = 86_400_000;
/** Of every line. */
export const LINE: LineQuality = { latencyMs: 5, jitterMs: 1, loss: 0, bytesPerMs: 1_250 };

const planned = (id: string, service: "agent" | "hub"): Plan["nodes"][number] => ({
  id,
  service,
  role: "manage",
  grantMs: DAY_MS,
  clockOffMs: 0,
  driftPpm: 0,
});

/** Two agents and a hub, each connected with each, for a minute. */
export function planOf(steps: readonly PlannedEvent[], more: Partial<Plan> = {}): Plan {
  const links = [
    ["a1", "a2"],
    ["a1", "h1"],
    ["a2", "h1"],
  ] as const;
  return {
    seed: "by hand",
    signatures: "stub",
    gossip: false,
    nodes: [planned("a1", "agent"), planned("a2", "agent"), planned("h1", "hub")],
    links: links.map(([from, to]) => ({ from, to, quality: LINE })),
    hostile: ["rogue"],
    safetyMs: 60_000,
    steps,
    ...more,
  };
}

/** A node writes its own key, over and over. */
export const writes = (node: string, times: readonly number[]): PlannedEvent[] =>
  times.map((atMs, i) => ({ do: "put", node, doc: "d", key: node, value: i, atMs }));

/** The answer of each node to reading a key, at the end. */
export type Answers = Readonly<Record<string, unknown>>;

/** Keeps the events of a run, and what nodes answer at its end. */
export interface Recorder {
  readonly checker: Checker;
  readonly events: SimEvent[];
  /** What nodes say about `d` and the key of `writes`. */
  answers(key: string): Answers;
}

/** A checker that only looks. */
export function createRecorder(): Recorder {
  const events: SimEvent[] = [];
  let last: World | undefined;
  return {
    events,
    checker: {
      name: "recorder",
      onEvent(event) {
        if (event.type !== "settled") events.push(event);
      },
      atEnd(world) {
        last = world;
      },
    },
    answers: (key) =>
      Object.fromEntries(
        (last?.nodes ?? []).map(({ id, process }) => [id, process?.service.get("d", key)?.value]),
      ),
  };
}

/** After healing, all members that keep everything have the same content and nothing that a client was told is missing. */
export const convergence: Checker = {
  name: "convergence",
  atEnd({ nodes }) {
    const roots = nodes.flatMap(({ id, process }) => {
      if (process === undefined) throw new Error(`${id} is down`);
      // Who keeps a part has another content.
      if (process.replica.subscription !== undefined) return [];
      return toHex(contentRoot(process.replica.snapshot().leaves));
    });
    if (new Set(roots).size !== 1) throw new Error(`contents differ: ${roots.join(", ")}`);
  },
};

/** Runs a plan with the recorder and the convergence checker. */
export async function observe(
  plan: Plan,
  options: RunOptions = {},
): Promise<{ readonly result: RunResult; readonly recorder: Recorder }> {
  const recorder = createRecorder();
  const checkers = [convergence, recorder.checker, ...(options.checkers ?? [])];
  const result = await runPlan(plan, { ...options, checkers });
  return { result, recorder };
}
