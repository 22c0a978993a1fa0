// SPDX-License-Identifier: Apache-2.0
import { EXIT, MeshError, toMeshError } from "@ctxmesh/model";
import { CommanderError } from "commander";
import type { Command } from "commander";
import { formatError } from "./output.ts";
import { createProgram } from "./program.ts";
import { readVersion } from "./version.ts";

/** Runs one command line and sets the process's exit code (`EXIT`). Never throws. */
export async function main(argv: readonly string[]): Promise<void> {
  process.stdout.on("error", endOnBrokenPipe);
  const program = createProgram(readVersion());
  quiet(program);
  try {
    await program.parseAsync(argv);
  } catch (error) {
    // Help or the version, shown because it was asked for.
    if (error instanceof CommanderError) return;
    const failure = toMeshError(error);
    process.exitCode = failure.exitCode;
    const json = argv.slice(2).includes("--json");
    process.stderr.write(`${formatError(failure, json)}\n`);
  }
}

/** A reader such as `head` that has seen enough is no error. */
function endOnBrokenPipe(error: Error): void {
  if ("code" in error && error.code === "EPIPE") process.exit(EXIT.ok);
  throw error;
}

/** Commander throws instead of exiting, and leaves the reporting of errors to us. */
function quiet(command: Command, path: string = command.name()): void {
  command.configureOutput({ outputError: () => undefined }).exitOverride((error) => {
    throw error.exitCode === 0 ? error : usageError(error, path);
  });
  for (const child of command.commands) quiet(child, `${path} ${child.name()}`);
}

function usageError(error: CommanderError, path: string): MeshError {
  if (error.code === "commander.help") {
    return new MeshError("USAGE", "a command is missing", { remedy: `see ${path} --help` });
  }
  const [what = "", hint] = error.message.replace(/^error: /u, "").split("\n");
  const meant = /^\(Did you mean (.*)\?\)$/u.exec(hint ?? "")?.[1];
  const remedy = meant === undefined ? `see ${path} --help` : `did you mean ${meant}?`;
  return new MeshError("USAGE", what.replace(/\.$/u, ""), { remedy });
}
