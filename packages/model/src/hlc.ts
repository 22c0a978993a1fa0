// SPDX-License-Identifier: Apache-2.0
/**
 * Hybrid logical clock values (Kulkarni et al., "Logical Physical Clocks", 2014).
 *
 * One value is one safe integer, so that ordering is a plain number comparison:
 * `(unix milliseconds - HLC_EPOCH_MS) * 4096 + counter`, which lasts until the year 2089.
 */

/** A hybrid logical clock value; compare with `<`. */
export type Hlc = number & { readonly __brand: "Hlc" };

/** 2020-01-01T00:00:00Z in Unix milliseconds. */
export const HLC_EPOCH_MS = 1_577_836_800_000;
/** Counter values per millisecond. */
export const HLC_COUNTERS_PER_MS = 4096;

/** The first {@link Hlc} of a millisecond. */
export const hlcFromMs = (unixMs: number): Hlc =>
  (Math.max(0, Math.floor(unixMs) - HLC_EPOCH_MS) * HLC_COUNTERS_PER_MS) as Hlc;

/** The Unix milliseconds of an {@link Hlc}. */
export const hlcToMs = (hlc: Hlc): number => Math.floor(hlc / HLC_COUNTERS_PER_MS) + HLC_EPOCH_MS;

/** Whether a number off the wire can be an {@link Hlc}. */
export const isHlc = (value: unknown): value is Hlc =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
