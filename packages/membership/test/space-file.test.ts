// SPDX-License-Identifier: Apache-2.0
import { decodeSignedRecord, encodeSignedRecord, fromBase64, toBase64 } from "@ctxmesh/codec";
import { encodeSpaceFile, issueGrant, parseSpaceFile, setPolicy } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { LIMITS, MeshError } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  DAY_MS,
  START_MS,
  adding,
  alice,
  bob,
  creator,
  emptySpace,
  grantId,
  grantOf,
  make,
  reader,
  revokeOf,
  spaceWith,
  stranger,
  verifier,
} from "./mesh.ts";
import type { Made } from "./mesh.ts";

interface File {
  readonly format: string;
  readonly genesis: string;
  readonly acts: readonly string[];
}

const managed = spaceWith([
  [alice, "manage"],
  [bob, "manage"],
]);
const space = setPolicy(
  adding(
    managed,
    make(managed, bob, grantOf(reader), { authority: grantId(managed, bob) }),
    make(managed, alice, revokeOf(bob), { authority: grantId(managed, alice) }),
  ),
  creator.signer,
  { epoch: 2, rules: [{ prefix: "", resolver: "max" }] },
);
const text = encodeSpaceFile(space);
const file = JSON.parse(text) as File;
const [first = "", ...others] = file.acts;
const last = file.acts.at(-1) ?? "";
const parse = (changed: unknown, nowMs?: number): Space =>
  parseSpaceFile(typeof changed === "string" ? changed : JSON.stringify(changed), verifier, nowMs);
const withActs = (acts: readonly unknown[]): unknown => ({ ...file, acts });
const textOf = ({ record }: Made): string => toBase64(encodeSignedRecord(record));

/** A signed record as text with one bit of its signature, or of its body, flipped. */
function damaged(record: string, part: "body" | "signature"): string {
  const parts = decodeSignedRecord(fromBase64(record));
  const flipped = parts[part].map((byte, i) => (i === 40 ? byte ^ 1 : byte));
  return toBase64(encodeSignedRecord({ ...parts, [part]: flipped }));
}

describe("a space file", () => {
  test("reads back as the space that was written, with and without acts", () => {
    expect(parse(text)).toEqual(space);
    expect(parse(encodeSpaceFile(emptySpace()))).toEqual(emptySpace());
    expect(encodeSpaceFile(parse(text))).toBe(text);
    expect(text.endsWith("\n")).toBe(true);
    expect(file.format).toBe("ctxmesh-space/v2");
  });

  test("carries acts that do not count as well, or others could come to another result", () => {
    expect(space.acts.some(({ valid }) => !valid)).toBe(true);
    expect(parse(text).acts.map(({ valid }) => valid)).toEqual(
      space.acts.map(({ valid }) => valid),
    );
  });

  test("has parents before children, and reads in any order", () => {
    expect(parse(withActs(file.acts.toReversed()))).toEqual(space);
    expect(parse(withActs([...file.acts, first]))).toEqual(space);
  });

  test("reads without a clock; with one, not when an act is of the future", () => {
    expect(parse(text, START_MS + DAY_MS)).toEqual(space);
    expect(() => parse(text, START_MS - LIMITS.clockAheadMs - 1)).toThrow(
      expect.objectContaining({ code: "FORMAT_INVALID" }) as Error,
    );
  });

  const foreign = encodeSpaceFile(
    issueGrant(emptySpace(2), creator.signer, {
      device: reader.key,
      service: "agent",
      role: "write",
      notBefore: START_MS,
    }),
  );
  const byStranger = make(space, stranger, grantOf(stranger));
  const forged = make(space, creator, grantOf(stranger), { signer: stranger.signer });

  test.each<[string, unknown, string]>([
    [
      "a broken genesis signature",
      { ...file, genesis: damaged(file.genesis, "signature") },
      "SIGNATURE_INVALID",
    ],
    [
      "another genesis",
      { ...file, genesis: (JSON.parse(foreign) as File).genesis },
      "POLICY_REFUSED",
    ],
    [
      "a broken signature",
      withActs([...file.acts.slice(0, -1), damaged(last, "signature")]),
      "SIGNATURE_INVALID",
    ],
    [
      "a changed act",
      withActs([...file.acts.slice(0, -1), damaged(last, "body")]),
      "FORMAT_INVALID",
    ],
    [
      "an act of another space",
      withActs([...file.acts, ...(JSON.parse(foreign) as File).acts]),
      "POLICY_REFUSED",
    ],
    ["an act of a stranger", withActs([...file.acts, textOf(byStranger)]), "POLICY_REFUSED"],
    [
      "an act in a creator's name by another",
      withActs([...file.acts, textOf(forged)]),
      "SIGNATURE_INVALID",
    ],
    ["an act missing that others name", withActs(others), "FORMAT_INVALID"],
    ["the genesis among the acts", withActs([file.genesis]), "FORMAT_INVALID"],
    ["an act in place of the genesis", { ...file, genesis: first }, "FORMAT_INVALID"],
    ["an unknown format", { ...file, format: "ctxmesh-space/v3" }, "FORMAT_INVALID"],
    ["a member more", { ...file, extra: 1 }, "FORMAT_INVALID"],
    ["a member less", { format: file.format, genesis: file.genesis }, "FORMAT_INVALID"],
    ["acts that are no array", { ...file, acts: first }, "FORMAT_INVALID"],
    ["an act that is no text", withActs([1]), "FORMAT_INVALID"],
    ["a genesis that is no text", { ...file, genesis: null }, "FORMAT_INVALID"],
    ["base64 with a line break", withActs([`${first}\n`]), "FORMAT_INVALID"],
    ["an empty act", withActs([""]), "FORMAT_INVALID"],
    [
      "more acts than a space may have",
      withActs(Array.from({ length: LIMITS.acts + 1 }, () => "")),
      "LIMIT_EXCEEDED",
    ],
    ["no object", [1, 2, 3], "FORMAT_INVALID"],
    ["null", null, "FORMAT_INVALID"],
    ["no JSON", "{", "FORMAT_INVALID"],
    ["nothing", "", "FORMAT_INVALID"],
    ["more than a space file", " ".repeat(LIMITS.spaceFileBytes + 1), "LIMIT_EXCEEDED"],
  ])("with %s is refused", (_, changed, code) => {
    expect(() => parse(changed)).toThrow(expect.objectContaining({ code }) as Error);
  });

  test("of the first format is refused, and the error says what to do", () => {
    const old = { format: "ctxmesh-space/v1", genesis: file.genesis, grants: [] };
    expect(() => parse(old)).toThrow(
      expect.objectContaining({
        code: "FORMAT_INVALID",
        remedy: expect.stringContaining("ctxmesh") as string,
      }) as Error,
    );
  });

  test("cut off anywhere is refused", () => {
    for (let length = 0; length < text.trimEnd().length; length += 7) {
      expect(() => parse(text.slice(0, length))).toThrow(MeshError);
    }
  });

  test("with any one character changed is refused, or says the same", () => {
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.integer({ min: 32, max: 126 }), (at, code) => {
        const changed = text.slice(0, at) + String.fromCodePoint(code) + text.slice(at + 1);
        expect(parseOrOriginal(changed)).toEqual(space);
      }),
      { numRuns: 400 },
    );
  });
});

function parseOrOriginal(changed: string): Space {
  try {
    return parse(changed);
  } catch (error) {
    if (error instanceof MeshError) return space;
    throw error;
  }
}
