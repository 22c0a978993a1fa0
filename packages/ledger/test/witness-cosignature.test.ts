// SPDX-License-Identifier: Apache-2.0
import { toBase64, utf8Encode } from "@ctxmesh/codec";
import { createSigner, createVerifier, generatePrivateKey } from "@ctxmesh/crypto";
import {
  NOTE_TYPES,
  acceptCosignatures,
  cosignatureType,
  formatVkey,
  parseCheckpoint,
  parseVkey,
  parseVkeys,
  verifyCheckpoint,
} from "@ctxmesh/ledger";
import { LIMITS } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { addLines, cosignatureLine } from "../src/witness-cosignature.ts";
import { MALFORMED, NOW, ORIGIN, codeOf, random } from "./fixture.ts";
import { haveVectors, readVectorText, skipNote } from "./vectors.ts";
import { SECONDS, checkpointOf, cosigner, hashesOf, headOf, log } from "./witness-kit.ts";
import type { Cosigner } from "./witness-kit.ts";

const hashes = hashesOf(37);
const plain = checkpointOf(hashes);
const checkpoint = parseCheckpoint(plain);
const [first, second, third] = ["w1.test", "w2.test", "w3.test"].map((name) => cosigner(name)) as [
  Cosigner,
  Cosigner,
  Cosigner,
];
const linesBy = ({ name, signers }: Cosigner, seconds = SECONDS): string =>
  signers.map((signer) => cosignatureLine(checkpoint, name, signer, seconds)).join("");
const keys = [first, second, third].flatMap((witness) => witness.keys);
const last = (text: string): string => text.slice(text.lastIndexOf("—"));

test("a checkpoint verifies with both lines of its log, and names who cosigned it", () => {
  const text = `${plain}${linesBy(first)}${linesBy(third, SECONDS + 5)}`;
  expect(verifyCheckpoint(text, log, keys)).toEqual({
    head: headOf(hashes),
    loggedMs: NOW,
    cosignedBy: ["w1.test", "w3.test"],
    cosignedMs: [NOW, NOW + 5_000],
  });
  expect(verifyCheckpoint(plain, log).cosignedBy).toEqual([]);
});

test("the messages are those of C2SP tlog-cosignature", () => {
  const [ed25519, mldsa44] = first.signers;
  const read = (index: number): Uint8Array =>
    parseCheckpoint(`${plain}${linesBy(first, 1_679_315_147)}`).note.signatures[2 + index]
      ?.signature ?? new Uint8Array();
  const time = Uint8Array.of(0, 0, 0, 0, 0x64, 0x18, 0x50, 0xcb);
  expect([read(0).slice(0, 8), read(1).slice(0, 8)]).toEqual([time, time]);
  const { size, root } = headOf(hashes);
  const body = `${ORIGIN}\n${String(size)}\n${toBase64(root)}\n`;
  const text = utf8Encode(`cosignature/v1\ntime 1679315147\n${body}`);
  if (ed25519 === undefined || mldsa44 === undefined) throw new Error("no keys");
  expect(createVerifier(ed25519.key).verify(text, read(0).slice(8))).toBe(true);
  const message = Uint8Array.from([
    ...utf8Encode("subtree/v1\n\0"),
    7,
    ...utf8Encode("w1.test"),
    ...time,
    ORIGIN.length,
    ...utf8Encode(ORIGIN),
    ...new Uint8Array(15),
    37,
    ...root,
  ]);
  expect(createVerifier(mldsa44.key).verify(message, read(1).slice(8))).toBe(true);
});

test("sixteen witnesses with both kinds of keys fit, and lines of unknown keys are ignored", () => {
  const many = Array.from({ length: 16 }, (_, i) => cosigner(`w${String(i)}.test`));
  const text = `${plain}${many.map((witness) => linesBy(witness)).join("")}`;
  expect(text.length).toBeLessThan(LIMITS.checkpointBytes);
  const known = many.slice(3, 6).flatMap((witness) => witness.keys);
  expect(verifyCheckpoint(text, log, known).cosignedBy).toEqual(["w3.test", "w4.test", "w5.test"]);
});

test("a witness counts once, by whatever lines and keys; a log never for itself", () => {
  const twice = `${plain}${linesBy(first)}${linesBy(first, SECONDS + 9)}`;
  const found = verifyCheckpoint(twice, log, [...first.keys, ...first.keys]);
  expect([found.cosignedBy, found.cosignedMs]).toEqual([["w1.test"], [NOW + 9_000]]);
  const [key] = first.keys;
  const alias = { name: "alias.test", key: key?.key ?? log.ed25519 };
  const aliased = `${twice}${linesBy({ ...first, name: "alias.test" })}`;
  expect(verifyCheckpoint(aliased, log, [...first.keys, alias]).cosignedBy).toEqual(["w1.test"]);
  const itself = { name: ORIGIN, key: log.mldsa44 };
  expect(verifyCheckpoint(plain, log, [itself]).cosignedBy).toEqual([]);
});

test("a line that claims to be by a known key and is not spoils the checkpoint", () => {
  const text = `${plain}${linesBy(first)}`;
  const foreign = parseCheckpoint(checkpointOf(hashesOf(38)));
  for (const signer of first.signers) {
    const wrong = cosignatureLine(foreign, "w1.test", signer, SECONDS);
    expect(codeOf(() => verifyCheckpoint(`${text}${wrong}`, log, keys))).toBe("SIGNATURE_INVALID");
    expect(codeOf(() => verifyCheckpoint(`${plain}${wrong}`, log, keys))).toBe("SIGNATURE_INVALID");
    expect(verifyCheckpoint(`${text}${wrong}`, log, second.keys).cosignedBy).toEqual([]);
  }
  expect(codeOf(() => linesBy(first, 0))).toBe("INPUT_INVALID");
});

test("no changed bit of a cosigned checkpoint leaves it valid and cosigned", () => {
  for (const key of first.keys) {
    const signers = first.signers.filter((signer) => signer.key.keyid === key.key.keyid);
    const bytes = utf8Encode(`${plain}${linesBy({ ...first, signers })}`);
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(6), (at, bit) => {
        const edited = bytes.slice();
        edited[at] = (edited[at] ?? 0) ^ (1 << bit);
        const text = new TextDecoder().decode(edited);
        let cosignedBy: readonly string[] = [];
        // A changed name or key id makes the line one of an unknown key; everything else is refused.
        const code = codeOf(() => ({ cosignedBy } = verifyCheckpoint(text, log, [key])));
        expect(cosignedBy).toEqual([]);
        expect(code).toMatch(/^(?:no error|[A-Z]+_INVALID|POLICY_REFUSED)$/u);
      }),
      { numRuns: 150 },
    );
  }
});

test("a checkpoint of another log, or without either line of its log, is refused", () => {
  const other = { ...log, origin: "other.test" };
  expect(codeOf(() => verifyCheckpoint(plain, other))).toBe("POLICY_REFUSED");
  const lines = plain.trimEnd().split("\n");
  for (const cut of [lines.slice(0, -1), [...lines.slice(0, 4), ...lines.slice(5)]]) {
    expect(codeOf(() => verifyCheckpoint(`${cut.join("\n")}\n`, log))).toBe("SIGNATURE_INVALID");
  }
  const long = `${plain}${"— a AAAAAAAA\n".repeat(LIMITS.checkpointBytes / 8)}`;
  expect(codeOf(() => verifyCheckpoint(long, log))).toBe("LIMIT_EXCEEDED");
});

describe("what a witness answers", () => {
  test("is taken as far as it is by its keys", () => {
    const own = linesBy(first);
    expect(acceptCosignatures(plain, `${linesBy(second)}${own}`, first.keys)).toBe(own);
  });

  test("is refused when a line does not verify, none is by its keys, or it is no line", () => {
    const foreign = parseCheckpoint(checkpointOf(hashesOf(38)));
    const wrong = first.signers.map((signer) => cosignatureLine(foreign, "w1.test", signer, 7));
    for (const answer of [wrong.join(""), linesBy(second)]) {
      expect(codeOf(() => acceptCosignatures(plain, answer, first.keys))).toBe("SIGNATURE_INVALID");
    }
    for (const answer of ["", "x", "\n", `${linesBy(first)}\n`, `\n${linesBy(first)}`, "— a"]) {
      expect(
        codeOf(() => acceptCosignatures(plain, answer, first.keys)),
        answer,
      ).toMatch(/_INVALID$/u);
    }
  });

  test("is added to a checkpoint once", () => {
    const once = addLines(plain, linesBy(first));
    expect(once).toBe(addLines(once, last(once)));
    expect(addLines(once, linesBy(first, SECONDS + 1))).toBe(once);
    expect(verifyCheckpoint(addLines(once, linesBy(second)), log, keys).cosignedBy.length).toBe(2);
  });
});

describe("verifier keys", () => {
  test.skipIf(!haveVectors)(`of C2SP and tessera survive their text${skipNote}`, () => {
    const text = readVectorText("c2sp-signed-note-example.vkey.txt").trim();
    expect(formatVkey(parseVkey(text))).toBe(text);
  });

  test("survive their text, whatever the type", () => {
    for (const { name, key } of keys) {
      const vkey = { name, key, type: cosignatureType(key) };
      expect(parseVkey(formatVkey(vkey))).toEqual(vkey);
    }
    const text = keys
      .map(({ name, key }) => formatVkey({ name, key, type: cosignatureType(key) }))
      .join("\n\n# a comment\n");
    expect(parseVkeys(`${text}\n`).map(({ name }) => name)).toEqual(keys.map(({ name }) => name));
  });

  test("are refused when the id is not the key's, or the type or the form is another", () => {
    const [name, key] = ["a.test", log.ed25519] as const;
    const vkey = formatVkey({ name, key, type: NOTE_TYPES.ed25519 });
    const [, id = "", encoded = ""] = vkey.split("+", 3);
    const cosigning = formatVkey({ name, key, type: NOTE_TYPES.ed25519Cosignature });
    const material = cosigning.slice(name.length + 10);
    const ecdsa = toBase64(Uint8Array.of(2, ...key.publicKey));
    const edits = [
      `b.test+${vkey.slice(7)}`,
      `${name}+${id}+${material}`,
      `${name}+${id}+${ecdsa}`,
      `${name}+${id.toUpperCase()}A+${encoded}`,
      vkey.slice(0, -4),
    ];
    for (const edit of edits) {
      expect(
        codeOf(() => parseVkey(edit)),
        edit,
      ).toMatch(/_INVALID$/u);
    }
    for (const text of ["", "a", "a+b+c", `${vkey}\n`, ` ${vkey}`, "a+00000000+"]) {
      expect(
        codeOf(() => parseVkey(text)),
        text,
      ).toMatch(/_INVALID$/u);
    }
    expect(codeOf(() => parseVkeys("x".repeat(LIMITS.smallFileBytes + 1)))).toMatch(MALFORMED);
  });

  test("a composite key cosigns nothing", () => {
    const signer = createSigner(generatePrivateKey("ML-DSA-65-Ed25519", random));
    expect(codeOf(() => cosignatureType(signer.key))).toBe("KEY_INVALID");
    expect(codeOf(() => cosignatureLine(checkpoint, "a", signer, 1))).toBe("KEY_INVALID");
  });
});
