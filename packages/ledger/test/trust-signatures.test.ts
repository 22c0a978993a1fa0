// SPDX-License-Identifier: Apache-2.0
/** Who signs a trust root, and what takes the place of one. */
import { createSigner, createVerifier, generatePrivateKey, toPublicKey } from "@ctxmesh/crypto";
import type { PrivateKey } from "@ctxmesh/crypto";
import {
  assertNotRolledBack,
  createTrustRoot,
  formatRootCandidate,
  formatTrustRoot,
  parseRootCandidate,
  parseTrustRoot,
  rootApproval,
  signRoot,
  trustRootDigest,
  updateTrustRoot,
} from "@ctxmesh/ledger";
import type { TrustRoot, TrustRootDraft, TrustedKeyDraft } from "@ctxmesh/ledger";
import { canonicalJson } from "@ctxmesh/codec";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { NOW, codeOf, random, snapshotKey, trustRoot } from "./fixture.ts";

const people = Array.from({ length: 4 }, () => generatePrivateKey("ML-DSA-44-Ed25519", random));
const [ann, ben, cat, dan] = people as [PrivateKey, PrivateKey, PrivateKey, PrivateKey];
const rootEntry = (person: PrivateKey): TrustedKeyDraft => ({
  role: "root",
  key: toPublicKey(person),
  validFrom: 0,
});
const snapshotEntry: TrustedKeyDraft = { role: "snapshot", key: toPublicKey(snapshotKey) };
const rootOf = (
  holders: readonly PrivateKey[],
  rootThreshold: number,
  changes: Partial<TrustRootDraft> = {},
): TrustRoot =>
  trustRoot({ keys: [...holders.map(rootEntry), snapshotEntry], rootThreshold, ...changes });
const signed = (root: TrustRoot, ...by: PrivateKey[]): string =>
  formatTrustRoot(root, by.map(createSigner));

const two = rootOf([ann, ben, cat], 2);
const text = signed(two, ann, ben);

describe("a root of its own", () => {
  test("needs as many signatures as it asks for, of different keys in force", () => {
    expect(parseTrustRoot(text)).toEqual(two);
    expect(parseTrustRoot(signed(two, ann, ben, cat))).toEqual(two);
    const code = (...by: PrivateKey[]): string => codeOf(() => parseTrustRoot(signed(two, ...by)));
    expect(code()).toBe("POLICY_REFUSED");
    expect(code(cat)).toBe("POLICY_REFUSED");
    // One key twice is one key too much for the file, and counts once in any case.
    expect(code(ann, ann)).toBe("FORMAT_INVALID");
    const { root, signatures } = parseRootCandidate(signed(two, ann));
    const twice = { root, signatures: [...signatures, ...signatures] };
    expect(rootApproval(twice, two)).toMatchObject({ signed: [ann.keyid], enough: false });
    expect(rootApproval(twice, two).open).toEqual([ben.keyid, cat.keyid].toSorted());
  });

  test("counts no key that is revoked, at its end, not valid yet, or of an algorithm that does not count", () => {
    const { issued } = two;
    for (const changes of [
      { revokedAt: issued, reason: "lost" },
      { validUntil: issued },
      { validFrom: issued + 1 },
    ]) {
      const entry = { ...rootEntry(cat), ...changes };
      const root = trustRoot({ keys: [rootEntry(ann), rootEntry(ben), entry], rootThreshold: 2 });
      expect(codeOf(() => parseTrustRoot(signed(root, ann, cat)))).toBe("POLICY_REFUSED");
      expect(codeOf(() => parseTrustRoot(signed(root, ann, ben)))).toBe("no error");
    }
    const weak = generatePrivateKey("Ed25519", random);
    const algs = ["ML-DSA-44-Ed25519"] as const;
    const minAlg = {
      ...two.minAlg,
      root: [
        { from: 0, algs: [...algs, "Ed25519"] },
        { from: issued, algs },
      ],
    } as const;
    const root = trustRoot({ keys: [rootEntry(weak), rootEntry(ann)], minAlg });
    expect(codeOf(() => parseTrustRoot(signed(root, weak)))).toBe("POLICY_REFUSED");
    expect(codeOf(() => parseTrustRoot(signed(root, weak, ann)))).toBe("no error");
  });

  test("has no signature by anybody else, and is signed by nobody else", () => {
    expect(codeOf(() => signRoot(two, createSigner(dan)))).toBe("POLICY_REFUSED");
    expect(codeOf(() => signRoot(two, createSigner(snapshotKey)))).toBe("POLICY_REFUSED");
    const { root, signatures } = parseRootCandidate(text);
    const strange = { keyid: dan.keyid, signature: createSigner(dan).sign(Uint8Array.of(1)) };
    const more = formatRootCandidate({ root, signatures: [...signatures, strange] });
    expect(codeOf(() => parseTrustRoot(more))).toBe("SIGNATURE_INVALID");
  });

  test("is signed in the form that docs/TRUST.md states, both halves of it", () => {
    const { signed: part } = JSON.parse(text) as { signed: Parameters<typeof canonicalJson>[0] };
    const payload = canonicalJson(part);
    const type = "application/vnd.ctxmesh.root+json";
    const length = String(Buffer.byteLength(payload));
    const message = Buffer.from(`DSSEv1 33 ${type} ${length} ${payload}`);
    const made = parseRootCandidate(text).signatures.find(({ keyid }) => keyid === ann.keyid);
    const signature = made?.signature ?? new Uint8Array();
    const verify = createVerifier(toPublicKey(ann));
    expect(verify.verify(message, signature)).toBe(true);
    for (const half of [signature.slice(0, 2420), signature.slice(2420)]) {
      const { root, signatures } = parseRootCandidate(text);
      const stripped = signatures.map((one) =>
        one.keyid === ann.keyid ? { ...one, signature: half } : one,
      );
      const file = formatRootCandidate({ root, signatures: stripped });
      expect(codeOf(() => parseTrustRoot(file))).toBe("SIGNATURE_INVALID");
    }
  });
});

/** The next version of {@link two}. */
const next = (changes: Partial<TrustRootDraft> = {}, holders = [ann, ben, cat]): TrustRoot =>
  rootOf(holders, 2, { version: 2, issued: two.issued + 1, ...changes });
const updateCode = (file: string): string => codeOf(() => updateTrustRoot(two, file));
/** Of an update that says that it was issued then. */
const codeAt = (issued: number): string => updateCode(signed(next({ issued }), ann, ben));

describe("an update", () => {
  test("is signed by a threshold of the old keys and by one of the new ones", () => {
    expect(updateTrustRoot(two, signed(next(), ann, cat))).toEqual(next());
    expect(updateCode(signed(next(), ben))).toBe("POLICY_REFUSED");
    // Ben hands over to Dan: Ann and Ben are enough for the old root, Ann and Dan for the new one.
    const former = { ...rootEntry(ben), revokedAt: NOW, reason: "left" };
    const handover = next({ keys: [...[ann, cat, dan].map(rootEntry), former, snapshotEntry] });
    expect(updateCode(signed(handover, ann, ben))).toBe("POLICY_REFUSED");
    expect(updateCode(signed(handover, ann, dan))).toBe("POLICY_REFUSED");
    expect(updateTrustRoot(two, signed(handover, ann, ben, dan))).toEqual(handover);
    expect(updateCode(signed(handover, ann, cat))).toBe("no error");
    // A root that somebody made with keys of his own is a root, and no update.
    const alone = rootOf([dan], 1, { version: 2, issued: two.issued + 1 });
    expect(codeOf(() => parseTrustRoot(signed(alone, dan)))).toBe("no error");
    expect(updateCode(signed(alone, dan))).toBe("POLICY_REFUSED");
  });

  test("is the next version: not an older one, not the same, not one after that", () => {
    const later = updateTrustRoot(two, signed(next(), ann, ben));
    const updateOfLater = (file: string): string => codeOf(() => updateTrustRoot(later, file));
    expect(updateOfLater(text)).toBe("POLICY_REFUSED");
    expect(updateOfLater(signed(next(), ann, ben))).toBe("POLICY_REFUSED");
    expect(updateCode(signed(next({ version: 3 }), ann, ben))).toBe("POLICY_REFUSED");
    const gap = signed(next({ version: 4 }), ann, ben);
    expect(() => updateTrustRoot(two, gap)).toThrow(
      /does not follow version 1: version 2 is missing/u,
    );
  });

  test("was issued after the root that it follows, so that no key signs it by an earlier time", () => {
    expect(codeAt(two.issued - 1)).toBe("POLICY_REFUSED");
    expect(codeAt(two.issued)).toBe("POLICY_REFUSED");
    expect(codeAt(two.issued + 1)).toBe("no error");
  });

  test("lowers no algorithm by itself: the old root's rule holds for the old root's signatures", () => {
    const weak = generatePrivateKey("Ed25519", random);
    const minAlg = {
      ...two.minAlg,
      root: [{ from: 0, algs: ["ML-DSA-44-Ed25519", "Ed25519"] }],
    } as const;
    const lowered = rootOf([ann, weak], 1, { version: 2, issued: two.issued + 1, minAlg });
    expect(updateCode(signed(lowered, ann, weak))).toBe("POLICY_REFUSED");
  });

  test("whoever knows a version takes no older one, and no other one of that version", () => {
    const known = { version: 2, digest: trustRootDigest(next()) };
    const check = (root: TrustRoot): string =>
      codeOf(() => {
        assertNotRolledBack(root, known);
      });
    expect(check(two)).toBe("POLICY_REFUSED");
    expect(check(next())).toBe("no error");
    expect(check(next({ expires: two.expires + 1 }))).toBe("POLICY_REFUSED");
    expect(check(next({ version: 3 }))).toBe("no error");
  });
});

const codeOfBytes = (changed: Uint8Array): string =>
  codeOf(() => parseTrustRoot(new TextDecoder().decode(changed)));

describe("edits of a signed file", () => {
  const REFUSED =
    /^(?:FORMAT_INVALID|INPUT_INVALID|KEY_INVALID|LIMIT_EXCEEDED|SIGNATURE_INVALID|POLICY_REFUSED)$/u;
  const small = createTrustRoot({
    ...two,
    keys: [rootEntry(ann)],
    rootThreshold: 1,
    logs: [],
    spaces: [],
  });
  const bytes = new TextEncoder().encode(signed(small, ann));
  test("are refused: one bit, two bytes swapped, a piece cut out or moved", () => {
    const at = fc.nat(bytes.length - 1);
    fc.assert(
      fc.property(at, fc.nat(7), (index, bit) => {
        const changed = bytes.slice();
        changed[index] = (changed[index] ?? 0) ^ (1 << bit);
        expect(codeOfBytes(changed)).toMatch(REFUSED);
      }),
      { numRuns: 300 },
    );
    fc.assert(
      fc.property(at, at, (a, b) => {
        fc.pre(bytes[a] !== bytes[b]);
        const changed = bytes.slice();
        [changed[a], changed[b]] = [bytes[b] ?? 0, bytes[a] ?? 0];
        expect(codeOfBytes(changed)).toMatch(REFUSED);
      }),
      { numRuns: 150 },
    );
    fc.assert(
      fc.property(at, fc.integer({ min: 1, max: 200 }), at, (start, length, target) => {
        const piece = bytes.subarray(start, start + length);
        const rest = Buffer.concat([bytes.subarray(0, start), bytes.subarray(start + length)]);
        expect(codeOfBytes(rest)).toMatch(REFUSED);
        const moved = Buffer.concat([rest.subarray(0, target), piece, rest.subarray(target)]);
        fc.pre(!moved.equals(bytes));
        expect(codeOfBytes(moved)).toMatch(REFUSED);
      }),
      { numRuns: 150 },
    );
    expect(codeOfBytes(bytes)).toBe("no error");
  });

  test("of values that stay well-formed are refused for the signature", () => {
    const value = JSON.parse(text) as { signed: Record<string, unknown>; signatures: unknown[] };
    const changed = (edit: (copy: typeof value) => void): string => {
      const copy = structuredClone(value);
      edit(copy);
      return codeOf(() => parseTrustRoot(`${JSON.stringify(copy, undefined, 2)}\n`));
    };
    expect(changed((copy) => (copy.signed["expires"] = NOW * 2))).toBe("SIGNATURE_INVALID");
    expect(changed((copy) => (copy.signed["version"] = 7))).toBe("SIGNATURE_INVALID");
    expect(changed((copy) => (copy.signed["spaces"] = []))).toBe("SIGNATURE_INVALID");
    expect(
      changed((copy) => (copy.signed["keys"] = (copy.signed["keys"] as unknown[]).toReversed())),
    ).toBe("SIGNATURE_INVALID");
    expect(changed((copy) => (copy.signatures = copy.signatures.toReversed()))).toBe(
      "FORMAT_INVALID",
    );
    expect(changed((copy) => copy.signatures.pop())).toBe("POLICY_REFUSED");
  });
});
