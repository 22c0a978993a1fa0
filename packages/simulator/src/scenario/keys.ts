// SPDX-License-Identifier: Apache-2.0
/** Key patterns: `{1..50}` is each number, `{a,b}` each word, `{agent}` the name of the agent that writes. */

const BRACES = /\{(?:(?<from>[0-9]{1,9})\.\.(?<to>[0-9]{1,9})|(?<words>[^{}]*,[^{}]*))\}/u;
const AGENT = "{agent}";

/** Why a pattern is none, in the words of an error. */
export interface BadPattern {
  readonly problem: string;
}

/** How many keys a part in braces stands for. */
function choicesOf(match: RegExpExecArray, most: number): readonly string[] | BadPattern {
  const { from, to, words } = match.groups ?? {};
  if (words !== undefined) return words.split(",");
  const [low, high] = [Number(from), Number(to)];
  if (high < low) return { problem: `has the range ${match[0]}, which is empty` };
  if (high - low >= most) return { problem: `stands for more than ${String(most)} keys` };
  return Array.from({ length: high - low + 1 }, (_, i) => String(low + i));
}

/** The keys that a pattern stands for, `{agent}` left as it is; or why it stands for none, or for more than `most`. */
export function expandKeys(pattern: string, most: number): readonly string[] | BadPattern {
  let keys: readonly string[] = [pattern];
  // Each round takes out the first braces that are left, the same ones in every key.
  for (;;) {
    const match = BRACES.exec(keys[0] ?? "");
    if (match === null) break;
    const choices = choicesOf(match, most);
    if ("problem" in choices) return choices;
    if (choices.length * keys.length > most) {
      return { problem: `stands for more than ${String(most)} keys` };
    }
    keys = keys.flatMap((key) => {
      const at = key.indexOf(match[0]);
      const [head, tail] = [key.slice(0, at), key.slice(at + match[0].length)];
      return choices.map((choice) => head + choice + tail);
    });
  }
  if ((keys[0] ?? "").replaceAll(AGENT, "").match(/[{}]/u) !== null) {
    return { problem: "has braces that are none of {1..9}, {a,b} and {agent}" };
  }
  return [...new Set(keys)];
}

/** A key as an agent writes it. */
export const keyFor = (key: string, agent: string): string => key.replaceAll(AGENT, agent);
