// SPDX-License-Identifier: Apache-2.0
/** `npm run tamper -- [--edits N] [--seed N]`: see {@link HELP}. */
import { readFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { tamper } from "./run.ts";
import { exampleMaterial } from "./material.ts";

const HELP = `Usage: npm run tamper -- [--edits N] [--seed N]

Changes a bundle, a fact proof, a decision and a trust root at random (bits, swaps, orders, cuts, parts of other valid
files), and sees that each change is refused with the right one of the exit codes 1, 2 and 3. Default: 10,000 changes.
Exit codes: 0 all refused as they should be, 1 not.
`;

const { values } = parseArgs({
  options: {
    edits: { type: "string", default: "10000" },
    seed: { type: "string", default: "1" },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  process.stdout.write(HELP);
} else {
  const folder = fileURLToPath(new URL("../../docs/examples/formats/", import.meta.url));
  const material = exampleMaterial((name) => readFileSync(`${folder}${name}`));
  const started = performance.now();
  const { edits, refused, wrong } = tamper(material, Number(values.edits), Number(values.seed));
  for (const [target, counts] of Object.entries(refused)) {
    const by = Object.entries(counts).map(([code, count]) => `exit ${code}: ${String(count)}`);
    process.stdout.write(`${target.padEnd(12)} ${by.join(", ")}\n`);
  }
  for (const line of wrong.slice(0, 20)) process.stdout.write(`WRONG ${line}\n`);
  const seconds = ((performance.now() - started) / 1_000).toFixed(1);
  process.stdout.write(
    `${String(edits)} changes, ${String(edits - wrong.length)} refused as is right, in ${seconds} s\n`,
  );
  process.exitCode = wrong.length === 0 ? 0 : 1;
}
