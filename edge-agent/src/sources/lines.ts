// SPDX-License-Identifier: Apache-2.0
/** Lines of a text stream, with a bound on what one line may cost. */

/** A line longer than this (UTF-16 code units) comes as undefined. */
export const MAX_LINE_LENGTH = 65_536;

/** One line without its LF or CR LF, and its number from 1. */
export interface Line {
  readonly number: number;
  /** Undefined for a line longer than {@link MAX_LINE_LENGTH}. */
  readonly text: string | undefined;
}

/** Splits chunks of UTF-8 text; a byte order mark at the start is dropped. */
export async function* readLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Line> {
  const utf8 = new TextDecoder();
  let rest = "";
  let tooLong = false;
  let number = 0;
  const lineOf = (text: string): Line => {
    number++;
    const whole = tooLong || text.length > MAX_LINE_LENGTH ? undefined : text.replace(/\r$/u, "");
    tooLong = false;
    return { number, text: whole };
  };
  for await (const chunk of chunks) {
    const parts = (rest + utf8.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    for (const part of parts) yield lineOf(part);
    if (rest.length > MAX_LINE_LENGTH) {
      tooLong = true;
      rest = "";
    }
  }
  rest += utf8.decode();
  if (rest !== "" || tooLong) yield lineOf(rest);
}
