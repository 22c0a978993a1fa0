// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: each fault does to the mesh what it says, and the mesh outlives it.
 * Method: two agents and a hub, a plan by hand with one kind of fault, and a look at what came of it.
 */
import type { FaultStep, HostileKind, PlannedEvent, SimEvent } from "@ctxmesh/simulator";
import { describe, expect, test } from "vitest";
import { observe, planOf, writes } from "./mesh.ts";
import type { Recorder } from "./mesh.ts";

const at = (atMs: number, step: FaultStep): PlannedEvent => ({ ...step, atMs });

const typesOf = (events: readonly SimEvent[], node: string): string[] =>
  events.flatMap((event) =>
    "node" in event && event.node === node && /opened|stopped/u.test(event.type)
      ? [event.type === "stopped" ? `stopped ${event.why}` : event.type]
      : [],
  );
const acknowledged = ({ events }: Recorder): unknown[] =>
  events.flatMap((event) => (event.type === "acknowledged" ? [event.write.value] : []));
const refusals = ({ events }: Recorder): string[] =>
  events.flatMap((event) => (event.type === "refused" ? [event.code] : []));

/** When the client of a1 was told of its write. */
const acknowledgedMs = async (steps: readonly PlannedEvent[]): Promise<number> => {
  const { recorder } = await observe(planOf([...writes("a1", [10_000]), ...steps]));
  const told = recorder.events.find(({ type }) => type === "acknowledged");
  return told?.type === "acknowledged" ? told.write.atMs : Number.NaN;
};

/** When h1 had it. */
const arrivalMs = async (steps: readonly PlannedEvent[]): Promise<number> => {
  let arrivedMs = Number.NaN;
  await observe(planOf([...writes("a1", [10_000]), ...steps]), {
    checkers: [
      {
        name: "arrival",
        onEvent: (event, world) => {
          if (event.type === "applied" && event.node === "h1") arrivedMs = world.nowMs;
        },
      },
    ],
  });
  return arrivedMs;
};

const readsOf = ({ events }: Recorder): unknown[] =>
  events.flatMap((event) => (event.type === "read" ? [event.fact?.value] : []));

const hostile = async (kind: HostileKind, forMs = 10_000): ReturnType<typeof observe> =>
  observe(
    planOf([
      ...writes("a1", [3_000, 30_000]),
      ...writes("a2", [3_000]),
      at(8_000, { do: "hostile", kind, device: "rogue", targets: ["a1", "h1"], forMs }),
    ]),
  );

describe("machines", () => {
  test("a crash while a write is under way loses that write alone, which nobody was promised", async () => {
    const crash = { do: "crash", node: "a1", how: "power", downMs: 3_000 } as const;
    const { result, recorder } = await observe(
      planOf([
        ...writes("a1", [5_000, 10_000]),
        at(7_000, { ...crash, tail: "lost", when: "writing" }),
      ]),
    );
    expect(result.violations).toEqual([]);
    expect(result.counts.get("crash lost writes")).toBe(1);
    expect(acknowledged(recorder)).toEqual([0]);
    const safety = recorder.events.slice(
      0,
      recorder.events.findIndex(({ type }) => type === "healing"),
    );
    expect(typesOf(safety, "a1")).toEqual(["opened", "stopped power", "opened"]);
    expect(recorder.answers("a1")).toEqual({ a1: 0, a2: 0, h1: 0 });
  });

  test("a machine that stands still answers nobody, and goes on where it stood", async () => {
    const { result, recorder } = await observe(
      planOf([
        ...writes("a1", [5_000, 20_000, 55_000]),
        ...writes("a2", [19_000]),
        at(10_000, { do: "pause", node: "a1", forMs: 40_000 }),
      ]),
    );
    expect(result.violations).toEqual([]);
    expect(acknowledged(recorder)).toEqual([0, 0, 2]);
    expect(result.counts.get("unavailable")).toBe(1);
    expect(typesOf(recorder.events, "a1")).toEqual(["opened"]);
    // The others gave its channels up, and it came back.
    expect(result.counts.get("log peer.disconnected")).toBeGreaterThan(0);
    expect(recorder.answers("a2")).toEqual({ a1: 0, a2: 0, h1: 0 });
  });

  test("a clock that is set an hour ahead keeps others from what is written by it, until it is right", async () => {
    const seen: unknown[] = [];
    const { result, recorder } = await observe(
      planOf([
        at(5_000, { do: "jump", node: "a1", byMs: 3_600_000 }),
        ...writes("a1", [10_000]),
        { do: "read", node: "a2", client: "c", doc: "d", key: "a1", atMs: 50_000 },
      ]),
      {
        checkers: [
          {
            name: "reads",
            onEvent: (event) => {
              if (event.type === "read") seen.push(event.fact?.value);
            },
          },
        ],
      },
    );
    expect(result.violations).toEqual([]);
    expect(seen).toEqual([undefined]);
    expect(result.healedAfterMs).toBeGreaterThan(3_000_000);
    expect(recorder.answers("a1")).toEqual({ a1: 0, a2: 0, h1: 0 });
  });

  test("a copy of a disk and a copy of a machine run beside the original, and only the second one forks", async () => {
    const clone = { do: "clone", node: "a1", writes: 2, forMs: 20_000 } as const;
    const disk = await observe(
      planOf([...writes("a1", [5_000, 20_000]), at(10_000, { ...clone, of: "disk" })]),
    );
    expect(disk.result.violations).toEqual([]);
    expect(disk.result.counts.get("log replica.forked")).toBeUndefined();
    const machine = await observe(
      planOf([...writes("a1", [5_000, 20_000]), at(10_000, { ...clone, of: "machine" })]),
    );
    expect(machine.result.violations).toEqual([]);
    expect(machine.result.counts.get("log replica.forked")).toBeGreaterThan(0);
    expect(machine.recorder.answers("a1")).toEqual({ a1: 1, a2: 1, h1: 1 });
  });
});

describe("disks", () => {
  test.for(["lost", "kept"] as const)(
    "a failed sync (%s) ends the process, which is started again",
    async (outcome) => {
      const { result, recorder } = await observe(
        planOf([
          ...writes("a1", [5_000, 10_000, 20_000]),
          at(7_000, { do: "fail-sync", node: "a1", outcome }),
        ]),
      );
      expect(result.violations).toEqual([]);
      expect(refusals(recorder)).toEqual(["STORE_FAILED"]);
      expect(typesOf(recorder.events, "a1")).toEqual(["opened", "stopped STORE_FAILED", "opened"]);
      expect(recorder.answers("a1")).toEqual({ a1: 2, a2: 2, h1: 2 });
    },
  );

  test("a full disk keeps the process from starting until it is freed", async () => {
    const { result, recorder } = await observe(
      planOf([
        ...writes("a1", [5_000, 10_000, 50_000]),
        at(7_000, { do: "fill-disk", node: "a1", forMs: 20_000 }),
      ]),
    );
    expect(result.violations).toEqual([]);
    expect(typesOf(recorder.events, "a1").length).toBeGreaterThan(4);
    expect(acknowledged(recorder)).toEqual([0, 2]);
  });

  test("a slow disk acknowledges late", async () => {
    const slow = at(9_000, { do: "slow-disk", node: "a1", forMs: 5_000, byMs: 3_000 });
    expect(await acknowledgedMs([slow])).toBeGreaterThan((await acknowledgedMs([])) + 100);
  });

  test("a record that rots is found at the next start, and the mesh brings back what was lost with it", async () => {
    const { result, recorder } = await observe(
      planOf([
        ...writes("a1", [5_000, 6_000, 7_000]),
        at(20_000, { do: "flip-bit", node: "a1", downMs: 1_000 }),
      ]),
    );
    expect(result.violations).toEqual([]);
    expect(recorder.events.filter((event) => event.type === "opened" && event.healed)).toHaveLength(
      1,
    );
    expect(recorder.answers("a1")).toEqual({ a1: 2, a2: 2, h1: 2 });
  });

  test("a machine with an old backup gets back from its peers what it had written since", async () => {
    const { result, recorder } = await observe(
      planOf([
        ...writes("a1", [5_000, 20_000]),
        at(10_000, { do: "backup", node: "a1" }),
        at(30_000, { do: "restore", node: "a1", downMs: 1_000 }),
      ]),
    );
    expect(result.violations).toEqual([]);
    expect(result.counts.get("restore")).toBe(1);
    expect(recorder.answers("a1")).toEqual({ a1: 1, a2: 1, h1: 1 });
  });

  test.for([
    ["with an old backup seals nothing again", 15_000, ["SEALING_UNSAFE"], [1, 2]],
    ["with a backup that has all seals goes on with the next", 25_000, [], [1, 2, 3]],
  ] as const)("a hub %s", async ([, backupMs, refused, sequences]) => {
    const seal = { do: "seal", node: "h1" } as const;
    const { result, recorder } = await observe(
      planOf([
        ...writes("a1", [5_000]),
        { ...seal, atMs: 10_000 },
        at(backupMs, { do: "backup", node: "h1" }),
        { ...seal, atMs: 20_000 },
        at(30_000, { do: "restore", node: "h1", downMs: 1_000 }),
        { ...seal, atMs: 50_000 },
      ]),
    );
    expect(result.violations).toEqual([]);
    expect(refusals(recorder)).toEqual(refused);
    const seals = recorder.events.flatMap((event) => (event.type === "sealed" ? [event.seal] : []));
    expect(seals.map(({ receipt }) => receipt.sequence)).toEqual(sequences);
  });
});

describe("lines", () => {
  const all = ["a2", "h1"].flatMap((to) => [["a1", to] as const, [to, "a1"] as const]);
  const read: PlannedEvent = {
    do: "read",
    node: "a2",
    client: "c",
    doc: "d",
    key: "a1",
    atMs: 50_000,
  };

  test.for([
    ["both ways", all],
    ["one way", all.filter(([from]) => from === "a1")],
  ] as const)("a node that is cut off %s is not heard of, until it is back", async ([, lines]) => {
    const { result, recorder } = await observe(
      planOf([at(8_000, { do: "cut", lines, forMs: 200_000 }), ...writes("a1", [10_000]), read]),
    );
    expect(result.violations).toEqual([]);
    expect(readsOf(recorder)).toEqual([undefined]);
    expect(recorder.answers("a1")).toEqual({ a1: 0, a2: 0, h1: 0 });
  });

  test("channels that are reset are dialed again", async () => {
    const { result, recorder } = await observe(
      planOf([
        at(8_000, { do: "reset", from: "a1", to: "a2" }),
        at(8_000, { do: "reset", from: "a1", to: "h1" }),
        ...writes("a1", [8_010]),
        read,
      ]),
    );
    expect(result.violations).toEqual([]);
    expect(result.network.resets).toBe(2);
    expect(result.counts.get("log peer.connected")).toBe(10);
    expect(readsOf(recorder)).toEqual([0]);
  });

  test("a clogged or degraded line delays what it would have brought", async () => {
    const lines = [
      ["a1", "h1"],
      ["a2", "h1"],
    ] as const;
    const good = await arrivalMs([]);
    const clogged = lines.map(([from, to]) => at(9_990, { do: "clog", from, to, forMs: 4_000 }));
    expect(await arrivalMs(clogged)).toBeGreaterThan(good + 3_000);
    const quality = { latencyMs: 900 };
    const far = lines.map(([from, to]) =>
      at(5_000, { do: "degrade", from, to, quality, forMs: 30_000 }),
    );
    expect(await arrivalMs(far)).toBeGreaterThan(good + 800);
  });
});

describe("hostile peers", () => {
  test.for<readonly [HostileKind, string]>([
    ["forger", "log batch.refused"],
    ["replayer", "hostile cut off"],
    ["flooder", "hostile messages"],
    ["back-dater", "hostile messages"],
    ["equivocator", "log replica.rebuilt"],
  ])("a %s does its worst (%s), and nothing comes of it", async ([kind, effect]) => {
    const { result, recorder } = await hostile(kind);
    expect(result.violations).toEqual([]);
    expect(result.counts.get(effect)).toBeGreaterThan(0);
    expect(recorder.answers("a1")).toEqual({ a1: 1, a2: 1, h1: 1 });
    expect(recorder.answers("a2")).toEqual({ a1: 0, a2: 0, h1: 0 });
  });
});

test("every way of acknowledging a write is told to its client once it is so", async () => {
  const put = { do: "put", node: "a1", doc: "d", key: "k", value: 1 } as const;
  const { recorder } = await observe(
    planOf([
      { ...put, ack: "local", atMs: 5_000 },
      { ...put, ack: "hub", atMs: 6_000 },
      { ...put, ack: "sealed", atMs: 7_000 },
      { do: "seal", node: "h1", atMs: 20_000 },
    ]),
  );
  const told = recorder.events.flatMap((event) =>
    event.type === "acknowledged"
      ? [[event.write.receipt.acknowledged, event.write.atMs] as const]
      : [],
  );
  expect(told.map(([level]) => level)).toEqual(["local", "hub", "sealed"]);
  expect(told[2]?.[1]).toBeGreaterThan(20_000);
});
