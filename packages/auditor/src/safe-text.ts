// SPDX-License-Identifier: Apache-2.0
/** Text of files that nobody vouches for, on its way to a reader. */

/** Control and direction characters: a hostile file must not steer the reader's terminal. */
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

/** Text with its control and direction characters shown as escapes. */
export const safeText = (text: string): string =>
  text.replace(
    UNSAFE,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** {@link safeText} that is text in HTML, too, between tags and in quoted attributes. */
export const htmlText = (text: string): string =>
  safeText(text).replace(/[&<>"']/gu, (character) => ENTITIES[character] ?? "");
