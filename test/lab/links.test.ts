// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: whatever the links do, once they are good again all agents hold the same, all that was written, and nothing twice.
 * Method: agents in this process with real stores and sockets, every connection over an emulated link; `npm run lab` has
 * the same at full length.
 */
import { describe, expect, test } from "vitest";
import { EMULATED } from "../../scripts/lab/emulated-scenarios.ts";

const SHORT = EMULATED.filter(({ sizes }) => sizes.includes("short"));

describe.concurrent("agents over bad links", () => {
  test.each(SHORT.map((scenario) => [scenario.name, scenario.what, scenario] as const))(
    "%s: %s",
    { timeout: 180_000 },
    async (_, __, scenario) => {
      const result = await scenario.run("short");
      expect(result.problems, JSON.stringify(result)).toEqual([]);
    },
  );
});
