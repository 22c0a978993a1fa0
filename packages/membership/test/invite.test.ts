// SPDX-License-Identifier: Apache-2.0
import { encodeCbor, encodeSignedRecord } from "@ctxmesh/codec";
import type { CborValue } from "@ctxmesh/codec";
import {
  DEFAULT_GRANT_MS,
  acceptInvite,
  addActs,
  encodeInvite,
  isWelcome,
  issueInvite,
  parseInvite,
  revokeDevice,
  roleAt,
} from "@ctxmesh/membership";
import type { Contact, Invitation, Space } from "@ctxmesh/membership";
import { LIMITS, MeshError, fromHex } from "@ctxmesh/model";
import * as fc from "fast-check";
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  DAY_MS,
  NOW_MS,
  START_MS,
  alice,
  bob,
  creator,
  deviceOf,
  emptySpace,
  spaceWith,
  stranger,
  verifier,
} from "./mesh.ts";

const BASE64URL: readonly string[] = Array.from(
  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
);
const key = deviceOf(60);
const device = deviceOf(70);
const contacts: readonly Contact[] = [
  { address: "/ip4/192.0.2.1/tcp/4001", device: alice.key },
  { address: "wss://hub.example/sync", device: bob.key },
];
const space = issueInvite(spaceWith([[alice, "manage"]]), alice.signer, {
  key: key.key,
  service: "agent",
  role: "append",
  now: START_MS,
  notAfter: START_MS + DAY_MS,
});
const token = encodeInvite(space, { seed: key.seed, contacts });
const parse = (text: string): Invitation => parseInvite(text, verifier);
const code = (expected: string): Error => expect.objectContaining({ code: expected }) as Error;

/** A token with a right checksum over whatever body. */
const sealed = (value: CborValue): string => {
  const body = encodeCbor(value);
  const checksum = createHash("sha256").update(body).digest().subarray(0, 8);
  return `ctxmesh-invite1.${Buffer.concat([body, checksum]).toString("base64url")}`;
};

describe("the token of an invite", () => {
  test("reads back as what was written, with white space around it or not", () => {
    for (const text of [token, `\n  ${token}\r\n`]) {
      const invitation = parse(text);
      expect(invitation.space).toEqual(emptySpace());
      expect(invitation.seed).toEqual(key.seed);
      expect(invitation.key).toBe(key.key);
      expect(invitation.act).toBe(space.invites.get(key.key)?.id);
      expect(invitation.contacts).toEqual(contacts);
    }
  });

  test("is one word that survives a double click, a mail and a shell", () => {
    expect(token).toMatch(/^ctxmesh-invite1\.[A-Za-z0-9_-]+$/u);
  });

  test("changed in any one character is refused", () => {
    fc.assert(
      fc.property(
        fc.nat(token.length - 1),
        fc.oneof(
          fc.constantFrom(...BASE64URL, "="),
          fc.integer({ min: 0, max: 0x2ff }).map((point) => String.fromCodePoint(point)),
        ),
        (at, character) => {
          fc.pre(character !== token[at]);
          const changed = token.slice(0, at) + character + token.slice(at + 1);
          fc.pre(changed.trim().length === token.length);
          expect(() => parse(changed)).toThrow(MeshError);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test("changed in the last character, which has bits to spare, is refused", () => {
    for (const character of BASE64URL) {
      if (character === token.at(-1)) continue;
      expect(() => parse(token.slice(0, -1) + character)).toThrow(code("FORMAT_INVALID"));
    }
  });

  test("cut off, doubled or with a character more is refused", () => {
    for (let length = 0; length < token.length; length++) {
      expect(() => parse(token.slice(0, length))).toThrow(code("FORMAT_INVALID"));
    }
    for (const changed of [token + token, `${token}A`, `${token}=`, `${token} x`]) {
      expect(() => parse(changed)).toThrow(code("FORMAT_INVALID"));
    }
  });

  test("with two characters swapped is refused", () => {
    for (let at = 16; at + 1 < token.length; at++) {
      const [a, b] = [token[at] ?? "", token[at + 1] ?? ""];
      if (a === b) continue;
      const changed = token.slice(0, at) + b + a + token.slice(at + 2);
      expect(() => parse(changed)).toThrow(code("FORMAT_INVALID"));
    }
  });

  const members = {
    v: 1,
    genesis: encodeSignedRecord(space.genesisRecord),
    act: new Uint8Array(32),
    seed: key.seed,
    contacts: [{ address: "a", device: fromHex(alice.key) }],
  };
  const contact = (changes: object): CborValue => [{ ...members.contacts[0], ...changes }];
  const badGenesis = encodeSignedRecord({
    ...space.genesisRecord,
    signature: new Uint8Array(64),
  });

  test.each<[string, object, string]>([
    ["of another version", { v: 2 }, "FORMAT_INVALID"],
    ["with a member more", { extra: 1 }, "FORMAT_INVALID"],
    ["with a genesis that is not signed", { genesis: badGenesis }, "SIGNATURE_INVALID"],
    ["with a genesis that is none", { genesis: new Uint8Array(3) }, "FORMAT_INVALID"],
    ["with a text as genesis", { genesis: "x" }, "FORMAT_INVALID"],
    ["with a short act", { act: new Uint8Array(31) }, "FORMAT_INVALID"],
    ["with a short seed", { seed: new Uint8Array(31) }, "FORMAT_INVALID"],
    ["without contacts", { contacts: [] }, "FORMAT_INVALID"],
    [
      "with too many contacts",
      { contacts: Array.from({ length: LIMITS.inviteContacts + 1 }, () => members.contacts[0]) },
      "FORMAT_INVALID",
    ],
    ["with an empty address", { contacts: contact({ address: "" }) }, "FORMAT_INVALID"],
    [
      "with a line break in an address",
      { contacts: contact({ address: "a\nb" }) },
      "FORMAT_INVALID",
    ],
    [
      "with a long address",
      { contacts: contact({ address: "a".repeat(LIMITS.contactLength + 1) }) },
      "FORMAT_INVALID",
    ],
    [
      "with a contact of a short key",
      { contacts: contact({ device: new Uint8Array(31) }) },
      "FORMAT_INVALID",
    ],
    ["with a contact that has more to say", { contacts: contact({ extra: 1 }) }, "FORMAT_INVALID"],
  ])("%s is refused though its checksum is right", (_, changes, expected) => {
    expect(parse(sealed(members)).key).toBe(key.key);
    expect(() => parse(sealed({ ...members, ...changes }))).toThrow(code(expected));
  });

  test("over LIMITS.inviteLength is refused", () => {
    expect(() => parse("ctxmesh-invite1.".padEnd(LIMITS.inviteLength + 1, "A"))).toThrow(
      code("LIMIT_EXCEEDED"),
    );
  });

  test("with the longest addresses reads back", () => {
    const longest = Array.from({ length: LIMITS.inviteContacts }, (_, n) => ({
      address: "é".repeat(LIMITS.contactLength),
      device: deviceOf(n).key,
    }));
    expect(parse(encodeInvite(space, { seed: key.seed, contacts: longest })).contacts).toEqual(
      longest,
    );
  });

  test.each<[string, readonly Contact[]]>([
    ["no contact", []],
    ["an address in two lines", [{ address: "a\nb", device: alice.key }]],
  ])("is not made with %s", (_, unreadable) => {
    expect(() => encodeInvite(space, { seed: key.seed, contacts: unreadable })).toThrow(
      code("FORMAT_INVALID"),
    );
  });

  test("is not made for a key that is no invite's", () => {
    expect(() => encodeInvite(space, { seed: stranger.seed, contacts })).toThrow(
      code("POLICY_REFUSED"),
    );
  });
});

const records = (from: Space): Space["acts"][number]["record"][] =>
  from.acts.map(({ record }) => record);

const revoked = (who: typeof key): Space =>
  revokeDevice(space, creator.signer, {
    device: who.key,
    heads: [],
    reason: "leaked",
    now: START_MS,
  });

describe("a device joins", () => {
  test("with nothing but a token: it connects as the invite, learns the acts, and grants itself", () => {
    const invitation = parse(token);
    expect(isWelcome(space, invitation.key, START_MS + 1)).toBe(true);
    const learned = addActs(invitation.space, records(space), verifier, NOW_MS).space;
    const joined = acceptInvite(learned, invitation.seed, device.key, START_MS + 1);
    expect(joined.grants.get(device.key)).toMatchObject([
      {
        role: "append",
        service: "agent",
        notBefore: START_MS + 1,
        notAfter: START_MS + 1 + DEFAULT_GRANT_MS,
        issuer: key.key,
      },
    ]);
    const { space: told, refused } = addActs(space, records(joined), verifier, NOW_MS);
    expect([refused, told]).toEqual([[], joined]);
    expect(roleAt(told, device.key, START_MS + DAY_MS)).toBe("append");
  });

  test("and another one with the same token", () => {
    const one = acceptInvite(space, key.seed, device.key, START_MS);
    const both = acceptInvite(one, key.seed, bob.key, START_MS);
    expect([...both.grants.keys()].toSorted()).toEqual([alice.key, device.key, bob.key].toSorted());
  });

  test("not after the invite's end", () => {
    expect(acceptInvite(space, key.seed, device.key, START_MS + DAY_MS).grants.size).toBe(2);
    expect(() => acceptInvite(space, key.seed, device.key, START_MS + DAY_MS + 1)).toThrow(
      code("POLICY_REFUSED"),
    );
  });

  test("not with a revoked or unknown invite, nor as a revoked device", () => {
    for (const join of [
      () => acceptInvite(revoked(key), key.seed, device.key, START_MS),
      () => acceptInvite(emptySpace(), key.seed, device.key, START_MS),
      () => acceptInvite(space, stranger.seed, device.key, START_MS),
      () => acceptInvite(revoked(device), key.seed, device.key, START_MS),
    ]) {
      expect(join).toThrow(code("POLICY_REFUSED"));
    }
  });
});
