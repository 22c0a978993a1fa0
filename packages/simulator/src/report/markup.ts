// SPDX-License-Identifier: Apache-2.0
/** HTML and SVG text. Everything that comes from outside goes through {@link escapeText}. */

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};
/** Direction controls could make a line read as another one. */
const DIRECTION = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/gu;

/** Text that is nothing but text, in an element and in an attribute. */
export const escapeText = (text: string): string =>
  text
    .replaceAll(CONTROL, "\ufffd")
    .replaceAll(DIRECTION, "\ufffd")
    .replaceAll(/[&<>"']/gu, (char) => ENTITIES[char] ?? char);

/** Values of attributes, escaped; numbers to a tenth. */
export type Attributes = Readonly<Record<string, string | number>>;

const valueOf = (value: string | number): string =>
  typeof value === "number" ? String(Math.round(value * 10) / 10) : escapeText(value);

/** An element; `content` is markup already. */
export function element(name: string, attributes: Attributes, content?: string): string {
  const all = Object.entries(attributes).map(([key, value]) => ` ${key}="${valueOf(value)}"`);
  return content === undefined
    ? `<${name}${all.join("")}/>`
    : `<${name}${all.join("")}>${content}</${name}>`;
}

/** A cell of a table: text, or a figure, which stands to the right. */
export type Cell = string | { readonly figure: string };

/** A table with a caption. `head` names the columns; a column of figures is one whose cells are. */
export function table(
  caption: string,
  head: readonly string[],
  rows: readonly (readonly Cell[])[],
): string {
  const isFigure = (column: number): boolean => typeof rows[0]?.[column] === "object";
  const heads = head.map((text, i) =>
    element("th", { scope: "col", ...(isFigure(i) ? { class: "n" } : {}) }, escapeText(text)),
  );
  const body = rows.map((row) => {
    const cells = row.map((cell, i) => {
      if (typeof cell === "object") return element("td", { class: "n" }, escapeText(cell.figure));
      return i === 0
        ? element("th", { scope: "row" }, escapeText(cell))
        : element("td", {}, escapeText(cell));
    });
    return element("tr", {}, cells.join(""));
  });
  const content = [
    element("caption", {}, escapeText(caption)),
    element("thead", {}, element("tr", {}, heads.join(""))),
    element("tbody", {}, body.join("\n")),
  ];
  return element("div", { class: "scroll" }, element("table", {}, content.join("\n")));
}
