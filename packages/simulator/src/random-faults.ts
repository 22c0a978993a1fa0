// SPDX-License-Identifier: Apache-2.0
/** Draws faults, each kind with its own distribution. */
import type { Dice } from "./dice.ts";
import type { FaultStep } from "./plan.ts";
import type { Scene } from "./random-plan.ts";

/** The kinds of faults that a plan may have. */
export const FAULT_KINDS = [
  "crash",
  "pause",
  "clock",
  "disk",
  "rot",
  "restore",
  "clone",
  "partition",
  "network",
  "hostile",
] as const;

/** A member of {@link FAULT_KINDS}. */
export type FaultKind = (typeof FAULT_KINDS)[number];

const MINUTE_MS = 60_000;
/** A hostile peer does all it can within this. */
const HOSTILE_MS = 15_000;

/** The steps of one fault. */
export function drawFault(dice: Dice, kind: FaultKind, scene: Scene): readonly FaultStep[] {
  const node = dice.pick(scene.nodes).id;
  // What is away for long is so rarely; most outages are short.
  const forMs = Math.round(
    dice.chance(0.8) ? dice.between(500, 60_000) : dice.between(1, 20) * MINUTE_MS,
  );
  switch (kind) {
    case "crash":
      return [
        {
          do: "crash",
          node,
          how: dice.pick(["process", "power"]),
          tail: dice.pick(["lost", "kept", "part"]),
          when: dice.pick(["now", "writing"]),
          downMs: forMs,
        },
      ];
    case "pause":
      return [{ do: "pause", node, forMs }];
    case "clock":
      return [{ do: "jump", node, byMs: drawJump(dice) }];
    case "disk":
      return [drawDiskFault(dice, node, forMs)];
    case "rot":
      return [{ do: "flip-bit", node, downMs: dice.int(500, 20_000) }];
    case "restore":
      return drawRestore(dice, scene, forMs);
    case "clone":
      return drawClone(dice, scene, forMs);
    case "partition":
      return [drawPartition(dice, scene, forMs)];
    case "network":
      return [drawNetworkFault(dice, scene, forMs)];
    case "hostile":
      return [
        {
          do: "hostile",
          kind: dice.pick(["forger", "equivocator", "flooder", "replayer", "back-dater"]),
          device: dice.pick(scene.hostile),
          targets: scene.nodes.map(({ id }) => id).filter(() => dice.chance(0.5)),
          forMs: Math.min(forMs, HOSTILE_MS),
        },
      ];
  }
}

const agentsOf = ({ nodes }: Scene): readonly string[] =>
  nodes.filter(({ service }) => service === "agent").map(({ id }) => id);

/** A few seconds either way mostly; now and then past what others take, and once in a while what a typo makes of it. */
function drawJump(dice: Dice): number {
  const kind = dice.float();
  const most = kind < 0.9 ? 5_000 : kind < 0.98 ? 2 * MINUTE_MS : 60 * MINUTE_MS;
  return dice.int(-most, most);
}

function drawDiskFault(dice: Dice, node: string, forMs: number): FaultStep {
  switch (dice.int(0, 2)) {
    case 0:
      return { do: "fail-sync", node, outcome: dice.pick(["lost", "kept"]) };
    case 1:
      return { do: "fill-disk", node, forMs };
    default:
      return { do: "slow-disk", node, forMs, byMs: dice.int(50, 3_000) };
  }
}

function drawRestore(dice: Dice, scene: Scene, forMs: number): readonly FaultStep[] {
  // Hubs rarely: one that has sealed since its backup was made never seals again.
  const node = dice.chance(0.9) ? dice.pick(agentsOf(scene)) : dice.pick(scene.nodes).id;
  return dice.chance(0.6) ? [{ do: "backup", node }] : [{ do: "restore", node, downMs: forMs }];
}

function drawClone(dice: Dice, scene: Scene, forMs: number): readonly FaultStep[] {
  const node = dice.pick(agentsOf(scene));
  return [{ do: "clone", node, of: dice.pick(["disk", "machine"]), writes: dice.int(0, 5), forMs }];
}

/** Cuts some nodes off from the rest, both ways or one way only. */
function drawPartition(dice: Dice, { nodes, links }: Scene, forMs: number): FaultStep {
  const apart = new Set(nodes.map(({ id }) => id).filter(() => dice.chance(0.4)));
  const ways = dice.pick(["both", "in", "out"]);
  const lines = links.flatMap(({ from, to }): (readonly [string, string])[] => {
    if (apart.has(from) === apart.has(to)) return [];
    const [inside, outside] = apart.has(from) ? [from, to] : [to, from];
    return [
      ...(ways === "in" ? [] : [[inside, outside] as const]),
      ...(ways === "out" ? [] : [[outside, inside] as const]),
    ];
  });
  return { do: "cut", lines, forMs };
}

function drawNetworkFault(dice: Dice, { links }: Scene, forMs: number): FaultStep {
  const link = dice.pick(links);
  const [from, to] = dice.chance(0.5) ? [link.from, link.to] : [link.to, link.from];
  switch (dice.int(0, 2)) {
    case 0:
      return { do: "clog", from, to, forMs: Math.min(forMs, 8_000) };
    case 1:
      return { do: "reset", from, to };
    default: {
      const quality = dice.pick([{ loss: 0.3 }, { latencyMs: 800 }, { bytesPerMs: 4 }]);
      return { do: "degrade", from, to, quality, forMs };
    }
  }
}
