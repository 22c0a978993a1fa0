// SPDX-License-Identifier: Apache-2.0
import { CHAIN } from "./cases/chain.ts";
import { CONTENT } from "./cases/content.ts";
import { HOLD } from "./cases/hold.ts";
import { REVOKED } from "./cases/revoked.ts";
import { RICH } from "./cases/rich.ts";
import { SEARCH } from "./cases/search.ts";
import { WIRE } from "./cases/wire.ts";
import type { Attack } from "./support/attack.ts";

/** Every attack, in the order of the checks. */
export const ATTACKS: readonly Attack[] = [
  ...WIRE,
  ...CHAIN,
  ...REVOKED,
  ...CONTENT,
  ...RICH,
  ...SEARCH,
  ...HOLD,
];
