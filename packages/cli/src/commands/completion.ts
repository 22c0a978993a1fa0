// SPDX-License-Identifier: Apache-2.0
/** Shell completion, written out from the command line's own definition. */
import type { Command } from "commander";
import { createOutput } from "../output.ts";

interface Word {
  readonly text: string;
  readonly description: string;
}

interface Completions {
  readonly commands: readonly Word[];
  readonly options: ReadonlyMap<string, readonly Word[]>;
}

function completionsOf(program: Command): Completions {
  const commands = program.commands.map((command) => ({
    text: command.name(),
    description: command.description(),
  }));
  const options = new Map<string, readonly Word[]>();
  for (const command of program.commands) {
    const words: Word[] = [{ text: "--help", description: "display help" }];
    for (const option of command.options) {
      if (option.long) words.push({ text: option.long, description: option.description });
    }
    for (const argument of command.registeredArguments) {
      for (const choice of argument.argChoices ?? []) words.push({ text: choice, description: "" });
    }
    options.set(command.name(), words);
  }
  return { commands, options };
}

const textsOf = (words: readonly Word[]): string => words.map(({ text }) => text).join(" ");

function bash({ commands, options }: Completions): string {
  const cases = [...options].map(([name, words]) => `    ${name}) words="${textsOf(words)}" ;;`);
  return `# bash completion for ctxmesh
_ctxmesh() {
  local current="\${COMP_WORDS[COMP_CWORD]}" words="${textsOf(commands)} --help --version"
  if [ "$COMP_CWORD" -gt 1 ]; then
    case "\${COMP_WORDS[1]}" in
${cases.map((line) => `  ${line}`).join("\n")}
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

function zsh({ commands, options }: Completions): string {
  const cases = [...options].map(
    ([name, words]) => `      ${name}) candidates=(${words.map(zshWord).join(" ")}) ;;`,
  );
  return `#compdef ctxmesh
_ctxmesh() {
  local -a candidates
  if (( CURRENT == 2 )); then
    candidates=(${commands.map(zshWord).join(" ")})
    _describe command candidates
  else
    case "$words[2]" in
${cases.join("\n")}
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

function fish({ commands, options }: Completions): string {
  const lines = [
    "# fish completion for ctxmesh",
    "complete -c ctxmesh -f -n __fish_use_subcommand",
  ];
  for (const { text, description } of commands) {
    lines.push(
      `complete -c ctxmesh -n __fish_use_subcommand -a ${text} -d ${fishQuoted(description)}`,
    );
  }
  for (const [name, words] of options) {
    for (const { text, description } of words) {
      const what = text.startsWith("--") ? `-l ${text.slice(2)}` : `-a ${text}`;
      const about = description === "" ? "" : ` -d ${fishQuoted(description)}`;
      lines.push(`complete -c ctxmesh -n '__fish_seen_subcommand_from ${name}' ${what}${about}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

/** Prints the completion script of a shell. */
export async function runCompletion(shell: string, program: Command): Promise<void> {
  const completions = completionsOf(program);
  const script = shell === "bash" ? bash : shell === "zsh" ? zsh : fish;
  await createOutput({}).line(script(completions).trimEnd());
}
