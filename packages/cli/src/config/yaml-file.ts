// SPDX-License-Identifier: Apache-2.0
/** YAML 1.2 files of one document that people write: what is wrong is told as `FILE:LINE:COLUMN: what`. */
import { MeshError } from "@ctxmesh/model";
import { LineCounter, isMap, isNode, isScalar, parseDocument } from "yaml";
import type { Document } from "yaml";

/** Problems shown of one file. */
const MAX_PROBLEMS = 20;

/** What is wrong at a place of a text. */
export interface Problem {
  /** In characters from the start. */
  readonly offset: number;
  readonly message: string;
}

/** Keys and indexes from the root to a value. */
export type Path = readonly (string | number)[];

/** A parsed file. */
export interface YamlFile {
  /** The name that errors show. */
  readonly file: string;
  readonly document: Document;
  readonly lines: LineCounter;
  /** Plain data. */
  readonly value: unknown;
}

/** Parses a file's text. Throws `CONFIG_INVALID`. */
export function parseYaml(text: string, file: string): YamlFile {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const syntax = [...document.errors, ...document.warnings].map(({ pos, message }) => ({
    offset: pos[0],
    message: message.split("\n")[0] ?? message,
  }));
  refuseProblems({ file, lines }, syntax);
  return { file, document, lines, value: toPlain(document, file) };
}

function toPlain(document: Document, file: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    throw new MeshError("CONFIG_INVALID", `${file}:1:1: ${String(error)}`, {
      remedy: "write the values out instead of using aliases",
    });
  }
}

/** Throws `CONFIG_INVALID` with the problems in the file's order, unless there are none. */
export function refuseProblems(
  { file, lines }: Pick<YamlFile, "file" | "lines">,
  problems: readonly Problem[],
): void {
  if (problems.length === 0) return;
  const inOrder = problems.toSorted((a, b) => a.offset - b.offset);
  const texts = inOrder.slice(0, MAX_PROBLEMS).map(({ offset, message }) => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${String(Math.max(1, line))}:${String(Math.max(1, col))}: ${message}`;
  });
  const more = problems.length - texts.length;
  if (more > 0) texts.push(`${file}: and ${String(more)} more`);
  throw new MeshError("CONFIG_INVALID", [...new Set(texts)].join("\n"), { field: file });
}

/** Where the value at a path starts; its nearest parent where it is absent. */
export function offsetOf(path: Path, document: Document): number {
  for (let length = path.length; length > 0; length--) {
    const node: unknown = document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return document.contents?.range?.[0] ?? 0;
}

/** Where a key of the mapping at a path starts; the mapping where it is absent. */
export function keyOffset(path: Path, key: string, document: Document): number {
  const parent: unknown = path.length === 0 ? document.contents : document.getIn(path, true);
  if (isMap(parent)) {
    for (const { key: node } of parent.items) {
      if (isScalar(node) && String(node.value) === key && node.range) return node.range[0];
    }
  }
  return offsetOf(path, document);
}
