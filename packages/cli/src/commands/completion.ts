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

function bash({ words, commands }: Completion): string {
  const cases = commands.flatMap((command) => [
    ...command.commands.map(
      (sub) => `"${command.text} ${sub.text}") words="${textsOf(sub.words)}" ;;`,
    ),
    `"${command.text} "*) words="${textsOf(command.words)}" ;;`,
  ]);
  return `# bash completion for ctxmesh
_ctxmesh() {
  local current="\${COMP_WORDS[COMP_CWORD]}" second="" words="${textsOf(words)}"
  if [ "$COMP_CWORD" -gt 2 ]; then second="\${COMP_WORDS[2]}"; fi
  if [ "$COMP_CWORD" -gt 1 ]; then
    case "\${COMP_WORDS[1]} $second" in
${cases.map((line) => `      ${line}`).join("\n")}
      *) words="" ;;
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _ctxmesh ctxmesh
`;
}

/** A word with its description for zsh's `_describe`: colons and quotes are special there. */
const zshWord = ({ text, description }: Word): string =>
  `'${text}:${description.replaceAll("'", "'\\''").replaceAll(":", "\\:")}'`;

function zsh({ commands }: Completion): string {
  const candidates = (words: readonly Word[]): string =>
    `candidates=(${words.map(zshWord).join(" ")}) ;;`;
  const cases = commands.flatMap((command) => [
    ...command.commands.map((sub) => `"${command.text} ${sub.text}") ${candidates(sub.words)}`),
    `"${command.text} "*) ${candidates(command.words)}`,
  ]);
  return `#compdef ctxmesh
_ctxmesh() {
  local -a candidates
  local second=""
  if (( CURRENT > 3 )); then second="$words[3]"; fi
  if (( CURRENT == 2 )); then
    candidates=(${commands.map(zshWord).join(" ")})
    _describe command candidates
  else
    case "$words[2] $second" in
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

const seen = (words: string): string => `__fish_seen_subcommand_from ${words}`;

function fish({ commands }: Completion): string {
  const lines = [
    "# fish completion for ctxmesh",
    "complete -c ctxmesh -f -n __fish_use_subcommand",
    ...fishWords("__fish_use_subcommand", commands),
    ...commands.flatMap((command) => {
      const subs = textsOf(command.commands);
      const here = seen(command.text) + (subs === "" ? "" : `; and not ${seen(subs)}`);
      return [
        ...fishWords(`'${here}'`, command.words),
        ...command.commands.flatMap((sub) =>
          fishWords(`'${seen(command.text)}; and ${seen(sub.text)}'`, sub.words),
        ),
      ];
    }),
  ];
  return `${lines.join("\n")}\n`;
}

/** Prints the completion script of a shell. */
export async function runCompletion(shell: string, program: Command): Promise<void> {
  const completion = completionOf(program);
  const script = shell === "bash" ? bash : shell === "zsh" ? zsh : fish;
  await createOutput({}).line(script(completion).trimEnd());
}
