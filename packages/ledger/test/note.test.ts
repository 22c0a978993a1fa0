// SPDX-License-Identifier: Apache-2.0
import { fromBase64, toBase64, utf8Encode } from "@ctxmesh/codec";
import { SUITES, createVerifier, parsePublicKey, toPublicKey } from "@ctxmesh/crypto";
import { parseCheckpoint } from "@ctxmesh/ledger";
import { toHex } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  noteKeyId,
  parseNote,
  signCheckpoint,
  verifyEd25519Line,
  verifyMlDsaLine,
} from "../src/note.ts";
import { MALFORMED, ORIGIN, codeOf, logKeys, logSigners } from "./fixture.ts";
import { haveVectors, readVector, readVectorText, skipNote } from "./vectors.ts";

/** The key of an Ed25519 vkey: `name+hex(key id)+base64(0x01 || key)`. */
function readVkey(vkey: string): {
  name: string;
  id: string;
  key: ReturnType<typeof parsePublicKey>;
} {
  const [name = "", id = "", ...rest] = vkey.trim().split("+");
  const material = fromBase64(rest.join("+"));
  expect(material[0]).toBe(1);
  const x = Buffer.from(material.subarray(1)).toString("base64url");
  return { name, id, key: parsePublicKey({ kty: "OKP", crv: "Ed25519", x }) };
}

describe.skipIf(!haveVectors)(`notes agree with other implementations${skipNote}`, () => {
  test("the C2SP example verifies under its vkey", () => {
    const { name, id, key } = readVkey(readVectorText("c2sp-signed-note-example.vkey.txt"));
    expect(toHex(noteKeyId(name, key))).toBe(id);
    const note = parseNote(readVectorText("c2sp-signed-note-example.txt"));
    verifyEd25519Line(note, name, createVerifier(key));
    const forged = { ...note, text: note.text.replace("example", "Example") };
    expect(() => {
      verifyEd25519Line(forged, name, createVerifier(key));
    }).toThrow(/does not verify/u);
  });

  test("every checkpoint of the tessera log verifies under its vkey", () => {
    const log = readVector<{ vkey: string; checkpoints: Record<string, string> }>(
      "tessera-testlog.json",
    );
    const { name, id, key } = readVkey(log.vkey);
    expect(toHex(noteKeyId(name, key))).toBe(id);
    for (const text of Object.values(log.checkpoints)) {
      verifyEd25519Line(parseCheckpoint(text).note, name, createVerifier(key));
    }
  });
});

const head = { origin: ORIGIN, size: 37, root: new Uint8Array(32).fill(9) };
const TIME = 1_790_000_000;
const text = signCheckpoint(head, logSigners, TIME);
const [ed25519, mldsa44] = [createVerifier(logKeys.ed25519), createVerifier(logKeys.mldsa44)];
const verifyBoth = (checkpoint: string): number => {
  const parsed = parseCheckpoint(checkpoint);
  verifyEd25519Line(parsed.note, ORIGIN, ed25519);
  return verifyMlDsaLine(parsed, mldsa44);
};

test("a checkpoint carries both lines of its log, and they verify", () => {
  expect(verifyBoth(text)).toBe(TIME);
  const parsed = parseCheckpoint(text);
  expect([parsed.origin, parsed.size, toHex(parsed.root)]).toEqual([ORIGIN, 37, "09".repeat(32)]);
  expect(parsed.note.signatures.map((line) => line.signature.length)).toEqual([64, 8 + 2420]);
});

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

test("the ML-DSA-44 line signs exactly the cosigned message of C2SP tlog-cosignature", () => {
  const { signature } = parseCheckpoint(text).note.signatures[1] ?? {};
  const line = Buffer.from(signature ?? new Uint8Array(0));
  expect(line.readBigUInt64BE(0)).toBe(BigInt(TIME));
  const name = Buffer.concat([Buffer.of(ORIGIN.length), Buffer.from(ORIGIN)]);
  const label = Buffer.from("subtree/v1\n\0");
  expect(label.length).toBe(12);
  const message = Buffer.concat([label, name, u64(TIME), name, u64(0), u64(37), head.root]);
  const verify = SUITES["ML-DSA-44"].verifier(logKeys.mldsa44.publicKey);
  expect(verify(message, line.subarray(8))).toBe(true);
});

test("no single changed byte of a checkpoint leaves both lines valid", () => {
  const bytes = utf8Encode(text);
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const copy = bytes.slice();
      copy[at] = (copy[at] ?? 0) ^ change;
      const outcome = codeOf(() => verifyBoth(new TextDecoder().decode(copy)));
      expect(outcome).toMatch(/^(?:SIGNATURE_INVALID|FORMAT_INVALID|INPUT_INVALID)$/u);
    }),
    { numRuns: 60 },
  );
});

test("lines of unknown keys are ignored; a missing or repeated line of the log is not", () => {
  const [, , , , first = "", second = ""] = text.split("\n");
  const body = `${text.split("\n").slice(0, 3).join("\n")}\n\n`;
  const other = `— witness.example/w1 ${toBase64(new Uint8Array(80))}`;
  expect(verifyBoth(`${body}${other}\n${first}\n${second}\n`)).toBe(TIME);
  expect(() => verifyBoth(`${body}${first}\n`)).toThrow(/0 lines of the ML-DSA-44 key/u);
  expect(() => verifyBoth(`${body}${second}\n`)).toThrow(/0 lines of the Ed25519 key/u);
  expect(() => verifyBoth(`${body}${first}\n${first}\n${second}\n`)).toThrow(/2 lines/u);
});

test("the log's own time is positive", () => {
  for (const time of [0, -1, 1.5])
    expect(() => signCheckpoint(head, logSigners, time)).toThrow(/not positive/u);
});

test("what is no checkpoint is refused", () => {
  const [origin = "", size = "", root = ""] = text.split("\n");
  const lines = text.slice(text.indexOf("\n\n"));
  const refused = [
    "",
    "\n\n",
    `${origin}\n${size}\n${lines.slice(1)}`,
    `${origin}\n0${size}\n${root}${lines}`,
    `${origin}\n-1\n${root}${lines}`,
    `${origin}\n9007199254740993\n${root}${lines}`,
    `${origin}\n${size}\n${root}\nextension${lines}`,
    `${origin}\n${size}\n${root.slice(4)}${lines}`,
    `${origin} x\n${size}\n${root}${lines}`,
    text.slice(0, -1),
    text.replace("— ", "- "),
    text.replaceAll("\n", "\r\n"),
    `${text}\n`,
    `${text}— ${ORIGIN}\n`,
    `${text}— ${ORIGIN} AAAA\n`,
  ];
  for (const bad of refused)
    expect(
      codeOf(() => parseCheckpoint(bad)),
      bad,
    ).toMatch(MALFORMED);
});

test("a composite key signs no note", () => {
  const key = { alg: "ML-DSA-65-Ed25519", keyid: "", publicKey: new Uint8Array(1984) } as const;
  expect(() => noteKeyId(ORIGIN, key)).toThrow(/no signed-note type/u);
  expect(toPublicKey(logKeys.ed25519).alg).toBe("Ed25519");
});
