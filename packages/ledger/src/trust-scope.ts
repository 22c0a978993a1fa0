// SPDX-License-Identifier: Apache-2.0
/**
 * Where a key may sign:
 *
 * ```
 * *                    every space of the root           *|<space id>/<documents>
 * <space id>           that space                        line-2/press-7    line-*    line-2/**
 * ```
 *
 * In the name of a document `*` stands for any part of one segment, once in each, and `**`, as the last segment, for one or
 * more whole ones. A key that is bound to documents signs nothing that is about a space as a whole.
 */
import type { DocumentName, SpaceId } from "@ctxmesh/model";
import { malformed } from "./read.ts";

// One way to read each text: with two, a text that fits nowhere would be tried in all combinations of them.
const SEGMENT = String.raw`[A-Za-z0-9._\-]*(?:\*[A-Za-z0-9._\-]*)?`;
const SCOPE = new RegExp(
  String.raw`^(?<space>\*|[0-9a-f]{64})(?:/(?<docs>(?:${SEGMENT}/)*(?:${SEGMENT}|\*\*)))?$`,
  "u",
);

/** Throws `FORMAT_INVALID` for what is no scope. */
export function assertScope(text: string): void {
  const { docs } = SCOPE.exec(text.slice(0, 300))?.groups ?? {};
  const wellFormed =
    text.length <= 300 && SCOPE.test(text) && docs?.split("/").includes("") !== true;
  if (!wellFormed) {
    malformed(
      `scope ${JSON.stringify(text.slice(0, 80))} is neither "*", a space id, nor one of both with "/" and documents`,
    );
  }
}

/** Whether a scope covers a document of a space or, without one, the space as a whole. */
export function isInScope(scope: string, space: SpaceId, doc: DocumentName | undefined): boolean {
  const [first = "", ...globs] = scope.split("/");
  if (first !== "*" && first !== space) return false;
  if (globs.length === 0) return true;
  return doc !== undefined && matches(globs, doc.split("/"));
}

function matches(globs: readonly string[], segments: readonly string[]): boolean {
  const open = globs.at(-1) === "**";
  const fixed = open ? globs.slice(0, -1) : globs;
  const fits = open ? segments.length > fixed.length : segments.length === fixed.length;
  return fits && fixed.every((glob, i) => matchesSegment(glob, segments[i] ?? ""));
}

function matchesSegment(glob: string, segment: string): boolean {
  const [head = "", tail] = glob.split("*", 2);
  if (tail === undefined) return glob === segment;
  return (
    segment.length >= head.length + tail.length &&
    segment.startsWith(head) &&
    segment.endsWith(tail)
  );
}
