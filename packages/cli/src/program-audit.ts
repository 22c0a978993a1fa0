// SPDX-License-Identifier: Apache-2.0
/** The commands about what was sealed: verification, proofs of single facts, differences, decisions. */
import { Option } from "commander";
import type { Command } from "commander";
import type { DecideOptions } from "./commands/decide.ts";
import type { DiffOptions } from "./commands/diff.ts";
import type { ProveOptions } from "./commands/prove.ts";
import type { SealBatchOptions } from "./commands/seal-batch.ts";
import type { VerifyOptions } from "./commands/verify.ts";
import { clientCommand, collect, examples, jsonOption, wholeNumber } from "./program-parts.ts";

const MAX_SEQUENCE = 999_999_999;

function addVerify(program: Command): void {
  program
    .command("verify <file>")
    .description(
      "verify a bundle, a fact proof or a decision offline, with nothing but the trust root",
    )
    .addOption(
      new Option(
        "-t, --trust <file>",
        "the pinned trust root; may be repeated for the versions after it, in order",
      ).argParser(collect),
    )
    .addOption(new Option("-r, --root <file>", "the same as --trust").conflicts("trust"))
    .option("--fact <key>", "look for a key, and show what was sealed of it")
    .option("--doc <doc>", "with --fact: only in this document")
    .option("--at <time>", "judge as of then: 2h (ago), 2026-01-31T14:05:00Z, or Unix ms")
    .option("--state <dir>", "remember logs and trust roots here, and demand that they only go on")
    .option("--log <dir>", "with --state: the log's tiles, where ctxmesh log export put them")
    .option("--policy <file>", "what to ask for beyond the trust root")
    .option("--report <file>", "write the verdict as an HTML page, too")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples(
        "ctxmesh verify bundle.json --trust root.json",
        "ctxmesh verify bundle.json --trust root.json --fact temperature --doc line-2/press-7",
        "ctxmesh verify bundle.json --trust root.json --state seen --log tiles --report report.html",
        "ctxmesh verify bundle.json --trust root.json --trust root-2.json --state seen",
        "ctxmesh verify press-7.proof --trust root.json --at 2026-01-31T14:05:00Z --json",
      ) +
        "\n\nKeys are judged at the time at which the log had the seal; revoked ones, once its witnesses had it.\nExit codes: 0 valid, 1 a signature or proof is wrong, 2 refused by policy, 3 wrong input.",
    )
    .action(async (file: string, options: VerifyOptions) =>
      (await import("./commands/verify.ts")).runVerifyCommand(file, options),
    );
}

function addProve(program: Command): void {
  clientCommand(program, "prove [doc] [key]", "cut the proof of one fact out of a seal")
    .option("--bundle <file>", "the bundle to cut it out of, instead of asking a hub")
    .addOption(
      new Option("--seal <n>", "which seal of the hub (default: the newest)").argParser(
        wholeNumber("--seal", 1, MAX_SEQUENCE),
      ),
    )
    .option("-o, --out <file>", "where to (default: named after the fact)")
    .addOption(
      new Option(
        "--decision <file>",
        "prove the fact that holds this decision, and put the proof into the file",
      ).conflicts("out"),
    )
    .addHelpText(
      "after",
      examples(
        "ctxmesh prove line-2/press-7 temperature",
        "ctxmesh prove line-2/press-7 temperature --bundle bundle.json --out press-7.proof",
        "ctxmesh prove --decision decision.json",
      ) +
        "\n\nThe proof has every statement of that key that was sealed, and of other facts nothing: their leaves\nare salted. What is in the bundle is not verified; whoever gets the proof does that: ctxmesh verify.",
    )
    .action(async (doc: string | undefined, key: string | undefined, options: ProveOptions) =>
      (await import("./commands/prove.ts")).runProve(doc, key, options),
    );
}

function addDiff(program: Command): void {
  program
    .command("diff <a> <b>")
    .description("compare two sealed snapshots of a space")
    .option("-t, --trust <file>", "verify both first, with this trust root")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples(
        "ctxmesh diff monday.json friday.json",
        "ctxmesh diff monday.json friday.json --trust root.json --json",
      ) +
        "\n\nContested is a key of which statements stand that do not agree, whatever its resolver makes of them.",
    )
    .action(async (a: string, b: string, options: DiffOptions) =>
      (await import("./commands/diff.ts")).runDiff(a, b, options),
    );
}

function addDecide(program: Command): void {
  clientCommand(program, "decide <output>", "sign what a model read, checked and concluded")
    .option("--model <name>", "who decided: NAME or NAME@VERSION")
    .addOption(
      new Option("--input <fact>", "a fact that was read, DOC:KEY; may be repeated").argParser(
        collect,
      ),
    )
    .addOption(
      new Option(
        "--check <result>",
        "a check that was made, NAME=pass or NAME=fail:WHY; may be repeated",
      ).argParser(collect),
    )
    .option("--outcome-of <id>", "OUTPUT is what became of this decision")
    .option("-o, --out <file>", "save the decision, for ctxmesh verify")
    .addHelpText(
      "after",
      examples(
        `ctxmesh decide '{"action":"stop"}' --model press-advisor@1.2 --input line-2/press-7:temperature --check "below limit=fail:92 > 90"`,
        `ctxmesh decide '"bearing replaced"' --outcome-of 3fa9c21b...`,
      ) +
        "\n\nOUTPUT is JSON; what is not JSON is taken as a string. The agent records version, age and hash of each\nfact that was read, signs with its device key, and keeps the decision as a fact. A seal that has the\nfact makes the decision hybrid: ctxmesh prove.",
    )
    .action(async (output: string, options: DecideOptions) =>
      (await import("./commands/decide.ts")).runDecide(output, options),
    );
  program
    .command("seal-batch <decisions...>")
    .description("seal decision files with one hybrid signature")
    .requiredOption(
      "-k, --key <file>",
      "a key of suite ML-DSA-65-Ed25519, of an issuer in the trust root",
    )
    .addOption(jsonOption())
    .addHelpText("after", examples("ctxmesh seal-batch decision-*.json --key issuer.jwk"))
    .action(async (files: readonly string[], options: SealBatchOptions) =>
      (await import("./commands/seal-batch.ts")).runSealBatch(files, options),
    );
}

/** Adds `verify`, `prove`, `diff`, `decide` and `seal-batch`. */
export function addAuditCommands(program: Command): void {
  addVerify(program);
  addProve(program);
  addDiff(program);
  addDecide(program);
}
