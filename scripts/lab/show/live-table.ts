// SPDX-License-Identifier: Apache-2.0
/** The agents and the link between the LANs, again and again while something goes on. */
import { setTimeout as sleep } from "node:timers/promises";
import type { WriteStream } from "node:tty";
import type { LinkReport, NodeStatus, PeerStatus } from "@ctxmesh/model";
import type { ProcessNode } from "../processes.ts";
import { LAN_AGENTS } from "./world.ts";
import type { ThinTraffic, World } from "./world.ts";

const REDRAW_MS = 500;
/** Where lines can't be drawn over. */
const REPRINT_MS = 5_000;

/** Such as `TLS 1.3 with X25519MLKEM768 5x`. */
function securityOf(peers: readonly PeerStatus[]): string {
  const counts = new Map<string, number>();
  for (const { security } of peers) {
    const text =
      security === undefined ? "unknown" : `${security.protocol} with ${security.keyExchange}`;
    counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  return Array.from(counts, ([text, count]) => `${text} ${String(count)}x`).join(", ");
}

/** What waits for all links of an agent, and until when. */
function queueOf(links: readonly LinkReport[]): string {
  const bytes = links.flatMap(({ traffic }) =>
    Object.values(traffic.queue).map((one) => one.bytes),
  );
  const later = links.map(({ traffic }) => traffic.deferred.bytes);
  const waiting = [...bytes, ...later].reduce((sum, one) => sum + one, 0);
  const drainMs = Math.max(0, ...links.map(({ traffic }) => traffic.drainMs));
  return waiting === 0 ? "-" : `${String(waiting)} B, ${(drainMs / 1_000).toFixed(1)} s`;
}

/** What an agent says of itself. */
interface Answer {
  readonly status: NodeStatus;
  readonly links: readonly LinkReport[];
}

async function ask(agent: ProcessNode): Promise<Answer | undefined> {
  try {
    return { status: await agent.status(), links: await agent.links() };
  } catch {
    return undefined;
  }
}

function rowOf(name: string, lan: number, answer: Answer | undefined): readonly string[] {
  if (answer === undefined) return [name, String(lan), ...HEAD.slice(2).map(() => "-")];
  const { status, links } = answer;
  const peers = status.peers.filter(({ role }) => role === "agent");
  const inSync = peers.filter((peer) => peer.inSync).length;
  return [
    name,
    String(lan),
    String(status.facts),
    status.frontier.slice(0, 8),
    `${String(inSync)} of ${String(peers.length)}`,
    `${String(status.propagation.p95Ms)} ms`,
    queueOf(links),
    securityOf(peers),
  ];
}

const HEAD = ["AGENT", "LAN", "FACTS", "STATE", "IN SYNC WITH", "P95", "QUEUED", "SECURITY"];

function format(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = HEAD.map((_, i) => Math.max(...rows.map((row) => (row[i] ?? "").length)));
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

/** Draws a table, over the last one where that can be done. */
export class LiveTable {
  readonly #world: World;
  readonly #out: WriteStream;
  #drawn = 0;
  #last: { readonly at: number; readonly thin: readonly ThinTraffic[] } | undefined;

  constructor(world: World, out: WriteStream) {
    this.#world = world;
    this.#out = out;
  }

  /** A line that stays. */
  say(text: string): void {
    this.#drawn = 0;
    this.#out.write(`${text}\n`);
  }

  /** Draws until a condition holds, at most for a time; whether it held. */
  async until(condition: () => Promise<boolean>, boundMs: number): Promise<boolean> {
    const deadline = performance.now() + boundMs;
    let printedAt = performance.now();
    this.#last = { at: printedAt, thin: await this.#world.thin() };
    for (;;) {
      const held = await condition();
      const over = held || performance.now() >= deadline;
      if (over || this.#out.isTTY || performance.now() - printedAt >= REPRINT_MS) {
        printedAt = performance.now();
        await this.#draw();
      }
      if (over) return held;
      await sleep(REDRAW_MS);
    }
  }

  async #draw(): Promise<void> {
    const { agents } = this.#world.mesh;
    const answers = await Promise.all(agents.map(ask));
    const rows = answers.map((answer, i) =>
      rowOf(agents[i]?.name ?? "", i < LAN_AGENTS ? 1 : 2, answer),
    );
    const lines = [...format([HEAD, ...rows]), await this.#linkLine()];
    const over = this.#out.isTTY && this.#drawn > 0 ? `\u001b[${String(this.#drawn)}A\u001b[J` : "";
    this.#out.write(`${over}${lines.map((line) => `  ${line}\n`).join("")}`);
    this.#drawn = lines.length;
  }

  async #linkLine(): Promise<string> {
    const now = { at: performance.now(), thin: await this.#world.thin() };
    const last = this.#last ?? now;
    const seconds = Math.max(0.001, (now.at - last.at) / 1_000);
    this.#last = now;
    const ways = now.thin.map(({ bytes, queuedBytes }, i) => {
      const kbit = ((bytes - (last.thin[i]?.bytes ?? bytes)) * 8) / 1_000 / seconds;
      return `to LAN ${String(i + 1)} ${kbit.toFixed(0)} kbit/s, ${String(queuedBytes)} bytes waiting`;
    });
    return `link: ${ways.join("; ")}`;
  }
}
