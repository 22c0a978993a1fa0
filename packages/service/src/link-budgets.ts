// SPDX-License-Identifier: Apache-2.0
/** How much may go over which link, as an operator says it. */
import { MeshError } from "@ctxmesh/model";
import type { Remote } from "@ctxmesh/model";

/**
 * Budgets by whom they are for: `default`, the first eight or more hex digits of a device key, or an address in which `*` is any text. The
 * value is a rate such as `256kbit` or `unlimited`.
 */
export type LinkBudgets = Readonly<Record<string, string>>;

/** A rate as text: bits per second, counted in thousands; 8 kbit at least. */
export const RATE: RegExp = /^(?:unlimited|([1-9][0-9]{0,5})(kbit|mbit|gbit))$/u;

const UNITS: Readonly<Record<string, number>> = { kbit: 1e3, mbit: 1e6, gbit: 1e9 };
const BITS_PER_BYTE = 8;
/** Below this a header alone would take a second. */
const LEAST_KBIT = 8;
const DEVICE = /^[0-9a-f]{8,64}$/u;

function refuse(message: string): never {
  throw new MeshError("CONFIG_INVALID", message, {
    field: "links",
    remedy: "write a rate as 256kbit, 2mbit, 1gbit or unlimited, and 8kbit at least",
  });
}

/** Bytes per second of a rate; undefined for `unlimited`. Throws `CONFIG_INVALID`. */
export function parseRate(text: string): number | undefined {
  const match = RATE.exec(text);
  if (match === null) return refuse(`${JSON.stringify(text.slice(0, 80))} is not a rate`);
  const [, count, unit] = match;
  if (count === undefined || unit === undefined) return undefined;
  const bits = Number(count) * (UNITS[unit] ?? 1);
  return bits < LEAST_KBIT * 1e3
    ? refuse(`${text} is too little for a link`)
    : bits / BITS_PER_BYTE;
}

/** Whether a text matches a pattern in which `*` is any text. */
function matches(pattern: string, text: string): boolean {
  const parts = pattern.split("*").map((part) => part.replaceAll(/[\\^$.+?()[\]{}|/-]/gu, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`, "u").test(text);
}

/** The budget of each remote, in bytes per second: by its device first, then by its address, in the order given. Throws `CONFIG_INVALID`. */
export function budgetsOf(budgets: LinkBudgets): (remote: Remote) => number | undefined {
  const { default: other, ...named } = budgets;
  const rest = other === undefined ? undefined : parseRate(other);
  const rules = Object.entries(named).map(([name, text]) => ({
    name,
    isDevice: DEVICE.test(name),
    rate: parseRate(text),
  }));
  return ({ device, address }) => {
    const rule =
      rules.find(({ name, isDevice }) => isDevice && device.startsWith(name)) ??
      rules.find(({ name, isDevice }) => !isDevice && matches(name, address));
    return rule === undefined ? rest : rule.rate;
  };
}
