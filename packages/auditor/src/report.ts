// SPDX-License-Identifier: Apache-2.0
/** Verdicts for people and for programs. */
import { toBase64 } from "@ctxmesh/codec";
import type { FoundFact, Verdict, VerdictStep, VerifiedDecision } from "@ctxmesh/ledger";
import { formatInstant } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import { safeText } from "./safe-text.ts";

/** How {@link renderVerdict} writes. */
export interface RenderOptions {
  /** Use ANSI colours. */
  readonly color: boolean;
}

const paint = (text: string, code: number, { color }: RenderOptions): string =>
  color ? `\u001b[${String(code)}m${text}\u001b[0m` : text;

const GREEN = 32;
const RED = 31;
const NAME_WIDTH = 22;
const MAX_FACTS_SHOWN = 20;

function renderStep(step: VerdictStep, options: RenderOptions): string {
  const mark = step.ok ? paint("ok  ", GREEN, options) : paint("FAIL", RED, options);
  return `${mark}  ${step.name.padEnd(NAME_WIDTH)}${safeText(step.detail)}`;
}

const MAX_VALUE_LENGTH = 200;

const text = (value: JsonValue | undefined): string =>
  typeof value === "string" ? value : JSON.stringify(value ?? null);

/** A sealed statement about a key in one line: document, key, what was said, by whom, when. */
export function describeFact({ members, batch }: FoundFact): string {
  const { value, deleted, retracts, confidence, source } = members;
  const said =
    retracts === undefined
      ? deleted === true
        ? "(deleted)"
        : JSON.stringify(value)
      : "(retraction)";
  const parts = [
    `by replica ${text(members["writer"])}`,
    ...(confidence === undefined ? [] : [`confidence ${text(confidence)}`]),
    ...(source === undefined ? [] : [`source ${JSON.stringify(source)}`]),
    ...(batch === undefined ? [] : [`signed in batch ${batch}`]),
  ];
  const shown = said.length > MAX_VALUE_LENGTH ? `${said.slice(0, MAX_VALUE_LENGTH)}...` : said;
  return `${text(members["doc"])} ${text(members["key"])} = ${shown}, ${parts.join(", ")}`;
}

/** A decision in one line. */
export function describeDecision({ id, record, strength }: VerifiedDecision): string {
  const time = formatInstant(record.decidedAt);
  const said =
    record.kind === "decision"
      ? `${record.model.model} ${record.model.version ?? ""} decided from ${String(record.inputs.length)} facts and ${String(record.checks.length)} checks`
      : `outcome of ${record.of.slice(0, 16)}...`;
  return `${record.kind} ${id.slice(0, 16)}... at ${time}: ${said}; ${strength}`;
}

function sealLines({ kind, statement, logged }: Verdict): string[] {
  if (statement === undefined) return [];
  const { leaves, space, sequence, sealedAt, hub, frontier } = statement;
  const lines = [
    `       sealed ${formatInstant(sealedAt)} by hub ${hub}, covering ${String(frontier.length)} chains`,
  ];
  if (kind !== "bundle") {
    lines.unshift(
      `       in seal ${String(sequence)} of space ${space}, of ${String(leaves)} leaves`,
    );
  }
  if (logged !== undefined) {
    const { head, index, loggedMs, cosignedBy } = logged;
    const by = cosignedBy.length === 0 ? "" : `, cosigned by ${cosignedBy.join(", ")}`;
    lines.push(
      `       logged ${formatInstant(loggedMs)} as entry ${String(index)} of ${head.origin}${by}`,
    );
  }
  return lines;
}

/** What a valid file is, in a few words. */
export function headline({ kind, statement, facts, decisions }: Verdict): string {
  if (kind === "decision") return (decisions ?? []).map(describeDecision).join("; ");
  if (kind === "fact") return `${String(facts?.length ?? 0)} sealed candidates of one fact`;
  const { leaves = 0, space = "", sequence = 0 } = statement ?? {};
  return `${String(leaves)} facts of space ${space}, seal ${String(sequence)}`;
}

function conclusion(verdict: Verdict, options: RenderOptions): string[] {
  const { failed, exitCode, facts = [], decisions = [], kind } = verdict;
  if (failed !== undefined) {
    const lines = [
      `${paint("INVALID", RED, options)}  ${failed.step}: ${safeText(failed.message)} (${failed.code}, exit ${String(exitCode)})`,
    ];
    if (failed.remedy !== undefined) lines.push(`         ${safeText(failed.remedy)}`);
    return lines;
  }
  const details = [
    ...facts.slice(0, MAX_FACTS_SHOWN).map(describeFact),
    ...(kind === "decision" ? [] : decisions.slice(0, MAX_FACTS_SHOWN).map(describeDecision)),
  ];
  return [
    `${paint("VALID", GREEN, options)}  ${safeText(headline(verdict))}`,
    ...sealLines(verdict).map(safeText),
    ...details.map((line) => `       ${safeText(line)}`),
  ];
}

/** A verdict as lines of text with a newline at the end: every step, then the conclusion. */
export const renderVerdict = (verdict: Verdict, options: RenderOptions): string =>
  [
    ...verdict.steps.map((step) => renderStep(step, options)),
    "",
    ...conclusion(verdict, options),
    "",
  ].join("\n");

/**
 * A verdict as JSON: `{valid, exitCode, steps: [{name, ok, detail}], failed?: {step, code, message, remedy?}, kind?,
 * sealed?: {space, sequence, hub, root, leaves, chains, previous, policyEpoch, asOf, sealedAt},
 * logged?: {origin, size, root: base64, index, loggedMs, cosignedBy}, facts?: [{members, batch?}],
 * decisions?: [{id, record, strength}], replicas?: [{replica, batches, facts}]}`. All after `failed` is there only when
 * valid; `chains` counts the frontier's heads; times are Unix milliseconds.
 */
export function verdictToJson(verdict: Verdict): JsonValue {
  const { valid, exitCode, steps, failed, kind, statement, logged, facts, decisions } = verdict;
  const json: Record<string, JsonValue> = {
    valid,
    exitCode,
    steps: steps.map((step) => ({ ...step })),
  };
  if (failed !== undefined) json["failed"] = { ...failed };
  if (kind !== undefined) json["kind"] = kind;
  if (statement !== undefined) {
    const { frontier, ...rest } = statement;
    json["sealed"] = { ...rest, chains: frontier.length };
  }
  if (logged !== undefined) {
    const { head, cosignedBy, ...rest } = logged;
    const { origin, size, root } = head;
    json["logged"] = { origin, size, root: toBase64(root), ...rest, cosignedBy: [...cosignedBy] };
  }
  if (facts !== undefined) json["facts"] = facts.map((fact) => ({ ...fact }));
  if (decisions !== undefined && decisions.length > 0) {
    // Plain data through and through.
    json["decisions"] = decisions.map((decision) => ({ ...decision }) as unknown as JsonValue);
  }
  if (verdict.provenance !== undefined) {
    json["replicas"] = verdict.provenance.replicas.map((share) => ({ ...share }));
  }
  return json;
}
