// SPDX-License-Identifier: Apache-2.0
/** Verdicts for people and for programs. */
import type { Verdict, VerdictStep } from "@ctxmesh/ledger";
import type { JsonValue } from "@ctxmesh/model";

/** How {@link renderVerdict} writes. */
export interface RenderOptions {
  /** Use ANSI colours. */
  readonly color: boolean;
}

/** Control and direction characters: a hostile file must not steer the reader's terminal. */
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

const safe = (text: string): string =>
  text.replace(
    UNSAFE,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );

const paint = (text: string, code: number, { color }: RenderOptions): string =>
  color ? `\u001b[${String(code)}m${text}\u001b[0m` : text;

const GREEN = 32;
const RED = 31;
const NAME_WIDTH = 22;

function renderStep(step: VerdictStep, options: RenderOptions): string {
  const mark = step.ok ? paint("ok  ", GREEN, options) : paint("FAIL", RED, options);
  return `${mark}  ${step.name.padEnd(NAME_WIDTH)}${safe(step.detail)}`;
}

function conclusion({ statement, failed, exitCode }: Verdict, options: RenderOptions): string[] {
  if (failed !== undefined) {
    const lines = [
      `${paint("INVALID", RED, options)}  ${failed.step}: ${safe(failed.message)} (${failed.code}, exit ${String(exitCode)})`,
    ];
    if (failed.remedy !== undefined) lines.push(`         ${safe(failed.remedy)}`);
    return lines;
  }
  if (statement === undefined) return [];
  const { leaves, space, sequence, sealedAt, hub, frontier } = statement;
  return [
    `${paint("VALID", GREEN, options)}  ${String(leaves)} facts of space ${space}, seal ${String(sequence)}`,
    `       sealed ${new Date(sealedAt).toISOString()} by hub ${hub}, covering ${String(frontier.length)} chains`,
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
 * A verdict as JSON: `{valid, exitCode, steps: [{name, ok, detail}], failed?: {step, code, message,
 * remedy?}, sealed?: {space, sequence, hub, root, leaves, chains, previous, policyEpoch, asOf, sealedAt}}`.
 * `sealed` is there only when valid; `chains` counts the frontier's heads; `sealedAt` is Unix milliseconds.
 */
export function verdictToJson({ valid, exitCode, steps, failed, statement }: Verdict): JsonValue {
  const json: Record<string, JsonValue> = {
    valid,
    exitCode,
    steps: steps.map((step) => ({ ...step })),
  };
  if (failed !== undefined) json["failed"] = { ...failed };
  if (statement !== undefined) {
    const { frontier, ...rest } = statement;
    json["sealed"] = { ...rest, chains: frontier.length };
  }
  return json;
}
