// SPDX-License-Identifier: Apache-2.0
/** The text that says which batches an agent keeps. */

/** `all`, or what is sealed and older than so many days or hours. */
export const RETAIN: RegExp = /^(?:all|sealed\+[1-9][0-9]{0,3}[dh])$/u;

const HOUR_MS = 3_600_000;

/** The setting of an agent that a text of {@link RETAIN} stands for; nothing when all is kept. */
export function retainedMs(text: string): { readonly retainSealedMs?: number } {
  const [, number, unit] = /^sealed\+([0-9]+)([dh])$/u.exec(text) ?? [];
  if (number === undefined) return {};
  return { retainSealedMs: Number(number) * (unit === "d" ? 24 : 1) * HOUR_MS };
}
