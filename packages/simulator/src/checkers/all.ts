// SPDX-License-Identifier: Apache-2.0
/** The checkers of the invariants; I14 has none, since it is a comparison of two runs. */
import type { Checker } from "../world.ts";
import { createAccountingChecker } from "./accounting.ts";
import { createBoundsChecker } from "./bounds.ts";
import { createCausalityChecker } from "./causality.ts";
import { Chronicle } from "./chronicle.ts";
import { createConvergenceChecker } from "./convergence.ts";
import { createDurabilityChecker } from "./durability.ts";
import { createEquivocationChecker } from "./equivocation.ts";
import { createForgettingChecker } from "./forgetting.ts";
import { createLevelChecker } from "./levels.ts";
import { createLivenessChecker } from "./liveness.ts";
import { createLogChecker } from "./log-growth.ts";
import { createRevocationChecker } from "./revocation.ts";
import { createSealContentChecker } from "./seal-content.ts";
import { createSealerChecker } from "./sealers.ts";
import { createSessionChecker } from "./sessions.ts";

/** What each invariant says. */
export const INVARIANTS = {
  I1: "equal frontiers have equal content, at every step",
  I2: "no acknowledged write is lost",
  I3: "what is applied is causally closed",
  I4: "clients read what they wrote, and never backwards",
  I5: "what was deleted or retracted never comes back",
  I6: "a seal never changes, and is what its frontier comes to",
  I7: "a hub's log is only appended to",
  I8: "a hub has one sealer",
  I9: "a fork is proven everywhere a minute after healing",
  I10: "nothing of a revoked device counts beyond what stands",
  I11: "every queue, buffer and disk is bounded",
  I12: "a minute after healing all are equal, and writes are acknowledged after ten seconds",
  I13: "every batch that was received has one outcome",
  I14: "the same seed gives the same trace",
  I15: "what is read strong or bounded is as new as it has to be, and of strong writes on one version one is made",
} as const;

/** Name of an invariant. */
export type Invariant = keyof typeof INVARIANTS;

/** Fresh checkers of all invariants but I14, or of some of them, for one run. */
export function createCheckers(only?: readonly Invariant[]): readonly Checker[] {
  const chronicle = new Chronicle();
  const all: readonly Checker[] = [
    createConvergenceChecker(),
    createDurabilityChecker(),
    createCausalityChecker(chronicle),
    createSessionChecker(),
    createForgettingChecker(chronicle),
    createSealContentChecker(chronicle),
    createLogChecker(),
    createSealerChecker(),
    createEquivocationChecker(),
    createRevocationChecker(chronicle),
    createBoundsChecker(chronicle),
    createLivenessChecker(chronicle),
    createAccountingChecker(chronicle),
    createLevelChecker(),
  ];
  const wanted = all.filter(({ name }) => only === undefined || only.some((one) => one === name));
  const keeper: Checker = {
    name: "chronicle",
    onEvent: (event, world) => {
      chronicle.onEvent(event, world);
    },
  };
  return [keeper, ...wanted];
}
