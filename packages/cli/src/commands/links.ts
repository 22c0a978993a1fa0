// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from "node:timers/promises";
import type { LinkClass, LinkReport } from "@ctxmesh/model";
import { createOutput, formatAge, formatTable, shortId } from "../output.ts";
import type { Output } from "../output.ts";
import { formatBytes } from "../progress.ts";
import { withClient } from "../socket.ts";

/** Options of `ctxmesh links`. */
export interface LinksOptions {
  readonly socket?: string;
  readonly json?: boolean;
  /** Prints anew every two seconds until interrupted. */
  readonly watch?: boolean;
}

const EVERY_MS = 2_000;
const CLASSES: readonly LinkClass[] = ["control", "high", "normal", "low"];

/** Prints how busy the links of a node are. */
export async function runLinks(options: LinksOptions): Promise<void> {
  const output = createOutput(options);
  const interrupt = new AbortController();
  const stop = (): void => {
    interrupt.abort();
  };
  if (options.watch === true) process.once("SIGINT", stop).once("SIGTERM", stop);
  try {
    await withClient(options.socket, "agent", async (client) => {
      for (;;) {
        await print(await client.links(), output);
        if (options.watch !== true) return;
        await sleep(EVERY_MS, undefined, { signal: interrupt.signal }).catch(() => undefined);
        if (interrupt.signal.aborted) return;
        if (!output.json) await output.line("");
      }
    });
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
  }
}

async function print(links: readonly LinkReport[], output: Output): Promise<void> {
  if (output.json) {
    await output.line(JSON.stringify({ links }));
    return;
  }
  if (links.length === 0) {
    await output.line("no peer is connected");
    return;
  }
  for (const text of formatTable([HEADINGS, ...links.map((link) => rowOf(link, output))])) {
    await output.line(text);
  }
}

const HEADINGS = [
  "PEER",
  "STATE",
  "BUDGET",
  "OUT",
  "IN",
  "QUEUED (control/high/normal/low)",
  "LATER",
  "DRAINED IN",
  "ADDRESS",
];

const rateOf = (perSecond: number): string => `${formatBytes(perSecond)}/s`;

function rowOf(
  { device, role, leaf, address, inSync, pulling, traffic }: LinkReport,
  output: Output,
): string[] {
  const state = pulling ? "pulling" : inSync ? "in sync" : "behind";
  const { budget, queue, deferred, drainMs } = traffic;
  return [
    `${leaf === true ? "leaf" : role} ${shortId(device)}`,
    output.style(inSync ? "green" : "yellow", state),
    budget === undefined ? "-" : rateOf(budget),
    `${rateOf(traffic.out.perSecond)}, ${formatBytes(traffic.out.bytes)}`,
    `${rateOf(traffic.in.perSecond)}, ${formatBytes(traffic.in.bytes)}`,
    CLASSES.map((name) => formatBytes(queue[name].bytes)).join("/"),
    deferred.bytes === 0 ? "-" : formatBytes(deferred.bytes),
    drainMs === 0 ? "-" : formatAge(drainMs),
    address,
  ];
}
