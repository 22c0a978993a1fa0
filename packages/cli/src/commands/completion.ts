// SPDX-License-Identifier: Apache-2.0
/** Shell completion, written out from the command line's own definition. */
import type { Command } from "commander";
import { createOutput } from "../output.ts";

/** Something to type. */
interface Word {
  readonly text: string;
  readonly description: string;
}

/** A command: what may follow it, and its own commands where it has some. */
interface Completion extends Word {
  readonly words: readonly Word[];
  readonly commands: readonly Completion[];
}

function completionOf(command: Command): Completion {
  const commands = command.commands.map(completionOf);
  const words: Word[] = [...commands, { text: "--help", description: "display help" }];
  for (const option of command.options) {
    if (option.long) words.push({ text: option.long, description: option.description });
  }
  for (const argument of command.registeredArguments) {
    for (const choice of argument.argChoices ?? []) words.push({ text: choice, description: "" });
  }
  return { text: command.name(), description: command.description(), words, commands };
}

const textsOf = (words: readonly Word[]): string => words.map(({ text }) => text).join(" ");

/** A command at any depth, with the names that lead to it: `policy module add`. */
interface Place {
  readonly path: string;
  readonly words: readonly Word[];
}

function placesOf(commands: readonly Completion[], before = ""): Place[] {
  return commands.flatMap((command) => {
    const path = `${before}${command.text}`;
    return [{ path, words: command.words }, ...placesOf(command.commands, `${path} `)];
  });
}

/** For bash and zsh: `place` becomes the longest path of commands that the words before the current one begin. */
const shellPlace = (places: readonly Place[], typed: string): string => `  for word in ${typed}; do
    case "$place$word" in
      ${places.map(({ path }) => `"${path}"`).join("|")}) place="$place$word " ;;
      *) break ;;
    esac
  done`;

function bash({ words, commands }: Completion): string {
  const places = placesOf(commands);
  const cases = places.map(({ path, words: its }) => `"${path} ") words="${textsOf(its)}" ;;`);
  return `# bash completion for ctxmesh
_ctxmesh() {
  local current="\${COMP_WORDS[COMP_CWORD]}" place="" word words=""
${shellPlace(places, '"${COMP_WORDS[@]:1:COMP_CWORD-1}"')}
  case "$place" in
${cases.map((line) => `    ${line}`).join("\n")}
    *) if [ "$COMP_CWORD" -eq 1 ]; then words="${textsOf(words)}"; fi ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _ctxmesh ctxmesh
`;
}

/** A word with its description for zsh's `_describe`: colons and quotes are special there. */
const zshWord = ({ text, description }: Word): string =>
  `'${text}:${description.replaceAll("'", "'\\''").replaceAll(":", "\\:")}'`;

function zsh({ commands }: Completion): string {
  const places = placesOf(commands);
  const candidates = (its: readonly Word[]): string =>
    `candidates=(${its.map(zshWord).join(" ")}) ;;`;
  const cases = places.map(({ path, words: its }) => `"${path} ") ${candidates(its)}`);
  return `#compdef ctxmesh
_ctxmesh() {
  local -a candidates
  local place="" word
${shellPlace(places, '"${(@)words[2,CURRENT-1]}"')}
  if (( CURRENT == 2 )); then
    candidates=(${commands.map(zshWord).join(" ")})
    _describe command candidates
  else
    case "$place" in
${cases.map((line) => `      ${line}`).join("\n")}
    esac
    _describe option candidates
    _files
  fi
}
compdef _ctxmesh ctxmesh
`;
}

const fishQuoted = (text: string): string =>
  `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;

/** Lines that offer words while a condition holds. */
const fishWords = (condition: string, words: readonly Word[]): string[] =>
  words.map(({ text, description }) => {
    const what = text.startsWith("--") ? `-l ${text.slice(2)}` : `-a ${text}`;
    const about = description === "" ? "" : ` -d ${fishQuoted(description)}`;
    return `complete -c ctxmesh -n ${condition} ${what}${about}`;
  });

function fish({ commands }: Completion): string {
  const places = placesOf(commands);
  const lines = [
    "# fish completion for ctxmesh",
    "# Whether the words before the current one begin with these commands, and with no longer path of them.",
    "function __ctxmesh_at",
    "  set -l place",
    "  for word in (commandline -opc)[2..-1]",
    `    contains -- "$place$word" ${places.map(({ path }) => fishQuoted(path)).join(" ")}; or break`,
    '    set place "$place$word "',
    "  end",
    '  test "$place" = "$argv[1] "',
    "end",
    "complete -c ctxmesh -f -n __fish_use_subcommand",
    ...fishWords("__fish_use_subcommand", commands),
    ...places.flatMap(({ path, words }) => fishWords(`"__ctxmesh_at '${path}'"`, words)),
  ];
  return `${lines.join("\n")}\n`;
}

/** Prints the completion script of a shell. */
export async function runCompletion(shell: string, program: Command): Promise<void> {
  const completion = completionOf(program);
  const script = shell === "bash" ? bash : shell === "zsh" ? zsh : fish;
  await createOutput({}).line(script(completion).trimEnd());
}
