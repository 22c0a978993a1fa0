// SPDX-License-Identifier: Apache-2.0
import type { ChangeEvent } from "@ctxmesh/model";
import { createOutput, originOf, printable, shortId, shorten } from "../output.ts";
import type { Output } from "../output.ts";
import { withClient } from "../socket.ts";

/** Options of `ctxmesh watch`. */
export interface WatchOptions {
  readonly socket?: string;
  readonly json?: boolean;
  readonly prefix?: string;
}

/** Prints changes until it is interrupted. */
export async function runWatch(doc: string | undefined, options: WatchOptions): Promise<void> {
  const output = createOutput(options);
  const interrupt = new AbortController();
  const stop = (): void => interrupt.abort();
  process.once("SIGINT", stop).once("SIGTERM", stop);
  const describe = createDescriber((style, text) => output.style(style, text), Date.now);
  const query = {
    ...(doc === undefined ? {} : { doc }),
    ...(options.prefix === undefined ? {} : { prefix: options.prefix }),
  };
  try {
    await withClient(options.socket, "agent", async (client) => {
      for await (const event of client.watch(query, { signal: interrupt.signal })) {
        await output.line(output.json ? JSON.stringify(event) : describe(event));
      }
    });
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
  }
}

/** The longest name that others are aligned with. */
const MAX_NAME_WIDTH = 48;
const MAX_VALUE_LENGTH = 60;
const TIME_LENGTH = "14:05:09.123".length;

/** Lines of changes: time, name, value, and what there is to say of it. The names are aligned with the longest so far. */
export function createDescriber(
  style: Output["style"],
  now: () => number,
): (event: ChangeEvent) => string {
  let width = 0;
  return ({ doc, key, fact, origin }) => {
    const time = new Date(now()).toISOString().slice(11, 11 + TIME_LENGTH);
    const name = `${printable(doc)} ${printable(key)}`;
    width = Math.max(width, Math.min(name.length, MAX_NAME_WIDTH));
    const start = `${style("dim", time)}  ${style("bold", name.padEnd(width))}  `;
    const where = origin === "local" ? "written here" : "received";
    if (fact === undefined) return `${start}${style("red", "gone")}  ${style("dim", where)}`;
    const value = shorten(printable(JSON.stringify(fact.value)), MAX_VALUE_LENGTH);
    const { confidence, contested, writer } = fact;
    const notes = [
      where,
      `writer ${shortId(writer)}`,
      originOf(fact),
      confidence === undefined ? "" : `confidence ${String(confidence)}`,
    ].filter((note) => note !== "");
    const mark = contested ? `${style("yellow", "contested")}  ` : "";
    return `${start}${style(contested ? "yellow" : "green", value)}  ${mark}${style("dim", notes.join(", "))}`;
  };
}
