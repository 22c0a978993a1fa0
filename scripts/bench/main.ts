// SPDX-License-Identifier: Apache-2.0
/** `npm run bench`: see {@link HELP}. */
import { availableParallelism, loadavg } from "node:os";
import process from "node:process";
import { parseArgs } from "node:util";
import { MeshError, toMeshError } from "@ctxmesh/model";
import { apiBench } from "./api.ts";
import { factsBench } from "./facts.ts";
import { toJsonLines, toTable } from "./figure.ts";
import type { Bench } from "./figure.ts";
import { hubBench } from "./hub.ts";
import { leafBench } from "./leaf.ts";
import { mcpBench } from "./mcp.ts";
import { meshBench } from "./mesh.ts";
import { receiveBench } from "./receive.ts";
import { sealBench } from "./seal.ts";
import { storeBench } from "./store.ts";
import { wasmBench } from "./wasm.ts";

const BENCHES: Readonly<Record<string, Bench>> = {
  api: apiBench,
  facts: factsBench,
  hub: hubBench,
  leaf: leafBench,
  mcp: mcpBench,
  mesh: meshBench,
  receive: receiveBench,
  seal: sealBench,
  store: storeBench,
  wasm: wasmBench,
};
const NAMES = Object.keys(BENCHES);
const DEFAULT_RATES = [200, 1_000];
const MAX_RATE = 100_000;

const HELP = `Usage: npm run bench -- [NAME...] [options]

Measures ctxmesh beside a baseline in the same run, in turn, and prints medians. Without a NAME: all.

${NAMES.map((name) => `  ${name.padEnd(8)} ${BENCHES[name]?.summary ?? ""}`).join("\n")}

Options:
  --json        one JSON object per line: {figure, value, unit, baseline, ratio, target, better, holds}
  --quick       20 seconds each at most (else 90); facts and store 60 seconds (else 5 minutes), wasm 2 minutes (else 6), mesh 3 (else 10)
  --rate N,...  writes per second for mesh (default: ${DEFAULT_RATES.join(",")})
  --list        names only
  --help        this text

Exit codes: 0 measured, 1 failed, 3 wrong command line, 4 interrupted.
Files go to a temporary folder (TMPDIR), which should be on a disk.
`;

const usage = (problem: string): MeshError =>
  new MeshError("USAGE", problem, { remedy: "npm run bench -- --help" });

function parseCommandLine(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        json: { type: "boolean", default: false },
        quick: { type: "boolean", default: false },
        rate: { type: "string" },
        list: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    throw usage(toMeshError(error).message);
  }
}

function parseRates(text: string | undefined): readonly number[] {
  if (text === undefined) return DEFAULT_RATES;
  return text.split(",").map((part) => {
    const rate = Number(part);
    if (!Number.isInteger(rate) || rate < 1 || rate > MAX_RATE) {
      throw usage(
        `--rate ${text}: write whole numbers of writes per second, 1 to ${String(MAX_RATE)}`,
      );
    }
    return rate;
  });
}

function choose(names: readonly string[]): readonly string[] {
  for (const name of names) {
    if (Object.hasOwn(BENCHES, name)) continue;
    throw usage(`there is no benchmark ${JSON.stringify(name)}; there are: ${NAMES.join(", ")}`);
  }
  return names.length === 0 ? NAMES : [...new Set(names)];
}

/** A warning when others use the machine: then figures of one run do not compare with those of another. */
function busyNote(): string {
  const [load = 0] = loadavg();
  const cores = availableParallelism();
  if (load <= cores / 2) return "";
  return `The machine was busy before the run: load ${load.toFixed(1)} on ${String(cores)} cores.\n`;
}

/** Aborts on SIGINT and SIGTERM, so that children and files are cleaned up before the process ends. */
function interruptible(): AbortSignal {
  const controller = new AbortController();
  const abort = (): void => {
    controller.abort(new MeshError("ABORTED", "interrupted"));
  };
  process.once("SIGINT", abort);
  process.once("SIGTERM", abort);
  return controller.signal;
}

async function main(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseCommandLine(args);
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  if (values.list) {
    process.stdout.write(`${NAMES.join("\n")}\n`);
    return;
  }
  const names = choose(positionals);
  const rates = parseRates(values.rate);
  const signal = interruptible();
  process.stderr.write(busyNote());
  for (const name of names) {
    const progress = (text: string): void => {
      if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${name}: ${text}`);
    };
    let report;
    try {
      report = await BENCHES[name]?.run({ quick: values.quick, rates, signal, progress });
    } catch (error) {
      throw signal.aborted ? signal.reason : error;
    } finally {
      if (process.stderr.isTTY) process.stderr.write("\r\u001b[K");
    }
    if (report === undefined) continue;
    process.stdout.write(values.json ? toJsonLines(report) : `${name}\n\n${toTable(report)}\n`);
  }
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  const { code, message, remedy, exitCode } = toMeshError(error);
  process.stderr.write(`bench: ${code}: ${message}${remedy === undefined ? "" : ` (${remedy})`}\n`);
  process.exitCode = exitCode;
}
