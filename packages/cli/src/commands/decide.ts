// SPDX-License-Identifier: Apache-2.0
import { encodeDecisionFile } from "@ctxmesh/ledger";
import { MeshError, parseDocumentName } from "@ctxmesh/model";
import type { DecisionCheck, DecisionReceipt, FactSource, JsonValue } from "@ctxmesh/model";
import { writeWhole } from "../files.ts";
import { createOutput } from "../output.ts";
import { withClient } from "../socket.ts";

/** Options of `ctxmesh decide`. */
export interface DecideOptions {
  readonly socket?: string;
  readonly json?: boolean;
  readonly model?: string;
  readonly input?: readonly string[];
  readonly check?: readonly string[];
  readonly outcomeOf?: string;
  readonly out?: string;
}

const usage = (message: string, remedy: string): MeshError =>
  new MeshError("USAGE", message, { remedy });

/** As `ctxmesh put` takes values: JSON, or else a string. */
function readValue(text: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue;
  } catch {
    return text;
  }
}

/** `name@version`, or a name alone. */
function readModel(text: string): FactSource {
  const at = text.lastIndexOf("@");
  if (at < 1 || at === text.length - 1) return { model: text };
  return { model: text.slice(0, at), version: text.slice(at + 1) };
}

/** `DOC:KEY`; names of documents have no colon. */
function readInput(text: string): { readonly doc: string; readonly key: string } {
  const at = text.indexOf(":");
  if (at < 1 || at === text.length - 1) {
    throw usage(`--input ${JSON.stringify(text)} names no fact`, "write it as DOC:KEY");
  }
  return { doc: parseDocumentName(text.slice(0, at)), key: text.slice(at + 1) };
}

/** `NAME=pass`, `NAME=fail`, and after a colon a word about it. */
function readCheck(text: string): DecisionCheck {
  const { name, result, detail } =
    /^(?<name>[^=]+)=(?<result>pass|fail)(?::(?<detail>.*))?$/su.exec(text)?.groups ?? {};
  if (name === undefined) {
    throw usage(
      `--check ${JSON.stringify(text)} says no result`,
      "write it as NAME=pass or NAME=fail:WHY",
    );
  }
  return { name, passed: result === "pass", ...(detail === undefined ? {} : { detail }) };
}

async function record(output: string, options: DecideOptions): Promise<DecisionReceipt> {
  const { socket, model, input = [], check = [], outcomeOf } = options;
  const value = readValue(output);
  if (outcomeOf !== undefined) {
    if (model !== undefined || input.length > 0 || check.length > 0) {
      throw usage("an outcome has no model, inputs or checks", "leave them out, or --outcome-of");
    }
    return withClient(socket, "agent", (client) => client.recordOutcome(outcomeOf, value));
  }
  if (model === undefined) throw usage("who decided?", "give --model NAME or NAME@VERSION");
  const request = {
    model: readModel(model),
    inputs: input.map(readInput),
    checks: check.map(readCheck),
    output: value,
  };
  return withClient(socket, "agent", (client) => client.decide(request));
}

/** Has the agent sign and keep a decision, or what became of one; with `--out` saves it, for `ctxmesh verify`. Throws `USAGE`. */
export async function runDecide(text: string, options: DecideOptions): Promise<void> {
  const receipt = await record(text, options);
  const { id, counter, doc, key, envelope } = receipt;
  const { out } = options;
  if (out !== undefined) {
    const file = encodeDecisionFile({ envelope: new TextEncoder().encode(envelope) });
    await writeWhole(out, file, {
      field: "--out",
      remedy: "the decision is kept; name a folder that exists and that you may write to",
    });
  }
  const output = createOutput(options);
  if (output.json) {
    await output.line(JSON.stringify(out === undefined ? receipt : { ...receipt, out }));
    return;
  }
  const what = options.outcomeOf === undefined ? "decision" : "outcome";
  await output.line(
    `${what} ${id}, number ${String(counter)} of this device, kept as ${doc} ${key}`,
  );
  await output.line(
    `signed with Ed25519; hybrid once a hub has sealed it: ctxmesh prove ${out === undefined ? `${doc} ${key}` : `--decision ${out}`} --socket hub/hub.sock`,
  );
}
