// SPDX-License-Identifier: Apache-2.0
/** Prints `N passed, N failed, N skipped` from a JSON report of the test runner. */
import { readFileSync } from "node:fs";
import process from "node:process";

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numFailedTestSuites: number;
  readonly numPendingTests: number;
}

const [path = ""] = process.argv.slice(2);
const report = JSON.parse(readFileSync(path, "utf8")) as Report;
// A file that could not be loaded has no failed tests of its own, and still is a failure.
const failed = Math.max(report.numFailedTests, report.numFailedTestSuites > 0 ? 1 : 0);
const skipped = report.numPendingTests > 0 ? `, ${String(report.numPendingTests)} skipped` : "";
process.stdout.write(
  `${String(report.numPassedTests)} passed, ${String(failed)} failed${skipped}\n`,
);
