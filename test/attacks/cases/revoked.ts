// SPDX-License-Identifier: Apache-2.0
/** Attacks by a device that was revoked: after its first batch nothing of it stands. */
import { by } from "../support/attack.ts";
import type { Attack } from "../support/attack.ts";
import {
  DAY_MS,
  INCARNATION,
  START_MS,
  forgeChain,
  hlcAt,
  incarnationOf,
} from "../support/forge.ts";
import type { Forged, Forgery } from "../support/forge.ts";
import { creator, removed } from "../support/ground.ts";
import type { Ground } from "../support/ground.ts";
import { revocationOf } from "../support/membership.ts";

const chain = ({ space }: Ground): readonly Forged[] =>
  forgeChain(3, { device: removed, space: space.id });

const firstOf = (ground: Ground): Forged => {
  const [first] = chain(ground);
  if (first === undefined) throw new Error("no batch");
  return first;
};

const revoked = (
  name: string,
  forgery: (first: Forged) => Partial<Forgery>,
  verdict: Attack["verdict"] = "refused revoked",
): Attack => ({
  name: `${name} after a revocation`,
  before: (ground) => [firstOf(ground).bytes],
  acts: (ground) => {
    const { hash } = firstOf(ground);
    const stands = [{ incarnation: INCARNATION, seq: 1, hash }];
    return revocationOf(ground.space, creator.signer, removed.key, stands, START_MS + 10);
  },
  build: (ground) => [by(ground, { device: removed, ...forgery(firstOf(ground)) }).bytes],
  verdict,
});

/** Batches of a device that was revoked. */
export const REVOKED: readonly Attack[] = [
  revoked("the next batch of the chain", ({ hash }) => ({ seq: 2, prev: hash })),
  revoked("a back-dated next batch", ({ hash }) => ({ seq: 2, prev: hash, hlc: hlcAt(1.5) })),
  revoked("a batch far up the chain", ({ hash }) => ({ seq: 9, prev: hash })),
  revoked("a new chain", () => ({ incarnation: incarnationOf(77) })),
  revoked("a back-dated new chain", () => ({
    incarnation: incarnationOf(77),
    hlc: hlcAt(-DAY_MS / 2),
  })),
  {
    // Whoever has a device's key can always prove that its chain forks, and so void it.
    ...revoked(
      "another history below the cut",
      () => ({ hlc: hlcAt(-500) }),
      "refused equivocation",
    ),
    forksAt: 1,
  },
  revoked("the batch that stands, again", () => ({}), "duplicate"),
  {
    ...revoked("batches that had been accepted", () => ({})),
    before: (ground) => chain(ground).map(({ bytes }) => bytes),
    build: (ground) => chain(ground).map(({ bytes }) => bytes),
    verdict: "duplicate",
  },
];
