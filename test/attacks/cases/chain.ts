// SPDX-License-Identifier: Apache-2.0
/** Attacks on who writes, when, and where in which chain. */
import { decodeBatch, encodeBatch } from "@ctxmesh/codec";
import type { HeaderHash, Hlc } from "@ctxmesh/model";
import { by } from "../support/attack.ts";
import type { Attack } from "../support/attack.ts";
import {
  DAY_MS,
  fact,
  factsOf,
  forge,
  forgeChain,
  hlcAt,
  incarnationOf,
  unknownHash,
} from "../support/forge.ts";
import type { Forgery } from "../support/forge.ts";
import { early, expired, honest, mallory, reader, stranger, us } from "../support/ground.ts";
import type { Ground } from "../support/ground.ts";
import { SIGNATURES } from "../support/signatures.ts";

const signAsUs = (input: Uint8Array): Uint8Array => us.signer.sign(input);

const attack = (
  name: string,
  verdict: Attack["verdict"],
  forgery: Partial<Forgery> | ((ground: Ground) => Partial<Forgery>),
): Attack => ({
  name,
  verdict,
  build: (ground) => [by(ground, typeof forgery === "function" ? forgery(ground) : forgery).bytes],
});

/** Three batches of the attacker, of which the replica has two. */
const chain = (ground: Ground) => forgeChain(3, { device: mallory, space: ground.space.id });
const firstTwo = (ground: Ground): readonly Uint8Array[] =>
  chain(ground)
    .slice(0, 2)
    .map(({ bytes }) => bytes);

/** Ids of the two. */
interface Hashes {
  readonly first: HeaderHash | null;
  readonly second: HeaderHash | null;
}

/** A third batch behind the two. */
const third = (
  name: string,
  verdict: Attack["verdict"],
  change: (hashes: Hashes) => Partial<Forgery>,
): Attack => ({
  name,
  verdict,
  before: firstTwo,
  build(ground) {
    const [first, second] = chain(ground);
    const hashes = { first: first?.hash ?? null, second: second?.hash ?? null };
    return [by(ground, { seq: 3, prev: hashes.second, ...change(hashes) }).bytes];
  },
});

const members: readonly Attack[] = [
  attack("no grant", "refused grant", { device: stranger }),
  attack("a reader that writes", "refused grant", { device: reader }),
  attack("no grant, and a clock of tomorrow", "refused grant", {
    device: stranger,
    hlc: hlcAt(DAY_MS),
  }),
  attack("a batch for another space", "refused space", ({ otherSpace }) => ({
    space: otherSpace.id,
  })),
  attack("a grant that ended", "held grant-time", { device: expired }),
  attack("a grant that has not begun", "held grant-time", { device: early }),
  attack("a clock of the time when the grant was good, unsigned", "refused signature", {
    device: expired,
    hlc: hlcAt(-2 * DAY_MS),
    sign: () => new Uint8Array(64),
  }),
];

const clocks: readonly Attack[] = [
  attack("a clock two minutes ahead", "held clock-ahead", { hlc: hlcAt(120_000) }),
  attack("the greatest clock there is", "held grant-time", { hlc: Number.MAX_SAFE_INTEGER as Hlc }),
  attack("a clock before the device was granted anything", "held grant-time", { hlc: 0 as Hlc }),
  attack("a policy epoch that nobody knows", "held epoch", { epoch: 7 }),
  third("a clock that stands still", "refused chain", () => ({ hlc: hlcAt(2) })),
  third("a clock that goes back", "refused chain", () => ({ hlc: hlcAt(1) })),
];

const positions: readonly Attack[] = [
  {
    name: "replay of an honest batch, 100 times",
    build: ({ base }) => Array.from({ length: 100 }, () => base[0] ?? new Uint8Array()),
    verdict: { duplicate: 100 },
  },
  {
    name: "replay of the attacker's own batches, newest first",
    before: firstTwo,
    build: (ground) => firstTwo(ground).toReversed(),
    verdict: "duplicate",
  },
  {
    name: "a chain in the wrong order",
    build: (ground) =>
      chain(ground)
        .slice(1)
        .toReversed()
        .map(({ bytes }) => bytes),
    verdict: "held missing",
  },
  third("a gap behind a known predecessor", "refused chain", () => ({ seq: 4 })),
  third("the greatest seq there is", "refused chain", () => {
    const seq = Number.MAX_SAFE_INTEGER;
    return { seq, hlc: hlcAt(3), sections: [factsOf([fact({ seq, hlc: hlcAt(3) })])] };
  }),
  third("two batches that changed places", "refused chain", ({ second }) => ({
    incarnation: incarnationOf(10),
    prev: second,
  })),
  attack("a chain on the honest device's head", "refused chain", ({ honestHead }) => ({
    seq: 4,
    prev: honestHead,
  })),
  {
    name: "another batch where one stands",
    before: firstTwo,
    build: (ground) => {
      const prev = chain(ground)[0]?.hash ?? null;
      return [by(ground, { seq: 2, prev, hlc: hlcAt(9) }).bytes];
    },
    verdict: "refused equivocation",
    forksAt: 2,
  },
  {
    name: "another batch where one stands, 50 times",
    before: firstTwo,
    build: (ground) => {
      const prev = chain(ground)[0]?.hash ?? null;
      return Array.from(
        { length: 50 },
        (_, i) => by(ground, { seq: 2, prev, hlc: hlcAt(9 + i) }).bytes,
      );
    },
    verdict: "refused equivocation",
    forksAt: 2,
  },
  {
    ...third(
      "another predecessor than the one that stands",
      "refused equivocation",
      ({ first }) => ({
        prev: first,
      }),
    ),
    forksAt: 2,
  },
  {
    name: "another beginning of a chain",
    before: firstTwo,
    build: (ground) => [by(ground, { hlc: hlcAt(9) }).bytes],
    verdict: "refused equivocation",
    forksAt: 1,
  },
  {
    name: "another batch where one stands, signed by somebody else",
    before: firstTwo,
    build: (ground) => {
      const prev = chain(ground)[0]?.hash ?? null;
      return [by(ground, { seq: 2, prev, hlc: hlcAt(9), sign: signAsUs }).bytes];
    },
    verdict: "refused signature",
  },
];

const SEED = new Uint8Array(32).fill(3);

const signed = (name: string, sign: NonNullable<Forgery["sign"]>): Attack =>
  attack(name, "refused signature", { sign });

const signatures: readonly Attack[] = [
  signed("no signature", () => new Uint8Array(64)),
  signed("another device's signature", (input) => us.signer.sign(input)),
  signed("a signature of the header without its domain", (input) =>
    mallory.signer.sign(input.subarray("ctxmesh/batch/v1\n".length)),
  ),
  signed("a signature with torsion in R", (input) => SIGNATURES.torsionInR(SEED, input)),
  signed("a signature whose R is the identity", (input) => SIGNATURES.identityR(SEED, input)),
  signed("a signature with S + L", (input) => SIGNATURES.sPlusL(SEED, input)),
  {
    name: "a grafted signature: valid, of another header",
    build(ground) {
      const { signature } = by(ground);
      return [encodeBatch({ ...by(ground, { hlc: hlcAt(2) }), signature })];
    },
    verdict: "refused signature",
  },
  {
    name: "an honest header with the attacker's signature and body",
    build({ space, next: [honestNext = new Uint8Array()] }) {
      const { header, headerBytes } = decodeBatch(honestNext);
      const { bodies } = forge({ device: mallory, space: space.id });
      const { signature } = forge({ device: mallory, space: space.id, hlc: header.hlc });
      return [encodeBatch({ headerBytes, signature, bodies })];
    },
    verdict: "refused signature",
  },
  {
    name: "a batch in the honest device's name",
    build: ({ space, honestHead }) => [
      forge({
        device: honest,
        space: space.id,
        incarnation: incarnationOf(11),
        deps: [honestHead],
        sign: (input) => mallory.signer.sign(input),
      }).bytes,
    ],
    verdict: "refused signature",
  },
  attack("a batch in the attacked device's own name", "refused signature", {
    device: us,
    sign: (input) => mallory.signer.sign(input),
  }),
  attack("a held batch is signed, too", "refused signature", {
    seq: 9,
    prev: unknownHash(),
    sign: () => new Uint8Array(64),
  }),
];

/** Attacks on membership, clocks, chains and signatures. */
export const CHAIN: readonly Attack[] = [...members, ...clocks, ...positions, ...signatures];
