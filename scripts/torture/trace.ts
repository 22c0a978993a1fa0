// SPDX-License-Identifier: Apache-2.0
/**
 * Reads what `strace -f -y -xx` wrote: one line per system call, or two when another thread's call came in
 * between. With -xx every string is hexadecimal (`"\x2f\x74"`), so nothing in it can be taken for syntax.
 *
 * Time is counted in half lines: a call on line n starts at 2n and ends at 2n + 1, so the time between its
 * start and its end is a moment of its own.
 */

/** A system call. */
export interface Call {
  readonly name: string;
  /** As text, strings still in hexadecimal. */
  readonly args: readonly string[];
  /** What it returned; undefined when the process ended in the middle of it. */
  readonly result: number | undefined;
  readonly start: number;
  /** Infinity when the process ended in the middle of it. */
  readonly end: number;
}

const LINE = /^(\d+) +(.*)$/u;
const RESUMED = /^<\.\.\. (\w+) resumed>(.*)$/u;
const UNFINISHED = "<unfinished ...>";
const ENDED = /^(\w+)\((.*)\) += (-?\d+|\?|0x[0-9a-f]+)(?:<[^>]*>)?(?: .*)?$/u;
/** The end of a process, or a signal. */
const NO_CALL = /^(?:\+\+\+|---) .* (?:\+\+\+|---)$/u;
/** What strace writes of a call that the end of the process cut short. */
const CUT = /<unfinished \.\.\.>\) += \?$/u;

interface Begun {
  readonly name: string;
  readonly text: string;
  readonly line: number;
}

const unreadable = (line: number, text: string): Error =>
  new Error(`the trace can't be read at line ${String(line + 1)}: ${text.slice(0, 120)}`);

const splitArgs = (text: string): readonly string[] => (text === "" ? [] : text.split(", "));

class Parser {
  readonly calls: Call[] = [];
  /** By thread. */
  readonly #begun = new Map<string, Begun>();

  take(line: number, text: string): void {
    const [, thread, rest] = LINE.exec(text) ?? [];
    if (thread === undefined || rest === undefined) throw unreadable(line, text);
    if (NO_CALL.test(rest)) return;
    const resumed = RESUMED.exec(rest);
    if (resumed !== null) {
      this.#resume(line, thread, resumed[1] ?? "", resumed[2] ?? "", text);
    } else if (CUT.test(rest)) {
      this.#begin(line, thread, rest.replace(CUT, UNFINISHED), text);
    } else if (rest.endsWith(UNFINISHED)) {
      this.#begin(line, thread, rest, text);
    } else {
      this.#end(line, line, rest, text);
    }
  }

  #begin(line: number, thread: string, rest: string, text: string): void {
    const open = rest.indexOf("(");
    const name = rest.slice(0, Math.max(0, open));
    if (!/^\w+$/u.test(name) || this.#begun.has(thread)) throw unreadable(line, text);
    const args = rest.slice(open + 1, -UNFINISHED.length).trimEnd();
    this.#begun.set(thread, { name, text: args, line });
  }

  #resume(line: number, thread: string, name: string, rest: string, text: string): void {
    const begun = this.#begun.get(thread);
    if (begun?.name !== name) throw unreadable(line, text);
    this.#begun.delete(thread);
    if (CUT.test(rest)) {
      this.#begun.set(thread, begun);
      return;
    }
    this.#end(begun.line, line, `${name}(${begun.text}${rest}`, text);
  }

  #end(from: number, to: number, whole: string, text: string): void {
    const [, name, args, result] = ENDED.exec(whole) ?? [];
    if (name === undefined || args === undefined || result === undefined) {
      throw unreadable(to, text);
    }
    const cut = result === "?";
    this.calls.push({
      name,
      args: splitArgs(args),
      result: cut ? undefined : Number(result),
      start: 2 * from,
      end: cut ? Infinity : 2 * to + 1,
    });
  }

  /** What the end of the process cut short. */
  finish(): void {
    for (const { name, text, line } of this.#begun.values()) {
      const args = splitArgs(text.replace(/,$/u, ""));
      this.calls.push({ name, args, result: undefined, start: 2 * line, end: Infinity });
    }
  }
}

/** The calls of a trace in the order in which they started. Throws when a line is not understood. */
export function parseTrace(text: string): readonly Call[] {
  const parser = new Parser();
  const lines = text.split("\n");
  // A last line without its end was cut off with the tracer.
  if (lines.at(-1) !== "") throw unreadable(lines.length - 1, "the last line has no end");
  lines.pop();
  for (const [line, content] of lines.entries()) parser.take(line, content);
  parser.finish();
  return parser.calls.toSorted((a, b) => a.start - b.start);
}

/** The bytes of a string argument. Throws when it is none, or was not recorded whole. */
export function bytesOf(argument: string | undefined): Buffer {
  if (argument?.endsWith('"') !== true || !argument.startsWith('"')) {
    throw new Error(`not a whole string in the trace: ${String(argument).slice(0, 80)}`);
  }
  const hex = argument.slice(1, -1).replaceAll(String.raw`\x`, "");
  const bytes = Buffer.from(hex, "hex");
  if (bytes.length * 4 !== argument.length - 2) {
    throw new Error(`not hexadecimal in the trace: ${argument.slice(0, 80)}`);
  }
  return bytes;
}

/** The number of a file descriptor argument, such as `17<\x2f...>`. */
export const descriptorOf = (argument: string | undefined): number =>
  Number.parseInt(argument ?? "", 10);

/** The path that `-y` shows of a file descriptor argument, or undefined. */
export function pathOf(argument: string | undefined): string | undefined {
  const [, hex] = /<((?:\\x[0-9a-f]{2})*)>$/u.exec(argument ?? "") ?? [];
  return hex === undefined ? undefined : bytesOf(`"${hex}"`).toString();
}
