// SPDX-License-Identifier: Apache-2.0
/** What the definitions of the commands share. */
import { MeshError } from "@ctxmesh/model";
import { Option } from "commander";
import type { Command } from "commander";

/** Throws `USAGE`. */
export const usage = (message: string): never => {
  throw new MeshError("USAGE", message);
};

/** Parses a whole number within bounds. Throws `USAGE`. */
export function wholeNumber(option: string, min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^[0-9]{1,9}$/u.test(text) && value >= min && value <= max) return value;
    return usage(`${option} must be a whole number from ${String(min)} to ${String(max)}`);
  };
}

/** Parses a confidence. Throws `USAGE`. */
export const shareOf =
  (option: string) =>
  (text: string): number => {
    const value = Number(text);
    return text.trim() !== "" && value >= 0 && value <= 1
      ? value
      : usage(`${option} must be a number from 0 to 1`);
  };

/** Gathers the values of an option that may be repeated. */
export const collect = (text: string, before: readonly string[] = []): readonly string[] => [
  ...before,
  text,
];

/** The examples of a help text. */
export const examples = (...lines: readonly string[]): string =>
  `\nExamples:\n${lines.map((line) => `  $ ${line}`).join("\n")}`;

/** `--json`. */
export const jsonOption = (): Option => new Option("--json", "print JSON");

const SOCKET_HELP = `
Which daemon: --socket, else the variable CTXMESH_SOCKET, else in a folder made by
"ctxmesh init" its first agent (the hub for seal).`;

/** The options that say how far a write has to get. */
export const addAckOptions = (command: Command): Command =>
  command
    .addOption(
      new Option("--ack <level>", "wait until the write has got so far")
        .choices(["local", "hub", "sealed"])
        .default("local"),
    )
    .option(
      "--ack-timeout <duration>",
      "how long to wait for that: 500ms, 30s, 10m (default: 10s)",
    );

/** What {@link addAckOptions} add to a help text. */
export const ACK_HELP: string = `

--ack local returns once the write is on this agent's disk, hub once it is on a hub's disk, too, and
sealed once a seal of a hub covers it. When time runs out (exit code 4) the write is on this agent's
disk all the same and goes on by itself: don't write it again; see ctxmesh status.`;

/** A command that talks to a daemon. */
export const clientCommand = (program: Command, definition: string, description: string): Command =>
  program
    .command(definition)
    .description(description)
    .option("-s, --socket <path>", "Unix socket of the daemon")
    .addOption(jsonOption())
    .addHelpText("after", SOCKET_HELP);
