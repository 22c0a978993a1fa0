// SPDX-License-Identifier: Apache-2.0
/**
 * The auditor as a program of its own, which `npm run build:auditor` makes one file of: what `ctxmesh verify` does, with
 * nothing else in it. It opens the files that it is given, and no other.
 */
import { basename } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { EXIT, MeshError, parseInstant, toMeshError } from "@ctxmesh/model";
import { renderHtml } from "./html.ts";
import { keepHeapSmall } from "./memory.ts";
import { renderVerdict, verdictToJson } from "./report.ts";
import { replaceFile } from "./state.ts";
import { runVerify } from "./verify.ts";

const HELP = `Usage: ctxmesh-verify FILE --trust ROOT [options]

Verifies a bundle, a fact proof or a decision offline, with nothing but the pinned trust root.

Options:
  -t, --trust FILE   the pinned trust root; may be repeated for the versions after it, in order
  --fact KEY         look for a key, and show what was sealed of it
  --doc DOC          with --fact: only in this document
  --at TIME          judge as of then: 2026-01-31T14:05:00Z, or Unix milliseconds
  --state DIR        remember logs and trust roots here, and demand that they only go on
  --log DIR          with --state: the log's tiles
  --policy FILE      what to ask for beyond the trust root
  --report FILE      write the verdict as an HTML page, too
  --json             print JSON
  -h, --help         this text

Keys are judged at the time at which the log had the seal; revoked ones, once its witnesses had it.
Exit codes: 0 valid, 1 a signature or proof is wrong, 2 refused by policy, 3 wrong input.
`;

const OPTIONS = {
  trust: { type: "string", short: "t", multiple: true },
  fact: { type: "string" },
  doc: { type: "string" },
  at: { type: "string" },
  state: { type: "string" },
  log: { type: "string" },
  policy: { type: "string" },
  report: { type: "string" },
  json: { type: "boolean", default: false },
  help: { type: "boolean", short: "h", default: false },
} as const;

const usage = (message: string): MeshError =>
  new MeshError("USAGE", message, { remedy: "ctxmesh-verify --help" });

function parseCommandLine(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw usage(toMeshError(error).message);
  }
}

async function main(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseCommandLine(args);
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const { trust, fact, doc, at, state, log, policy, report } = values;
  const [file, ...more] = positionals;
  if (file === undefined || more.length > 0) throw usage("give one file to verify");
  if (trust === undefined) throw usage("which trust root? give --trust FILE");
  if (log !== undefined && state === undefined) throw usage("--log goes with --state");
  const now = at === undefined ? Date.now() : parseInstant(at);
  const verdict = await runVerify({
    bundlePath: file,
    rootPaths: trust,
    now,
    ...(fact === undefined ? {} : { fact: { key: fact, doc } }),
    ...(policy === undefined ? {} : { policyPath: policy }),
    ...(state === undefined ? {} : { statePath: state }),
    ...(log === undefined ? {} : { logPath: log }),
  });
  if (report !== undefined) {
    const names = {
      file: basename(file),
      root: trust.map((path) => basename(path)).join(", "),
      now,
    };
    replaceFile("report", report, renderHtml(verdict, names));
  }
  process.exitCode = verdict.exitCode;
  const color = process.stdout.isTTY && process.stdout.hasColors();
  process.stdout.write(
    values.json ? `${JSON.stringify(verdictToJson(verdict))}\n` : renderVerdict(verdict, { color }),
  );
}

keepHeapSmall();
try {
  await main(process.argv.slice(2));
} catch (error) {
  const { message, remedy, exitCode } = toMeshError(error);
  const rest = remedy === undefined ? "" : `; ${remedy}`;
  process.stderr.write(`ctxmesh-verify: ${message.split("\n").join(" ")}${rest}\n`);
  process.exitCode = exitCode === EXIT.policy ? EXIT.policy : EXIT.input;
}
