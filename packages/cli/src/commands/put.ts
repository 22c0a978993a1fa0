// SPDX-License-Identifier: Apache-2.0
import { createInterface } from "node:readline";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { FactInput, JsonValue, Priority, WriteOptions, WriteReceipt } from "@ctxmesh/model";
import type { ContextClient } from "@ctxmesh/sdk";
import { ackOptionsOf, createOutput, parseDuration } from "../output.ts";
import type { AckOptions } from "../output.ts";
import { withClient } from "../socket.ts";
import { checkCondition, putIf } from "./levels.ts";
import type { ConditionOptions } from "./levels.ts";

/** Options of `ctxmesh put`. */
export interface PutOptions extends AckOptions, ConditionOptions {
  readonly socket?: string;
  readonly json?: boolean;
  readonly confidence?: number;
  readonly source?: string;
  readonly ttl?: string;
  readonly tag?: readonly string[];
  readonly correlation?: string;
  readonly traceparent?: string;
  readonly target?: readonly string[];
  readonly priority?: Priority;
  /** The value is a number to add to this writer's own. */
  readonly increment?: boolean;
}

/** JSON where it is JSON, else the text itself. */
export function parseValue(text: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue;
  } catch {
    return text;
  }
}

/** Writes one fact, or with the key `-` one per line of stdin. */
export async function runPut(
  doc: string,
  key: string,
  value: string | undefined,
  options: PutOptions,
): Promise<void> {
  const common = {
    ...(options.increment === undefined ? {} : { increment: options.increment }),
    ...(options.confidence === undefined ? {} : { confidence: options.confidence }),
    ...(options.source === undefined ? {} : { source: { model: options.source } }),
    ...(options.ttl === undefined ? {} : { ttlMs: parseDuration(options.ttl) }),
    ...(options.tag === undefined ? {} : { tags: options.tag }),
    ...(options.correlation === undefined ? {} : { correlation: options.correlation }),
    ...(options.traceparent === undefined ? {} : { traceparent: options.traceparent }),
    ...(options.target === undefined ? {} : { targets: options.target }),
  };
  const how = options.priority === undefined ? {} : { priority: options.priority };
  const ack = { ...how, ...ackOptionsOf(options) };
  checkCondition(options, {
    "--increment": options.increment === true,
    "--ack": options.ack !== undefined && options.ack !== "local",
    "--priority": options.priority !== undefined && options.priority !== "normal",
    "several facts": key === "-" && value === undefined,
  });
  const receipt = await withClient(options.socket, "agent", (client) => {
    if (key === "-" && value === undefined) return putLines(client, doc, common, ack);
    if (value === undefined) {
      throw new MeshError("USAGE", "the value is missing", {
        remedy: "ctxmesh put DOC KEY VALUE, or ctxmesh put DOC - to read JSON lines from stdin",
      });
    }
    const parsed = parseValue(value);
    if (options.increment === true && typeof parsed !== "number") {
      throw new MeshError("USAGE", `${JSON.stringify(value)} is not a number to increment by`, {
        remedy: "ctxmesh put DOC KEY 1 --increment",
      });
    }
    const fact = { key, value: parsed, ...common };
    if (options.ifVersion !== undefined) return putIf(client, doc, fact, options);
    return client.put(doc, fact, ack);
  });
  const output = createOutput(options);
  if (output.json) await output.line(JSON.stringify(receipt));
  else await output.line(`wrote ${String(receipt.facts)} (${receipt.acknowledged})`);
}

/** Facts of stdin's lines, in writes of `LIMITS.factsPerWrite` or half of `LIMITS.writeBytes` at most. */
async function putLines(
  client: ContextClient,
  doc: string,
  common: Partial<FactInput>,
  ack: WriteOptions,
): Promise<WriteReceipt> {
  const how = ack.priority === undefined ? {} : { priority: ack.priority };
  let group: FactInput[] = [];
  let groupLength = 0;
  let written = 0;
  let last: WriteReceipt | undefined;
  const flush = async (options: WriteOptions = how): Promise<void> => {
    if (group.length === 0) return;
    last = await client.put(doc, group, options);
    written += group.length;
    group = [];
    groupLength = 0;
  };
  let number = 0;
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    number++;
    if (line.trim() === "") continue;
    const full = group.length === LIMITS.factsPerWrite;
    if (full || groupLength + line.length > LIMITS.writeBytes / 2) await flush();
    group.push({ ...common, ...parseLine(line, number, written) });
    groupLength += line.length;
  }
  // A hub gets them in order, so the last write stands for all.
  await flush(ack);
  if (last === undefined) throw new MeshError("INPUT_INVALID", "stdin has no facts");
  return { ...last, facts: written };
}

function parseLine(line: string, number: number, written: number): FactInput {
  let fact: unknown;
  try {
    fact = JSON.parse(line);
  } catch {
    fact = undefined;
  }
  if (typeof fact !== "object" || fact === null || !("key" in fact) || !("value" in fact)) {
    throw new MeshError(
      "INPUT_INVALID",
      `stdin:${String(number)}: not a JSON object with key and value (${String(written)} facts were written before)`,
      { remedy: 'write one fact per line: {"key":"temperature","value":71.5,"confidence":0.9}' },
    );
  }
  return fact as FactInput;
}
