// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: real processes on real networks come together again after silent partitions, moves and deaths.
 * Method: `ctxmesh agent` in network namespaces, joined by cables, bridges and a router that drops packets; needs root.
 */
import { describe, expect, test } from "vitest";
import { IN_NAMESPACES } from "../../scripts/lab/namespace-scenarios.ts";

const SHORT = IN_NAMESPACES.filter(({ sizes }) => sizes.includes("short"));

describe.concurrent("agents in network namespaces", () => {
  test.for(SHORT.map((scenario) => [scenario.name, scenario.what, scenario] as const))(
    "%s: %s",
    { timeout: 180_000 },
    async ([name, , scenario], { skip }) => {
      const reason = await scenario.unavailable();
      if (reason !== undefined) {
        process.stderr.write(`SKIPPED ${name}: ${reason}\n`);
        skip(reason);
      }
      const result = await scenario.run("short");
      expect(result.problems, JSON.stringify(result)).toEqual([]);
    },
  );
});
