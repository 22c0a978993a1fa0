// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from "node:timers/promises";
import { MeshError } from "@ctxmesh/model";
import type { VisibleFact } from "@ctxmesh/model";
import type { ContextClient } from "@ctxmesh/sdk";
import { createOutput, formatError } from "../output.ts";
import type { Output } from "../output.ts";
import { withClient } from "../socket.ts";
import { frameOf } from "../top-frame.ts";
import type { FrameLine, FrameSize, TopView } from "../top-frame.ts";

/** Options of `ctxmesh top`. */
export interface TopOptions {
  readonly socket?: string;
  readonly json?: boolean;
  /** One frame, and the end. */
  readonly once?: boolean;
}

const EVERY_MS = 1_000;
/** The most facts that a node lists at once. */
const LISTED = 10_000;
/** A single frame on no terminal has room for all. */
const NO_TERMINAL: FrameSize = { columns: 200, rows: 1_000 };
const ESC = "\u001b[";
/** The alternate screen without a cursor, and the way back (xterm control sequences). */
const ENTER = `${ESC}?1049h${ESC}?25l`;
const LEAVE = `${ESC}?25h${ESC}?1049l`;

/** Reads what a frame shows; the facts only when something has changed since the last one. */
function createReader(client: ContextClient): () => Promise<TopView> {
  let listedFor = "";
  let contested: readonly VisibleFact[] = [];
  return async () => {
    const [status, links] = await Promise.all([client.status(), client.links()]);
    // What expires changes the number alone.
    const state = `${status.frontier} ${String(status.contested)}`;
    if (state !== listedFor) {
      const facts = status.contested === 0 ? [] : await client.list({ limit: LISTED });
      contested = facts.filter((fact) => fact.contested);
      listedFor = state;
    }
    return { status, links, contested, now: Date.now() };
  };
}

const styled = (output: Output, { text, style }: FrameLine): string =>
  style === undefined ? text : output.style(style, text);

/** Shows a node's peers, lag, queues and contested facts until `q` is typed, or once. */
export async function runTop(options: TopOptions): Promise<void> {
  const output = createOutput(options);
  const { stdout, stdin } = process;
  const isLive = options.once !== true && !output.json;
  if (isLive && (!stdout.isTTY || !stdin.isTTY)) {
    throw new MeshError("USAGE", "ctxmesh top needs a terminal", {
      remedy: "ask for a single frame with --once, or --json",
    });
  }
  await withClient(options.socket, "agent", async (client) => {
    const read = createReader(client);
    // Where there is no node, that is said before the screen changes.
    const view = await read();
    if (isLive) return showLive(view, read, output);
    if (output.json) {
      const { status, links, contested } = view;
      return output.line(JSON.stringify({ status, links, contested }));
    }
    const size = stdout.isTTY ? { columns: stdout.columns, rows: Infinity } : NO_TERMINAL;
    const text = frameOf(view, size).map((line) => styled(output, line));
    return output.line(text.join("\n").trimEnd());
  });
}

/** Draws a frame each second, and whenever the terminal has another size, until `q`, an interrupt or the end of input. */
async function showLive(
  first: TopView,
  read: () => Promise<TopView>,
  output: Output,
): Promise<void> {
  const { stdout, stdin } = process;
  const end = new AbortController();
  const stop = (): void => {
    end.abort();
  };
  const onKey = (key: Buffer): void => {
    // In raw mode Ctrl-C is a key as any other.
    if (key.includes("q") || key.includes("Q") || key.includes(3)) stop();
  };
  let view = first;
  let failure = "";
  const draw = (): void => {
    const { columns, rows } = stdout;
    const lines = frameOf(view, { columns, rows: rows - 1 }).map((line) => styled(output, line));
    while (lines.length < rows - 1) lines.push("");
    lines.push(failure === "" ? output.style("dim", "q quits") : output.style("red", failure));
    stdout.write(`${ESC}H${lines.map((line) => `${line}${ESC}K`).join("\r\n")}${ESC}J`);
  };
  stdout.write(ENTER);
  stdin.setRawMode(true).on("data", onKey).once("end", stop).resume();
  stdout.on("resize", draw);
  process.once("SIGINT", stop).once("SIGTERM", stop);
  try {
    while (!end.signal.aborted) {
      draw();
      await sleep(EVERY_MS, undefined, { signal: end.signal }).catch(() => undefined);
      try {
        view = await read();
        failure = "";
      } catch (error) {
        if (!(error instanceof MeshError)) throw error;
        failure = (formatError(error, false).split("\n")[0] ?? "").slice(0, stdout.columns);
      }
    }
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
    stdout.off("resize", draw);
    stdin.off("data", onKey).setRawMode(false).pause();
    stdout.write(LEAVE);
  }
}
