// SPDX-License-Identifier: Apache-2.0
/** `npm run fuzz:wasm`: compares the engines of facts on random operations until one says what the other does not. */
import process from "node:process";
import { parseArgs } from "node:util";
import { compareEngines } from "../packages/facts/test/differential.ts";

const { values } = parseArgs({
  options: {
    operations: { type: "string", default: "200000" },
    seed: { type: "string", default: "1" },
  },
});
const [operations, seed] = [Number(values.operations), Number(values.seed)];
if (!Number.isSafeInteger(operations) || operations < 1 || !Number.isSafeInteger(seed)) {
  process.stderr.write("usage: npm run fuzz:wasm -- [--operations 200000] [--seed 1]\n");
  process.exitCode = 3;
} else {
  compareEngines(operations, seed);
  process.stdout.write(`${String(operations)} operations of seed ${String(seed)}: no difference\n`);
}
