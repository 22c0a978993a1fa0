// SPDX-License-Identifier: Apache-2.0
/** A process with several nodes and attackers in it, which does what its parent says. */
import process from "node:process";
import { startAttacker } from "./attackers.ts";
import type { Attacker, AttackerOptions } from "./attackers.ts";
import { frontierOf, startLiveNode } from "./live-node.ts";
import type { LiveNode, LiveNodeOptions, Noted } from "./live-node.ts";
import { startRawFlood } from "./raw-floods.ts";
import type { RawFloodKind } from "./raw-floods.ts";

/** What a worker can be told. */
export type Command =
  | { readonly type: "node"; readonly options: LiveNodeOptions }
  | { readonly type: "attacker"; readonly options: AttackerOptions }
  | {
      readonly type: "raw-flood";
      readonly n: number;
      readonly kind: RawFloodKind;
      readonly peers: readonly string[];
    }
  | { readonly type: "put"; readonly n: number; readonly key: string; readonly value: string }
  | { readonly type: "status"; readonly n: number }
  | { readonly type: "latencies"; readonly n: number }
  | { readonly type: "report"; readonly n: number }
  | { readonly type: "stop"; readonly n: number }
  | { readonly type: "memory" };

/** How a node stands. */
export interface NodeReport {
  readonly frontier: string;
  /** Device keys of peers that finished their greeting. */
  readonly peers: readonly string[];
  readonly noted: readonly Noted[];
  readonly accepted: number;
  readonly held: number;
  readonly gossips: boolean;
}

const nodes = new Map<number, LiveNode>();
const attackers = new Map<number, Attacker>();

const nodeOf = (n: number): LiveNode => {
  const node = nodes.get(n);
  if (node === undefined) throw new Error(`there is no node ${String(n)} here`);
  return node;
};

function statusOf(n: number): NodeReport {
  const node = nodeOf(n);
  const { accepted, held } = node.replica.counters();
  return {
    frontier: frontierOf(node),
    peers: node.sync.peers().map(({ device }) => device),
    noted: node.noted,
    accepted,
    held,
    gossips: node.gossips(),
  };
}

/** Bytes in use once the garbage is gone, on the heap and beside it. */
function memory(): number {
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function carryOut(command: Command): Promise<unknown> {
  switch (command.type) {
    case "node": {
      const node = await startLiveNode(command.options);
      nodes.set(command.options.n, node);
      return node.addresses;
    }
    case "attacker": {
      const attacker = await startAttacker(command.options);
      attackers.set(command.options.n, attacker);
      return attacker.addresses;
    }
    case "raw-flood":
      attackers.set(command.n, await startRawFlood(command.n, command.kind, command.peers));
      return undefined;
    case "put":
      return nodeOf(command.n).put(command.key, command.value);
    case "status":
      return statusOf(command.n);
    case "latencies":
      return nodeOf(command.n).latencies.splice(0);
    case "report":
      return attackers.get(command.n)?.report();
    case "stop": {
      const one = nodes.get(command.n) ?? attackers.get(command.n);
      nodes.delete(command.n);
      attackers.delete(command.n);
      return one?.[Symbol.asyncDispose]();
    }
    case "memory":
      return memory();
  }
}

/** An order of the parent, and the answer. */
export interface Order {
  readonly id: number;
  readonly command: Command;
}
export interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

async function answer({ id, command }: Order): Promise<void> {
  let reply: Answer;
  try {
    reply = { id, result: await carryOut(command) };
  } catch (error) {
    reply = { id, error: String(error) };
  }
  process.send?.(reply);
}

process.on("message", (order: Order) => void answer(order));
process.on("disconnect", () => process.exit());
