// SPDX-License-Identifier: Apache-2.0
/** Moments as text, worked out without the system's clock and time zone. */
import { MeshError } from "./errors.ts";

const UNIX_MS = /^\d{1,16}$/u;
const RFC_3339 =
  /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))$/u;
const DAY_MS = 86_400_000;
const DAYS_PER_ERA = 146_097;

/**
 * Days from 1970-01-01 to a date of the Gregorian calendar: years begin in March here, so that the leap day is their
 * last one, and 400 of them are an era (H. Hinnant, "chrono-compatible low-level date algorithms").
 */
function daysOf(year: number, month: number, day: number): number {
  const shifted = month > 2 ? year : year - 1;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  const leapDays = Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100);
  return era * DAYS_PER_ERA + yearOfEra * 365 + leapDays + dayOfYear - 719_468;
}

/** The inverse of {@link daysOf}. */
function dateOf(days: number): readonly [year: number, month: number, day: number] {
  const shifted = days + 719_468;
  const era = Math.floor(shifted / DAYS_PER_ERA);
  const dayOfEra = shifted - era * DAYS_PER_ERA;
  const leapDays =
    Math.floor(dayOfEra / 1_460) - Math.floor(dayOfEra / 36_524) + Math.floor(dayOfEra / 146_096);
  const yearOfEra = Math.floor((dayOfEra - leapDays) / 365);
  const dayOfYear =
    dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1;
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9;
  return [yearOfEra + era * 400 + (month > 2 ? 0 : 1), month, day];
}

const isOnClock = (hour: number, minute: number): boolean => hour < 24 && minute < 60;

/** NaN for what is no moment. */
function msOf(text: string): number {
  const match = RFC_3339.exec(text);
  if (match === null) return Number.NaN;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match
    .slice(1, 7)
    .map(Number);
  const [fraction = "", sign = "+", zoneHour = "0", zoneMinute = "0"] = match.slice(7);
  const days = daysOf(year, month, day);
  // A day that does not exist, such as February 30, comes back as another one.
  const [, sameMonth, sameDay] = dateOf(days);
  const exists = month >= 1 && month <= 12 && sameMonth === month && sameDay === day;
  if (!exists || !isOnClock(hour, minute) || second > 59) return Number.NaN;
  if (!isOnClock(Number(zoneHour), Number(zoneMinute))) return Number.NaN;
  const zone = (sign === "-" ? -1 : 1) * (Number(zoneHour) * 60 + Number(zoneMinute));
  const seconds = (hour * 60 + minute - zone) * 60 + second;
  return days * DAY_MS + seconds * 1_000 + Number(fraction.padEnd(3, "0").slice(0, 3));
}

/**
 * Parses a moment as Unix milliseconds: a date and time with zone (RFC 3339, section 5.6, without leap seconds;
 * parts of milliseconds are cut off), or Unix milliseconds themselves. Throws `INPUT_INVALID`, field `at`.
 */
export function parseInstant(text: string, field = "at"): number {
  const ms = UNIX_MS.test(text) ? Number(text) : msOf(text);
  if (Number.isSafeInteger(ms)) return ms;
  throw new MeshError("INPUT_INVALID", `${JSON.stringify(text.slice(0, 80))} is not a time`, {
    field,
    remedy:
      "write it as 2026-01-31T14:05:00Z, with Z or an offset such as +01:00, or as Unix milliseconds",
  });
}

const padded = (value: number, length = 2): string => String(value).padStart(length, "0");

/** A moment from 1970 to the end of 9999 (Unix milliseconds) in UTC: `2026-01-31T14:05:00.000Z`. */
export function formatInstant(ms: number): string {
  const [year, month, day] = dateOf(Math.floor(ms / DAY_MS));
  const inDay = ms % DAY_MS;
  const hour = Math.floor(inDay / 3_600_000);
  const minute = Math.floor(inDay / 60_000) % 60;
  const second = Math.floor(inDay / 1_000) % 60;
  const date = `${padded(year, 4)}-${padded(month)}-${padded(day)}`;
  return `${date}T${padded(hour)}:${padded(minute)}:${padded(second)}.${padded(inDay % 1_000, 3)}Z`;
}
