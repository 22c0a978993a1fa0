// SPDX-License-Identifier: Apache-2.0
/** Quantities as people write them in a scenario, and times as reports show them. */

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: SECOND,
  m: MINUTE,
  min: MINUTE,
  h: HOUR,
  d: DAY,
};
const NUMBER = "([0-9]{1,9}(?:\\.[0-9]{1,6})?)";
const DURATION = new RegExp(`^(-?)${NUMBER}(ms|s|m|min|h|d)$`, "u");
const RATE = new RegExp(`^${NUMBER} ?/ ?(s|m|min|h|d)$`, "u");
const BANDWIDTH = new RegExp(`^${NUMBER} ?(kbit|Mbit|Gbit)/s$`, "u");
const PERCENT = new RegExp(`^${NUMBER} ?%$`, "u");
const BITS: Readonly<Record<string, number>> = { kbit: 1e3, Mbit: 1e6, Gbit: 1e9 };

/** Milliseconds of `500ms`, `1.5s`, `10m`, `2h`, `7d`, also below zero; undefined for anything else. */
export function durationOf(text: string): number | undefined {
  const [, sign, count, unit = ""] = DURATION.exec(text) ?? [];
  if (count === undefined) return undefined;
  const ms = Math.round(Number(count) * (UNITS[unit] ?? 0));
  return sign === "-" && ms > 0 ? -ms : ms;
}

/** Times per millisecond of `2/s`, `30/min`, `1/h`, `4/d`; undefined for anything else. */
export function rateOf(text: string): number | undefined {
  const [, count, unit = ""] = RATE.exec(text) ?? [];
  return count === undefined ? undefined : Number(count) / (UNITS[unit] ?? 1);
}

/** Bytes per millisecond of `256 kbit/s`, `10 Mbit/s`, `1 Gbit/s`; undefined for anything else. */
export function bandwidthOf(text: string): number | undefined {
  const [, count, unit = ""] = BANDWIDTH.exec(text) ?? [];
  return count === undefined ? undefined : (Number(count) * (BITS[unit] ?? 0)) / 8_000;
}

/** The probability of `0.5%`; undefined for anything else. */
export function percentOf(text: string): number | undefined {
  const count = PERCENT.exec(text)?.[1];
  return count === undefined ? undefined : Number(count) / 100;
}

/** The two ends of `20ms..60ms` or `0.6..0.9`, each parsed; undefined for anything else, and when they are in the wrong order. */
export function rangeOf(
  text: string,
  parse: (part: string) => number | undefined,
): { readonly min: number; readonly max: number } | undefined {
  const parts = text.split("..");
  const [min, max = min] = parts.map((part) => parse(part.trim()));
  if (parts.length > 2 || min === undefined || max === undefined || max < min) return undefined;
  return { min, max };
}

/** Two units that say a time in short: `3 h 20 min`. */
const twoUnits = (ms: number, large: number, small: number, names: readonly string[]): string => {
  const whole = Math.round(ms / small);
  const count = Math.floor((whole * small) / large);
  const rest = whole - (count * large) / small;
  return rest === 0
    ? `${String(count)} ${names[0] ?? ""}`
    : `${String(count)} ${names[0] ?? ""} ${String(rest)} ${names[1] ?? ""}`;
};

/** A time for people, to two or three digits: `0 ms`, `18 ms`, `2.4 s`, `3 min 20 s`, `22 h 5 min`. */
export function showTime(ms: number): string {
  if (ms < 0) return `-${showTime(-ms)}`;
  if (ms < 999.5) return `${ms > 0 && ms < 10 ? String(Number(ms.toFixed(1))) : ms.toFixed(0)} ms`;
  if (ms < 59_950) return `${String(Number((ms / SECOND).toFixed(1)))} s`;
  if (ms < HOUR - 500) return twoUnits(ms, MINUTE, SECOND, ["min", "s"]);
  if (ms < DAY - 30_000) return twoUnits(ms, HOUR, MINUTE, ["h", "min"]);
  return twoUnits(ms, DAY, HOUR, ["d", "h"]);
}

/** Bytes for people: `812 B`, `3.4 MB`. */
export function showBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const place = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  return `${place === 0 ? String(bytes) : (bytes / 1_000 ** place).toFixed(1)} ${units[place] ?? ""}`;
}
