// SPDX-License-Identifier: Apache-2.0
import { EXIT, MeshError } from "@ctxmesh/model";
import {
  createCheckers,
  renderReportHtml,
  renderReportText,
  runScenario,
  showTime,
} from "@ctxmesh/simulator";
import type { Scenario, ScenarioReport } from "@ctxmesh/simulator";
import { loadScenario } from "../config/scenario-file.ts";
import { writeWhole } from "../files.ts";
import { createOutput, printable } from "../output.ts";
import { createProgress } from "../progress.ts";
import { EXAMPLE_SCENARIO } from "./simulate-example.ts";

/** Options of `ctxmesh simulate`. */
export interface SimulateOptions {
  readonly seed?: number;
  readonly html?: string;
  readonly example?: boolean;
  readonly json?: boolean;
}

async function run(scenario: Scenario): Promise<ScenarioReport> {
  const progress = createProgress();
  const startedMs = performance.now();
  try {
    return await runScenario(scenario, {
      checkers: createCheckers(),
      onProgress: (simulatedMs) => {
        const times = Math.round(simulatedMs / Math.max(1, performance.now() - startedMs));
        const share = Math.floor((100 * simulatedMs) / scenario.durationMs);
        progress.show(
          `${String(share)} %  ${showTime(simulatedMs)} of ${showTime(scenario.durationMs)}, ${String(times)} times as fast as real`,
        );
      },
    });
  } finally {
    progress.clear();
  }
}

/**
 * Runs a scenario and prints its report; the exit code is 1 when an invariant was violated or the nodes still differed at
 * the end. Throws `USAGE` without a scenario, `FILE_UNAVAILABLE`, `LIMIT_EXCEEDED` or `CONFIG_INVALID`.
 */
export async function runSimulate(
  file: string | undefined,
  options: SimulateOptions,
): Promise<void> {
  const output = createOutput(options);
  if (options.example === true) {
    await output.line(EXAMPLE_SCENARIO.trimEnd());
    return;
  }
  if (file === undefined) {
    throw new MeshError("USAGE", "which scenario?", {
      remedy: "name a file; ctxmesh simulate --example prints one to start from",
    });
  }
  const loaded = await loadScenario(file);
  const scenario = options.seed === undefined ? loaded : { ...loaded, seed: options.seed };
  const report = await run(scenario);
  if (options.html !== undefined) {
    await writeWhole(options.html, renderReportHtml(report), {
      field: "--html",
      remedy: "choose a file in a folder that exists",
    });
  }
  if (report.invariants.violations.length > 0 || !report.convergence.equal) {
    process.exitCode = EXIT.failed;
  }
  await output.line(output.json ? JSON.stringify(report) : textOf(report, output));
}

/** Names and values come from the file, so they must not drive the terminal; styles are put in line by line. */
function textOf(report: ScenarioReport, output: ReturnType<typeof createOutput>): string {
  return renderReportText(report, {
    heading: (text) => output.style("bold", text),
    bad: (text) => output.style("red", text),
    plain: (text) => printable(text),
  });
}
