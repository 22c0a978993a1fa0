// SPDX-License-Identifier: Apache-2.0
/** What goes wrong: planned steps as things done to machines, disks and lines. Each undoes itself when its time is over. */
import { SEALS_UNCERTAIN } from "@ctxmesh/service";
import type { Cluster } from "./cluster.ts";
import { startHostile } from "./hostile.ts";
import type { SimNode } from "./node.ts";
import type { FaultStep } from "./plan.ts";

type StepOf<Name extends FaultStep["do"]> = FaultStep & { readonly do: Name };

/** Store keys of a hub's log and seals: only a backup brings them back, so nothing of them is made to rot. */
const LEDGER_TAGS: ReadonlySet<string> = new Set(["\u0020", "\u0021", "\u0022"]);

/** Takes a step; one that has nothing to act on is passed over. */
export function strike(cluster: Cluster, step: FaultStep): void {
  if ("node" in step) {
    const node = cluster.node(step.node);
    if (node !== undefined && !node.isRetired) strikeNode(cluster, node, step);
    return;
  }
  switch (step.do) {
    case "cut":
      cut(cluster, step);
      return;
    case "clog":
      cluster.network.clog(step.from, step.to, step.forMs);
      cluster.count("clog");
      return;
    case "reset":
      cluster.count("reset", cluster.network.reset(step.from, step.to));
      return;
    case "degrade":
      degrade(cluster, step);
      return;
    case "hostile":
      startHostile(cluster, step);
  }
}

type NodeStep = Extract<FaultStep, { readonly node: string }>;

function strikeNode(cluster: Cluster, node: SimNode, step: NodeStep): void {
  switch (step.do) {
    case "crash":
      crash(cluster, node, step);
      return;
    case "pause":
      pause(cluster, node, step);
      return;
    case "jump":
      cluster.count("jump");
      node.clock.jump(step.byMs);
      return;
    case "fail-sync":
      cluster.count("fail-sync");
      node.disk.failNextSync(step.outcome);
      return;
    case "fill-disk":
      cluster.count("fill-disk");
      node.disk.setFull(true);
      cluster.scheduler.after(step.forMs, () => {
        node.disk.setFull(false);
      });
      return;
    case "slow-disk":
      cluster.count("slow-disk");
      node.disk.slowDown(step.forMs, step.byMs);
      return;
    case "flip-bit":
      flipBit(cluster, node, step);
      return;
    case "backup":
      cluster.count("backup");
      if (!node.disk.isDamaged) node.backup = node.disk.image.copy();
      return;
    case "restore":
      restore(cluster, node, step);
      return;
    case "clone":
      clone(cluster, node, step);
  }
}

function crash(cluster: Cluster, node: SimNode, step: StepOf<"crash">): void {
  const strikeNow = (): void => {
    if (!node.isUp || cluster.phase !== "safety") return;
    cluster.count("crash");
    const { kept, lost } = node.stop(step.how, step.tail, step.how === "process");
    cluster.count("crash kept writes", kept);
    cluster.count("crash lost writes", lost);
    node.startAfter(step.downMs);
  };
  if (step.when === "writing") node.disk.atNextWrite(strikeNow);
  else strikeNow();
}

function pause(cluster: Cluster, node: SimNode, step: StepOf<"pause">): void {
  if (!node.isUp || node.isPaused) return;
  cluster.count("pause");
  node.pause();
  cluster.network.silence(node, () => node.isPaused);
  cluster.scheduler.after(step.forMs, () => {
    node.resume();
  });
}

function flipBit(cluster: Cluster, node: SimNode, step: StepOf<"flip-bit">): void {
  const dice = cluster.dice.fork(`flip/${node.id}/${String(cluster.nowMs)}`);
  const key = node.disk.flipBit(dice, LEDGER_TAGS);
  if (key === undefined) return;
  cluster.count("flip-bit");
  node.lostMediaMs ??= cluster.nowMs;
  node.stop("flip-bit", "kept", true);
  node.startAfter(step.downMs);
}

function restore(cluster: Cluster, node: SimNode, step: StepOf<"restore">): void {
  const { backup } = node;
  if (backup === undefined) return;
  cluster.count("restore");
  node.lostMediaMs ??= cluster.nowMs;
  node.stop("restore", "lost", true);
  node.disk.replace(backup);
  // As restoreBackup marks it.
  if (node.kind === "hub") node.disk.mark(SEALS_UNCERTAIN);
  node.startAfter(step.downMs);
}

function clone(cluster: Cluster, node: SimNode, step: StepOf<"clone">): void {
  const { opened, cloneOf } = node;
  const planned = cluster.plan.nodes.find(({ id }) => id === node.id);
  if (opened === undefined || cloneOf !== undefined || planned === undefined) return;
  if (node.disk.isDamaged) return;
  cluster.count(`clone ${step.of}`);
  const number = cluster.counts.get("clones") ?? 0;
  cluster.count("clones");
  const id = `${node.id}#${String(number + 1)}`;
  for (const { from, to, quality } of cluster.plan.links) {
    if (from === node.id) cluster.network.connect(id, to, quality);
  }
  const copy = cluster.add({ ...planned, id }, node);
  copy.disk.replace(step.of === "disk" ? node.disk.image : opened.image);
  if (step.of === "machine") copy.fixedIncarnation = opened.incarnation;
  copy.start();
  for (let i = 0; i < step.writes; i++) {
    cluster.scheduler.after(((i + 1) * step.forMs) / (step.writes + 2), () => {
      const value = `${id} ${String(i)}`;
      copy.process?.service.put("clones", [{ key: node.id, value }]).catch(() => undefined);
    });
  }
  cluster.scheduler.after(step.forMs, () => {
    copy.retire();
  });
}

function cut(cluster: Cluster, step: StepOf<"cut">): void {
  cluster.count("cut");
  for (const [from, to] of step.lines) cluster.network.setCut(from, to, true);
  cluster.scheduler.after(step.forMs, () => {
    for (const [from, to] of step.lines) cluster.network.setCut(from, to, false);
  });
}

function degrade(cluster: Cluster, step: StepOf<"degrade">): void {
  const line = cluster.network.line(step.from, step.to);
  if (line === undefined) return;
  cluster.count("degrade");
  line.quality = { ...line.good, ...step.quality };
  cluster.scheduler.after(step.forMs, () => {
    line.quality = line.good;
  });
}
