// SPDX-License-Identifier: Apache-2.0
import { MeshError, parseInstant } from "@ctxmesh/model";
import { parseDuration } from "./output.ts";

const DURATION = /^\d+[a-z]+$/u;

/**
 * Parses the argument of `--at` as Unix milliseconds: how long ago (`2h`), a date and time with zone (RFC 3339), or
 * Unix milliseconds. Throws `USAGE`.
 */
export function parseMoment(text: string, nowMs: number): number {
  try {
    return DURATION.test(text) ? nowMs - parseDuration(text) : parseInstant(text);
  } catch (error) {
    throw new MeshError("USAGE", `--at ${JSON.stringify(text)} is not a time`, {
      remedy: "write it as 2h (two hours ago), 2026-01-31T14:05:00Z, or Unix milliseconds",
      cause: error,
    });
  }
}
