// SPDX-License-Identifier: Apache-2.0
import { MeshError, formatInstant } from "@ctxmesh/model";
import type { EventQuery, FactEvent, JsonValue, Priority } from "@ctxmesh/model";
import type { EventOptions } from "@ctxmesh/sdk";
import { parseMoment } from "../moment.ts";
import { createOutput, printable, shortId, shorten } from "../output.ts";
import type { Output } from "../output.ts";
import { withClient } from "../socket.ts";

/** Options of `ctxmesh events`. */
export interface EventsOptions {
  readonly socket?: string;
  readonly json?: boolean;
  readonly since?: string;
  readonly until?: string;
  readonly key?: string;
  readonly source?: string;
  readonly minConfidence?: number;
  readonly priority?: Priority;
  readonly model?: string;
  readonly rate?: number;
  readonly follow?: boolean;
}

const MAX_VALUE_LENGTH = 60;
/** As an event has it; whether it is one of this node, the node says. */
const POSITION = /^[0-9a-f]{16}\./u;

function placeOf(option: "--since" | "--until", text: string): string | number {
  if (POSITION.test(text)) return text;
  try {
    return parseMoment(text, Date.now());
  } catch (error) {
    throw new MeshError("USAGE", `${option} ${JSON.stringify(text)} is no time and no position`, {
      remedy:
        "write it as 2h (two hours ago), 2026-01-31T14:05:00Z, Unix milliseconds, or the position of an event",
      cause: error,
    });
  }
}

function queryOf(doc: string | undefined, options: EventsOptions): EventQuery {
  const { since, until, key, source, minConfidence, priority, model } = options;
  return {
    ...(doc === undefined ? {} : { doc }),
    ...(since === undefined ? {} : { since: placeOf("--since", since) }),
    ...(until === undefined ? {} : { until: placeOf("--until", until) }),
    ...(key === undefined ? {} : { pattern: key }),
    ...(source === undefined ? {} : { source }),
    ...(minConfidence === undefined ? {} : { minConfidence }),
    ...(priority === undefined ? {} : { priority }),
    ...(model === undefined ? {} : { model }),
  };
}

/** Prints events until there are no more, or, with `--follow`, until it is interrupted. */
export async function runEvents(doc: string | undefined, options: EventsOptions): Promise<void> {
  const output = createOutput(options);
  const query = queryOf(doc, options);
  const interrupt = new AbortController();
  const stop = (): void => interrupt.abort();
  process.once("SIGINT", stop).once("SIGTERM", stop);
  const { follow = false, rate } = options;
  try {
    await withClient(options.socket, "agent", async (client) => {
      const how: EventOptions = {
        follow,
        ...(rate === undefined ? {} : { rate }),
        signal: interrupt.signal,
        onRejudged: () => {
          process.stderr.write("what counts has changed: earlier events may count no more\n");
        },
      };
      for await (const event of client.events(query, how)) await print(output, event);
      if (query.since === undefined && !follow && !output.json) {
        const { beforeMs } = (await client.status()).pruned;
        if (beforeMs === undefined) return;
        await output.line(`what was written before ${formatInstant(beforeMs)} is pruned`);
      }
    });
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
  }
}

const shown = (value: JsonValue | undefined): string =>
  value === undefined ? "nothing" : shorten(printable(JSON.stringify(value)), MAX_VALUE_LENGTH);

function saidIn({ type, data }: FactEvent): string {
  if (data.retracts !== undefined) {
    return `retracts ${shortId(data.retracts.writer)}: ${printable(data.retracts.reason)}`;
  }
  return type === "dev.ctxmesh.fact.deleted" ? "deleted" : `= ${shown(data.value)}`;
}

async function print(output: Output, event: FactEvent): Promise<void> {
  if (output.json) {
    await output.line(JSON.stringify(event));
    return;
  }
  const { time, source, model, confidence, data } = event;
  const writer = shortId(source.slice(source.lastIndexOf(":") + 1));
  const by = [
    `writer ${writer}`,
    ...(model === undefined ? [] : [printable(model)]),
    ...(confidence === undefined ? [] : [`confidence ${confidence}`]),
    `before ${shown(data.previous)}`,
  ].join(", ");
  await output.line(
    `${output.style("dim", time)} ${data.doc} ${printable(data.key)} ${saidIn(event)} ${output.style("dim", `(${by})`)}`,
  );
}
