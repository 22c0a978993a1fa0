// SPDX-License-Identifier: Apache-2.0
import {
  ROLES,
  decodeGrant,
  decodeSignedRecord,
  encodeGrant,
  encodeSignedRecord,
  fromBase64,
  grantSigningInput,
  toBase64,
} from "@ctxmesh/codec";
import type { Grant } from "@ctxmesh/codec";
import { LIMITS, MeshError, parseSpaceId } from "@ctxmesh/model";
import {
  DEFAULT_GRANT_MS,
  allows,
  createSpace,
  encodeSpaceFile,
  issueGrant,
  parseSpaceFile,
} from "@ctxmesh/replica";
import type { Space } from "@ctxmesh/replica";
import { createSeededRandom } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  DAY_MS,
  START_MS,
  creator,
  deviceOf,
  emptySpace,
  space,
  stranger,
  us,
  verifier,
  writer,
} from "./mesh.ts";

interface File {
  readonly format: string;
  readonly genesis: string;
  readonly grants: readonly string[];
}

const text = encodeSpaceFile(space);
const file = JSON.parse(text) as File;
const parse = (changed: unknown): Space =>
  parseSpaceFile(typeof changed === "string" ? changed : JSON.stringify(changed), verifier);
const withGrants = (grants: readonly string[]): File => ({ ...file, grants });

/** A grant of the space as text, changed, and signed by whoever is told. */
function grantText(members: Partial<Grant>, signer = creator.signer): string {
  const record = decodeSignedRecord(fromBase64(file.grants[0] ?? ""));
  const body = encodeGrant({ ...decodeGrant(record.body), ...members });
  return toBase64(encodeSignedRecord({ body, signature: signer.sign(grantSigningInput(body)) }));
}

/** A signed record as text with one bit of its signature flipped. */
function badSignature(record: string): string {
  const { body, signature } = decodeSignedRecord(fromBase64(record));
  const flipped = signature.map((byte, i) => (i === 40 ? byte ^ 1 : byte));
  return toBase64(encodeSignedRecord({ body, signature: flipped }));
}

describe("a space file", () => {
  test("reads back as the space that was written, with and without grants", () => {
    expect(parse(text)).toEqual(space);
    expect(parse(encodeSpaceFile(emptySpace()))).toEqual(emptySpace());
    expect(encodeSpaceFile(parse(text))).toBe(text);
    expect(text.endsWith("\n")).toBe(true);
  });

  test("keeps the newest grant of a device, whatever their order in the file", () => {
    const renewed = issueGrant(space, creator.signer, {
      device: writer.key,
      service: "agent",
      role: "manage",
      notBefore: START_MS,
    });
    const both = JSON.parse(encodeSpaceFile(renewed)) as File;
    for (const grants of [both.grants, both.grants.toReversed()]) {
      expect(parse({ ...both, grants }).grants.get(writer.key)?.role).toBe("manage");
    }
    expect(parse(encodeSpaceFile(renewed)).grants).toEqual(renewed.grants);
  });

  const foreign = encodeSpaceFile(
    issueGrant(emptySpace(2), creator.signer, {
      device: us.key,
      service: "agent",
      role: "write",
      notBefore: START_MS,
    }),
  );
  const [first = "", ...others] = file.grants;

  test.each<[string, unknown, string]>([
    [
      "a broken genesis signature",
      { ...file, genesis: badSignature(file.genesis) },
      "SIGNATURE_INVALID",
    ],
    ["a broken grant signature", withGrants([...others, badSignature(first)]), "SIGNATURE_INVALID"],
    [
      "a grant of another space",
      withGrants([...(JSON.parse(foreign) as File).grants]),
      "POLICY_REFUSED",
    ],
    [
      "a grant by another issuer",
      withGrants([grantText({ issuer: stranger.key }, stranger.signer)]),
      "POLICY_REFUSED",
    ],
    [
      "a grant in the creator's name by another",
      withGrants([grantText({}, stranger.signer)]),
      "SIGNATURE_INVALID",
    ],
    [
      "a changed role under the old signature",
      withGrants([changedRole(first)]),
      "SIGNATURE_INVALID",
    ],
    ["a genesis in place of a grant", withGrants([file.genesis]), "FORMAT_INVALID"],
    ["a grant in place of the genesis", { ...file, genesis: first }, "FORMAT_INVALID"],
    ["another format", { ...file, format: "ctxmesh-space/v2" }, "FORMAT_INVALID"],
    ["a member more", { ...file, extra: 1 }, "FORMAT_INVALID"],
    ["a member less", { format: file.format, genesis: file.genesis }, "FORMAT_INVALID"],
    ["grants that are no array", { ...file, grants: first }, "FORMAT_INVALID"],
    ["a grant that is no text", withGrants([1 as unknown as string]), "FORMAT_INVALID"],
    ["a genesis that is no text", { ...file, genesis: null }, "FORMAT_INVALID"],
    ["base64 without its padding", withGrants([`${first}\n`]), "FORMAT_INVALID"],
    ["an empty grant", withGrants([""]), "FORMAT_INVALID"],
    ["no object", [1, 2, 3], "FORMAT_INVALID"],
    ["null", null, "FORMAT_INVALID"],
    ["no JSON", "{", "FORMAT_INVALID"],
    ["nothing", "", "FORMAT_INVALID"],
    ["more than a small file", " ".repeat(LIMITS.smallFileBytes + 1), "LIMIT_EXCEEDED"],
  ])("with %s is refused", (_, changed, code) => {
    expect(() => parse(changed)).toThrow(expect.objectContaining({ code }) as Error);
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

function changedRole(record: string): string {
  const { body, signature } = decodeSignedRecord(fromBase64(record));
  const changed = encodeGrant({ ...decodeGrant(body), role: "manage" });
  return toBase64(encodeSignedRecord({ body: changed, signature }));
}

describe("a space", () => {
  test("has the hash of its genesis as id, so that no two are the same", () => {
    expect(parseSpaceId(space.id)).toBe(space.id);
    expect(emptySpace(1).id).toBe(emptySpace(1).id);
    expect(emptySpace(2).id).not.toBe(emptySpace(1).id);
  });

  test.each(["", "n".repeat(101)])(
    "is not founded under a name that no one could read back: %j",
    (name) => {
      const options = {
        name,
        creator: creator.signer,
        now: START_MS,
        random: createSeededRandom(1),
      };
      expect(() => createSpace(options)).toThrow(MeshError);
    },
  );

  test("takes grants of its creator alone", () => {
    const grant = { device: us.key, service: "agent", role: "write", notBefore: START_MS } as const;
    expect(() => issueGrant(space, us.signer, grant)).toThrow(
      expect.objectContaining({ code: "POLICY_REFUSED" }) as Error,
    );
  });

  test.each([{ notBefore: -1 }, { notBefore: 0.5 }, { notAfter: Number.NaN }, { notAfter: -5 }])(
    "does not issue a grant that could not be read back: %j",
    (times) => {
      const grant = {
        device: us.key,
        service: "agent",
        role: "write",
        notBefore: START_MS,
      } as const;
      expect(() => issueGrant(space, creator.signer, { ...grant, ...times })).toThrow(MeshError);
    },
  );

  test("gives every grant a number of its own and 30 days unless told otherwise", () => {
    let grown = emptySpace();
    for (let n = 1; n <= 5; n++) {
      const grant = {
        device: deviceOf(n).key,
        service: "hub",
        role: "read",
        notBefore: START_MS,
      } as const;
      grown = issueGrant(grown, creator.signer, grant);
    }
    const grants = [...grown.grants.values()];
    expect(grants.map(({ index }) => index)).toEqual([1, 2, 3, 4, 5]);
    expect(grants.every(({ notAfter }) => notAfter === START_MS + DEFAULT_GRANT_MS)).toBe(true);
    expect(DEFAULT_GRANT_MS).toBe(30 * DAY_MS);
    expect(emptySpace().grants.size).toBe(0);
  });

  test("each role allows itself and the ones before it", () => {
    const [base] = space.grants.values();
    for (const [i, role] of ROLES.entries()) {
      for (const [j, needed] of ROLES.entries()) {
        expect(base !== undefined && allows({ ...base, role }, needed)).toBe(j <= i);
      }
    }
  });
});
