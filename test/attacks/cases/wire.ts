// SPDX-License-Identifier: Apache-2.0
/** Attacks on the bytes of a batch: its size, its CBOR, and the shape of header and sections. */
import { encodeBatch, encodeCbor } from "@ctxmesh/codec";
import { LIMITS, fromHex, parseDocumentName } from "@ctxmesh/model";
import { by } from "../support/attack.ts";
import type { Attack } from "../support/attack.ts";
import { concat, mapOf, membersOf, withMember } from "../support/cbor.ts";
import { fact, factsOf, unknownHash } from "../support/forge.ts";
import type { Forgery } from "../support/forge.ts";
import type { Ground } from "../support/ground.ts";

type Build = (ground: Ground) => Uint8Array;

const shaped = (name: string, build: Build): Attack => ({
  name,
  build: (ground) => [build(ground)],
  verdict: "refused shape",
});

/** A batch whose header was changed before it was signed. */
const header = (name: string, rewrite: (header: Uint8Array) => Uint8Array): Attack =>
  shaped(name, (ground) => by(ground, { rewrite }).bytes);

/** A header whose member has a value of these bytes. */
const member = (name: string, key: string, value: Uint8Array | readonly number[]): Attack =>
  header(name, withMember(key, value));

const document = (name: string, doc: string): Attack =>
  header(`a document called ${name}`, (bytes) => {
    const [sections = new Uint8Array()] = membersOf(bytes)
      .filter(([key]) => key === "sections")
      .map(([, value]) => value);
    const changed = withMember("doc", encodeCbor(doc))(sections.subarray(1));
    return withMember("sections", concat([0x81], changed))(bytes);
  });

const nested = (depth: number): Uint8Array =>
  concat(new Uint8Array(depth).fill(0x81), Uint8Array.of(0));

const many = (count: number): Partial<Forgery> => ({
  sections: Array.from({ length: count }, (_, i) =>
    factsOf([fact()], parseDocumentName(`d/${String(i)}`)),
  ),
});

const size: readonly Attack[] = [
  {
    name: "a batch of one byte too many",
    build: () => [new Uint8Array(LIMITS.batchBytes + 1)],
    verdict: "refused frame-size",
  },
  {
    name: "a batch of 10 MB",
    build: () => [new Uint8Array(10_000_000)],
    verdict: "refused frame-size",
  },
  {
    name: "a header of 300 KB",
    build: (ground) => [
      by(ground, { rewrite: withMember("padding", encodeCbor(new Uint8Array(300_000))) }).bytes,
    ],
    verdict: "refused frame-size",
  },
  shaped("zeros of the greatest size", () => new Uint8Array(LIMITS.batchBytes)),
  shaped(
    "a header of 200 KB",
    (ground) =>
      by(ground, { rewrite: withMember("padding", encodeCbor(new Uint8Array(200_000))) }).bytes,
  ),
  shaped("257 sections", (ground) => by(ground, many(257)).bytes),
  shaped(
    "33 dependencies",
    (ground) => by(ground, { deps: Array.from({ length: 33 }, (_, i) => unknownHash(i)) }).bytes,
  ),
];

const nesting: readonly Attack[] = [
  { ...shaped("100,000 nested arrays", () => nested(100_000)), known: "nested value depth 10k" },
  member("a header with 10,000 nested arrays", "deps", nested(10_000)),
  member("a header nested 65 deep", "sections", nested(65)),
  shaped("100,000 nested maps", () =>
    concat(...Array.from({ length: 100_000 }, () => [0xa1, 0x60]), [0]),
  ),
  shaped("100,000 nested tags", () => concat(new Uint8Array(100_000).fill(0xc1), [0])),
];

const lengths: readonly Attack[] = [
  shaped("a byte string of 2^62 declared bytes", () =>
    Uint8Array.of(0x83, 0x5b, 0x40, 0, 0, 0, 0, 0, 0, 0),
  ),
  shaped("an array of 2^31 declared items", () => Uint8Array.of(0x9a, 0x80, 0, 0, 0)),
  shaped("a map of 2^32 - 1 declared members", () => Uint8Array.of(0xba, 255, 255, 255, 255)),
  shaped("a text longer than what is left", () => Uint8Array.of(0x83, 0x79, 0xff, 0xff, 0x61)),
  shaped("100,000 empty sections' worth of bodies", (ground) => {
    const { headerBytes, signature } = by(ground);
    const bodies = Array.from({ length: 100_000 }, () => new Uint8Array());
    return encodeBatch({ headerBytes, signature, bodies });
  }),
];

const canonical: readonly Attack[] = [
  member("an integer longer than it need be", "seq", [0x18, 1]),
  member("a length longer than it need be", "space", concat([0x59, 0, 32], new Uint8Array(32))),
  header("members out of order", (bytes) => mapOf(membersOf(bytes).toReversed())),
  header("a member twice", (bytes) => mapOf([...membersOf(bytes), ["v", Uint8Array.of(1)]])),
  header("a map of indefinite length", (bytes) => concat([0xbf], bytes.subarray(1), [0xff])),
  member("an array of indefinite length", "deps", [0x9f, 0xff]),
  header("bytes after the header", (bytes) => concat(bytes, [0])),
  shaped("bytes after the batch", (ground) => concat(by(ground).bytes, [0])),
  shaped("a batch of indefinite length", (ground) =>
    concat([0x9f], by(ground).bytes.subarray(1), [0xff]),
  ),
  shaped("a header in two chunks", (ground) => {
    const { headerBytes: bytes, signature, bodies } = by(ground);
    const halves = [bytes.subarray(0, 9), bytes.subarray(9)].map((half) => encodeCbor(half));
    const [first = new Uint8Array(), second = new Uint8Array()] = halves;
    const rest = [encodeCbor(signature), encodeCbor(bodies)] as const;
    return concat([0x83, 0x5f], first, second, [0xff], ...rest);
  }),
  shaped("a tagged batch", (ground) => concat([0xd9, 0xd9, 0xf7], by(ground).bytes)),
];

const types: readonly Attack[] = [
  member("a seq that is a float", "seq", [0xfb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0]),
  member("a seq that is half a float", "seq", [0xf9, 0x3c, 0]),
  member("a seq over 2^53", "seq", [0x1b, 0, 0x20, 0, 0, 0, 0, 0, 0]),
  member("a negative seq", "seq", [0x20]),
  member("a clock over 2^53", "hlc", [0x1b, 255, 255, 255, 255, 255, 255, 255, 255]),
  member("an undefined epoch", "epoch", [0xf7]),
  member("a bignum for a client", "client", [0xc2, 0x41, 1]),
  member("a replica that is text", "replica", encodeCbor("a".repeat(32))),
  member("a version to come", "v", [2]),
  member("a member more", "x", [0]),
  {
    ...member("a member called __proto__", "__proto__", [0xa0]),
    known: "__proto__ key in map, value and root name",
  },
  header("a member less", (bytes) => mapOf(membersOf(bytes).slice(1))),
  header("__proto__ in the place of a member", (bytes) =>
    mapOf([...membersOf(bytes).filter(([name]) => name !== "v"), ["__proto__", Uint8Array.of(1)]]),
  ),
  member("seq 0", "seq", [0]),
  member("a first batch with a predecessor", "prev", encodeCbor(fromHex(unknownHash()))),
  shaped("a later batch without a predecessor", (ground) => by(ground, { seq: 2 }).bytes),
  shaped(
    "dependencies out of order",
    (ground) => by(ground, { deps: [unknownHash(2), unknownHash(1)] }).bytes,
  ),
  shaped(
    "a dependency twice",
    (ground) => by(ground, { deps: [unknownHash(1), unknownHash(1)] }).bytes,
  ),
  shaped("no sections", (ground) => by(ground, { sections: [] }).bytes),
  shaped(
    "a document's facts twice",
    (ground) => by(ground, { sections: [factsOf([fact()]), factsOf([fact()])] }).bytes,
  ),
  shaped(
    "an interval the wrong way round",
    (ground) => by(ground, { sections: [{ ...factsOf([fact()]), from: 1, to: 1 }] }).bytes,
  ),
  shaped("a body less than sections", (ground) => encodeBatch({ ...by(ground), bodies: [] })),
  shaped("a body more than sections", (ground) => {
    const made = by(ground);
    return encodeBatch({ ...made, bodies: [...made.bodies, new Uint8Array()] });
  }),
  shaped("a signature of 63 bytes", (ground) =>
    encodeBatch({ ...by(ground), signature: new Uint8Array(63) }),
  ),
];

const names: readonly Attack[] = [
  document("../../etc/passwd", "../../etc/passwd"),
  document("like a hidden file", ".git"),
  document("with an empty segment", "a//b"),
  document("with a NUL", "a\0b"),
  document("with a line break", "a\nb"),
  document("with text that turns around", "a\u202eb"),
  document("with a letter that looks Latin", "\u0430"),
  document("__proto__", "__proto__"),
  document("nothing", ""),
  document("in 201 characters", "a".repeat(201)),
  document("in 100,000 characters", "a".repeat(100_000)),
];

/** Attacks that end at the size or the shape. */
export const WIRE: readonly Attack[] = [
  ...size,
  ...nesting,
  ...lengths,
  ...canonical,
  ...types,
  ...names,
];
