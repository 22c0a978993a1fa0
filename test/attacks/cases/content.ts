// SPDX-License-Identifier: Apache-2.0
/** Attacks with bodies and facts. */
import { encodeBody } from "@ctxmesh/codec";
import { encodeFrame } from "@ctxmesh/facts";
import type { FactRecord } from "@ctxmesh/facts";
import { LIMITS, parseDocumentName } from "@ctxmesh/model";
import type { Hlc } from "@ctxmesh/model";
import { constants, zstdCompressSync } from "node:zlib";
import { by } from "../support/attack.ts";
import type { Attack, KnownAttack } from "../support/attack.ts";
import { concat } from "../support/cbor.ts";
import { fact, factsOf, hlcAt } from "../support/forge.ts";
import type { SectionForgery } from "../support/forge.ts";
import { appender, honest } from "../support/ground.ts";

const section = (
  name: string,
  verdict: Attack["verdict"],
  make: () => SectionForgery,
  known?: KnownAttack,
): Attack => ({
  name,
  verdict,
  build: (ground) => [by(ground, { sections: [make()] }).bytes],
  ...(known === undefined ? {} : { known }),
});

const body = (name: string, bytes: () => Uint8Array): Attack =>
  section(name, "refused body", () => ({ ...factsOf([fact()]), body: bytes() }));

const zstd = (payload: Uint8Array, windowLog?: number): Uint8Array =>
  concat(
    [1],
    zstdCompressSync(
      payload,
      windowLog === undefined ? {} : { params: { [constants.ZSTD_c_windowLog]: windowLog } },
    ),
  );

const frame = (): Uint8Array => encodeFrame({ from: 0, to: 1, records: [fact()] });

/** A skippable frame (RFC 8878 section 3.1.2) of `size` bytes. */
const skippable = (size: number): Uint8Array =>
  concat([0x50, 0x2a, 0x4d, 0x18, size & 255, (size >>> 8) & 255, 0, 0], new Uint8Array(size));

/** A frame that declares a window of 2^31 bytes and has one block of a repeated byte. */
const hugeWindow = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 0xa8, 0xfb, 0xff, 0x0f, 0);

const bodies: readonly Attack[] = [
  body("a zstd bomb of 100 MB", () => zstd(new Uint8Array(100_000_000))),
  body("a zstd bomb of one byte too many", () => zstd(new Uint8Array(LIMITS.bodyBytes + 1))),
  body("a zstd frame that wants a window of 2 GB", () => concat([1], hugeWindow)),
  body("a zstd frame that wants a window of 128 MB", () =>
    zstd(new Uint8Array(100_000_000), 27).subarray(0, 10_000),
  ),
  body("two zstd frames", () => concat(zstd(frame()), zstd(frame()).subarray(1))),
  body("a zstd frame behind a skippable one", () =>
    concat([1], skippable(100), zstd(frame()).subarray(1)),
  ),
  body("broken zstd", () => Uint8Array.of(1, 2, 3)),
  body("an unknown encoding", () => concat([7], frame())),
  body("no bytes at all", () => new Uint8Array()),
  section("another body than the signed one", "refused body", () => ({
    ...factsOf([fact()]),
    sentBody: encodeBody(encodeFrame({ from: 0, to: 1, records: [fact({ valueJson: "2" })] })),
  })),
  section("a body shorter than declared", "refused body", () => ({
    ...factsOf([fact()]),
    bodyLen: 2 ** 40,
  })),
  section("an encrypted body", "refused body", () => ({
    ...factsOf([fact()]),
    keyId: new Uint8Array(16),
  })),
  section("a later generation of the document", "refused body", () => ({
    ...factsOf([fact()]),
    gen: 1,
  })),
  {
    name: "bodies that unpack to more than the limit together",
    build(ground) {
      const records = Array.from({ length: 8 }, (_, i) =>
        fact({ seq: i + 1, hlc: hlcAt(i + 1), valueJson: `"${"a".repeat(60_000)}"` }),
      );
      const docs = ["a", "b", "c"].map(parseDocumentName);
      const sections = docs.map((doc) => factsOf(records, doc));
      return [by(ground, { hlc: hlcAt(9), sections }).bytes];
    },
    verdict: "refused body",
  },
];

const facts = (name: string, make: () => SectionForgery, known?: KnownAttack): Attack =>
  section(name, "refused facts", make, known);

const record = (name: string, members: Partial<FactRecord>, known?: KnownAttack): Attack =>
  facts(name, () => factsOf([fact(members)]), known);

const value = (name: string, valueJson: string, known?: KnownAttack): Attack =>
  record(`a fact's value ${name}`, { valueJson }, known);

const payload = (name: string, bytes: readonly number[] | Uint8Array): Attack =>
  facts(name, () => ({ payload: Uint8Array.from(bytes) }));

const PROTO: KnownAttack = "__proto__ key in map, value and root name";
const DEEP: KnownAttack = "nested value depth 10k";

const values: readonly Attack[] = [
  value("with __proto__", '{"__proto__":{"isAdmin":true}}', PROTO),
  value("with constructor", '{"constructor":{"prototype":{"isAdmin":true}}}'),
  value("with __proto__ deep inside", '[{"a":[{"__proto__":1}]}]'),
  value("nested 10,000 deep", "[".repeat(10_000) + "]".repeat(10_000), DEEP),
  value("nested 65 deep", "[".repeat(65) + "]".repeat(65)),
  value("with a space in it", "[1, 2]"),
  value("with members out of order", '{"b":1,"a":1}'),
  value("with a member twice", '{"a":1,"a":2}'),
  value("with a number in another form", "1.0"),
  value("with minus zero", "-0"),
  value("with a number that is not finite", "1e999"),
  value("with a lone surrogate", String.raw`"\ud800"`),
  value("that is no JSON", "{"),
  value("that is nothing", ""),
  value("over 64 KiB", `"${"a".repeat(LIMITS.valueBytes)}"`),
];

const records: readonly Attack[] = [
  record("a key over 512 bytes", { key: "k".repeat(513) }),
  record("a key with a line break", { key: "a\nb" }),
  record("a key with a NUL", { key: "a\0b" }),
  record("an empty key", { key: "" }),
  record("a confidence over 1", { confidence: 1.5 }),
  record("a confidence that is no number", { confidence: Number.NaN }),
  record("17 tags", { tags: Array.from({ length: 17 }, () => "t") }),
  record("a fact newer than its batch", { hlc: (hlcAt(1) + 1) as Hlc }),
  record("a fact with clock 0", { hlc: 0 as Hlc }),
  facts("a seq outside the interval", () => ({
    payload: encodeFrame({ from: 0, to: 1, records: [fact({ seq: 5 })] }),
  })),
  facts("an interval that is not the section's", () => ({
    ...factsOf([fact()]),
    to: Number.MAX_SAFE_INTEGER,
  })),
  facts("a seq twice", () => ({
    to: 2,
    payload: encodeFrame({ from: 0, to: 2, records: [fact(), fact({ hlc: hlcAt(1) })] }),
  })),
  facts("a clock that falls within the frame", () => ({
    to: 2,
    payload: encodeFrame({ from: 0, to: 2, records: [fact(), fact({ seq: 2, hlc: 1 as Hlc })] }),
  })),
  facts("no records", () => ({ payload: encodeFrame({ from: 0, to: 1, records: [] }) })),
  payload("no frame", []),
  payload("a frame of another version", [2, 0, 1, 0]),
  payload("2^31 declared records", [1, 0, 1, 0x80, 0x80, 0x80, 0x80, 8]),
  payload("bytes after the frame", concat(frame(), [0])),
  payload("a frame with an integer longer than it need be", [1, 0x80, 0, 1, 0]),
];

const roles = [appender, undefined].map((device): Attack => ({
  name: `a retraction of honest facts with the role ${device === undefined ? "write" : "append"}`,
  build: (ground) => [
    by(ground, {
      ...(device === undefined ? {} : { device }),
      sections: [factsOf([retraction()])],
    }).bytes,
  ],
  verdict: "refused grant",
}));

function retraction(): FactRecord {
  const retract = { writer: honest.key, upTo: hlcAt(1), reason: "because" };
  return { key: "pressure", seq: 1, hlc: hlcAt(1), retract };
}

/** Attacks that end at the body, at its facts, or at the role that they need. */
export const CONTENT: readonly Attack[] = [...bodies, ...values, ...records, ...roles];
