// SPDX-License-Identifier: Apache-2.0
/** What one trust root says otherwise than another, in words, so that whoever signs knows what. */
import { FOR_EVER_MS, KEY_ROLES } from "@ctxmesh/ledger";
import type { TrustRoot, TrustedKey } from "@ctxmesh/ledger";
import { formatInstant } from "@ctxmesh/model";
import { printable } from "./output.ts";

type Entries = ReadonlyMap<string, string>;

/** The end of what {@link formatInstant} can write: the year 9999. */
const LAST_INSTANT_MS = 253_402_300_799_999;

/** To the millisecond: what looks the same to whoever signs has to be the same. */
function timeText(ms: number): string {
  if (ms === FOR_EVER_MS) return "for ever";
  return ms > LAST_INSTANT_MS ? `${String(ms)} ms after 1970` : formatInstant(ms);
}

const epochsOf = (root: TrustRoot, role: (typeof KEY_ROLES)[number]): string =>
  root.minAlg[role]
    .map(({ from, algs }) => algs.join(" or ") + (from === 0 ? "" : ` from ${timeText(from)} on`))
    .join(", ");

const keyText = ({ role, scope, validFrom, validUntil, revokedAt, reason }: TrustedKey): string =>
  [
    role,
    `in ${scope.join(" ")}`,
    `valid from ${timeText(validFrom)} until ${timeText(validUntil)}`,
    ...(revokedAt === undefined
      ? []
      : [`revoked from ${timeText(revokedAt)} on: ${printable(reason ?? "")}`]),
  ].join(", ");

/** Everything in a root that somebody could want to know about, by name. */
function entriesOf(root: TrustRoot): Entries {
  const { issued, expires, keys, logs, witnesses, spaces, roles, witnessThreshold } = root;
  return new Map([
    ["issued", timeText(issued)],
    ["expires", timeText(expires)],
    ["root signatures needed", String(roles.root.threshold)],
    ...KEY_ROLES.map((role) => [`algorithms of role ${role}`, epochsOf(root, role)] as const),
    ...spaces.map((space) => [`space ${space}`, ""] as const),
    ...keys.map((entry) => [`${entry.key.alg} key ${entry.key.keyid}`, keyText(entry)] as const),
    ...logs.map(
      ({ origin, ed25519, mldsa44 }) =>
        [`log ${origin}`, `keys ${ed25519.keyid} ${mldsa44.keyid}`] as const,
    ),
    ["witnesses needed", String(witnessThreshold)],
    ...witnesses.map(
      ({ name, ed25519, mldsa44 }) =>
        [
          `witness ${name}`,
          `keys ${[ed25519?.keyid, mldsa44?.keyid].filter((id) => id !== undefined).join(" ")}`,
        ] as const,
    ),
  ]);
}

const withText = (name: string, text: string): string => (text === "" ? name : `${name}: ${text}`);

/** All that a root says, a line each. */
export const describeRoot = (root: TrustRoot): readonly string[] =>
  [...entriesOf(root)].map(([name, text]) => withText(name, text));

/** A line for each thing that `next` adds (`+`), lacks (`-`) or says otherwise (`~`). */
export function rootChanges(old: TrustRoot, next: TrustRoot): readonly string[] {
  const [before, after] = [entriesOf(old), entriesOf(next)];
  return [
    ...[...before]
      .filter(([name]) => !after.has(name))
      .map(([name, text]) => `- ${withText(name, text)}`),
    ...[...after].flatMap(([name, text]) => {
      const was = before.get(name);
      if (was === undefined) return [`+ ${withText(name, text)}`];
      return was === text ? [] : [`~ ${name}: ${was} -> ${text}`];
    }),
  ];
}
