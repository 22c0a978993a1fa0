// SPDX-License-Identifier: Apache-2.0
/** The parser of `GET /v1/events`. */
import { parseInstant } from "@ctxmesh/model";
import type { EventQuery, Priority } from "@ctxmesh/model";
import { readFlag, readLimit, readQuery, refuse } from "./requests.ts";

/** What is asked for, and in which form. */
export interface EventRequest {
  readonly query: EventQuery;
  /** One page, all that there is, or that and what comes. */
  readonly form: "page" | "stream" | "follow";
  /** Events of a page; default 100. */
  readonly limit: number;
  /** Events of a stream in a second, at most. */
  readonly rate?: number;
}

const TEXTS = [
  "doc",
  "prefix",
  "pattern",
  "source",
  "model",
] as const satisfies readonly (keyof EventQuery)[];
const OTHERS = ["since", "until", "minConfidence", "priority", "limit", "stream", "follow", "rate"];
const DEFAULT_PAGE = 100;
const MAX_PAGE = 1_000;
/** One in a quarter of an hour: timers can't wait for much more. */
const MIN_RATE = 0.001;
const MAX_RATE = 100_000;

/** A time as Unix milliseconds; everything else is left to the service, as a position. */
const readPlace = (text: string, at: string): string | number =>
  /^\d{1,16}$|^\d{4}-/u.test(text) ? parseInstant(text, at) : text;

function readShare(text: string, at: string): number {
  const value = Number(text);
  return text.trim() !== "" && value >= 0 && value <= 1
    ? value
    : refuse(at, `query parameter ${at} must be a number from 0 to 1`);
}

function readRate(text: string): number {
  const value = Number(text);
  return text.trim() !== "" && value >= MIN_RATE && value <= MAX_RATE
    ? value
    : refuse(
        "rate",
        `query parameter rate must be ${String(MIN_RATE)} to ${String(MAX_RATE)} a second`,
      );
}

/**
 * Parses the query of `GET /v1/events`; `lastId` is the header `Last-Event-ID`, which a client that connects again sends, and counts more
 * than `since`. Throws `INPUT_INVALID`.
 */
export function parseEventRequest(query: unknown, lastId: string | undefined): EventRequest {
  const { since, until, minConfidence, priority, limit, stream, follow, rate, ...texts } =
    readQuery(query, [...TEXTS, ...OTHERS]);
  const follows = readFlag(follow, "follow");
  const form = follows ? "follow" : readFlag(stream, "stream") ? "stream" : "page";
  if (form === "page" && rate !== undefined) {
    refuse("rate", "rate is for a stream", "add stream=1 or follow=1");
  }
  if (form !== "page" && limit !== undefined) {
    refuse("limit", "limit is for a page", "leave stream and follow out");
  }
  const page = readLimit(limit).limit ?? DEFAULT_PAGE;
  if (page > MAX_PAGE) refuse("limit", `limit must be 1 to ${String(MAX_PAGE)}`);
  const start = lastId === undefined || lastId === "" ? since : lastId;
  return {
    form,
    limit: page,
    ...(rate === undefined ? {} : { rate: readRate(rate) }),
    query: {
      ...texts,
      ...(start === undefined ? {} : { since: readPlace(start, "since") }),
      ...(until === undefined ? {} : { until: readPlace(until, "until") }),
      ...(minConfidence === undefined
        ? {}
        : { minConfidence: readShare(minConfidence, "minConfidence") }),
      ...(priority === undefined ? {} : { priority: priority as Priority }),
    },
  };
}
