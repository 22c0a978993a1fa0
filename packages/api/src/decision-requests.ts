// SPDX-License-Identifier: Apache-2.0
/** Parsers of the requests about decisions: shape only. All throw `INPUT_INVALID`, and `LIMIT_EXCEEDED` for too many items. */
import type { DecisionCheck, DecisionRequest, JsonValue } from "@ctxmesh/model";
import { readArray, readBoolean, readObject, readSource, readString, refuse } from "./requests.ts";

/** Inputs, and checks, of one decision. */
const MAX_ITEMS = 256;

function readInput(input: unknown, i: number): { readonly doc: string; readonly key: string } {
  const at = `inputs[${String(i)}]`;
  const { doc, key } = readObject(input, at, ["doc", "key"]);
  return { doc: readString(doc, `${at}.doc`), key: readString(key, `${at}.key`) };
}

function readCheck(check: unknown, i: number): DecisionCheck {
  const at = `checks[${String(i)}]`;
  const { name, passed, detail } = readObject(check, at, ["name", "passed", "detail"]);
  return {
    name: readString(name, `${at}.name`),
    passed: readBoolean(passed, `${at}.passed`),
    ...(detail === undefined ? {} : { detail: readString(detail, `${at}.detail`) }),
  };
}

function readJson(value: unknown, at: string): JsonValue {
  return value === undefined ? refuse(at, `${at} is missing`) : (value as JsonValue);
}

/** Parses the body of `POST /v1/decisions`. */
export function parseDecisionRequest(body: unknown): DecisionRequest {
  const fields = readObject(body, "body", ["model", "inputs", "checks", "output"]);
  return {
    model: readSource(fields["model"], "model"),
    inputs: readArray(fields["inputs"], "inputs", MAX_ITEMS).map(readInput),
    checks: readArray(fields["checks"], "checks", MAX_ITEMS).map(readCheck),
    output: readJson(fields["output"], "output"),
  };
}

/** Parses the body of `POST /v1/outcomes`. */
export function parseOutcomeRequest(body: unknown): {
  readonly of: string;
  readonly outcome: JsonValue;
} {
  const { of, outcome } = readObject(body, "body", ["of", "outcome"]);
  return { of: readString(of, "of"), outcome: readJson(outcome, "outcome") };
}
