// SPDX-License-Identifier: Apache-2.0
import {
  decodeBatch,
  decodeCbor,
  decodeHeader,
  encodeBatch,
  encodeCbor,
  encodeHeader,
  headerSigningInput,
  utf8Encode,
} from "@ctxmesh/codec";
import type { Batch, CborValue, Header, Section } from "@ctxmesh/codec";
import { LIMITS, MeshError, parseDocumentName, toHex } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { batchArbitrary, headerArbitrary, richSectionArbitrary } from "./arbitraries.ts";

const REFUSED = new Set(["FORMAT_INVALID", "INPUT_INVALID", "LIMIT_EXCEEDED"]);

/** The batch, or undefined when it is refused as the documentation says. */
function decodeOrNothing(bytes: Uint8Array): Batch | undefined {
  try {
    return decodeBatch(bytes);
  } catch (error) {
    if (error instanceof MeshError && REFUSED.has(error.code)) return undefined;
    throw error;
  }
}

/** What a general decoder of deterministic CBOR makes of a batch, encoded again. */
const generally = (bytes: Uint8Array): Uint8Array | undefined => {
  try {
    const parts = decodeCbor(bytes, LIMITS.batchBytes, "batch") as readonly CborValue[];
    const [headerBytes, signature, bodies] = parts as [
      Uint8Array,
      Uint8Array,
      (Uint8Array | null)[],
    ];
    const { sections } = decodeHeader(headerBytes);
    const isBatch =
      parts.length === 3 &&
      signature instanceof Uint8Array &&
      signature.length === 64 &&
      bodies.length === sections.length &&
      bodies.every((body) => body === null || body instanceof Uint8Array);
    return isBatch ? encodeCbor(parts) : undefined;
  } catch {
    return undefined;
  }
};

describe("a header", () => {
  test("decodes to what was encoded", () => {
    fc.assert(
      fc.property(headerArbitrary, (header) => {
        expect(decodeHeader(encodeHeader(header))).toEqual(header);
      }),
    );
  });

  test("keeps whose the rich content of a section is", () => {
    fc.assert(
      fc.property(headerArbitrary, richSectionArbitrary, (header, section) => {
        fc.pre(header.lane === undefined);
        const rich: Header = { ...header, sections: [section] };
        expect(decodeHeader(encodeHeader(rich))).toEqual(rich);
      }),
    );
  });

  test("names a foreign Yjs client only with rich structs, and only one that Yjs may draw", () => {
    fc.assert(
      fc.property(
        headerArbitrary,
        richSectionArbitrary,
        fc.constantFrom<Partial<Section>>(
          { alias: 0 },
          { alias: 2 ** 32 },
          { alias: Number.MAX_SAFE_INTEGER },
          { alias: 7, from: 5, to: 5 },
          { alias: 7, kind: "facts" },
        ),
        (header, section, wrong) => {
          const bytes = encodeHeader({
            ...header,
            sections: [{ by: new Uint8Array(16), ...section, ...wrong }],
          });
          expect(() => decodeHeader(bytes)).toThrow("section.alias");
        },
      ),
    );
  });

  test("says of a foreign Yjs client whose it is, and of nobody else", () => {
    const by = new Uint8Array(16);
    fc.assert(
      fc.property(
        headerArbitrary,
        richSectionArbitrary,
        fc.constantFrom<Partial<Section>>({ alias: 7 }, { by }, { alias: 7, by: by.slice(1) }),
        (header, { doc, gen, kind, from, to, bodyHash, bodyLen, keyId }, wrong) => {
          const section = { doc, gen, kind, from, to, bodyHash, bodyLen, keyId };
          const bytes = encodeHeader({ ...header, sections: [{ ...section, ...wrong }] });
          expect(() => decodeHeader(bytes)).toThrow("by");
        },
      ),
    );
  });

  test("is signed behind its domain tag", () => {
    const signed = headerSigningInput(Uint8Array.of(1, 2));
    expect(signed).toEqual(Uint8Array.of(...utf8Encode("ctxmesh/batch/v1\n"), 1, 2));
  });
});

describe("a batch", () => {
  test("decodes to what was encoded", () => {
    fc.assert(
      fc.property(batchArbitrary, (batch) => {
        expect(decodeBatch(encodeBatch(batch))).toEqual(batch);
      }),
    );
  });

  test("shares no memory with the bytes it was read from", () => {
    fc.assert(
      fc.property(batchArbitrary, (batch) => {
        const bytes = encodeBatch(batch).slice();
        const decoded = decodeBatch(bytes);
        bytes.fill(0);
        expect(decoded).toEqual(batch);
      }),
    );
  });

  test("with a changed byte never decodes to other content under the same header bytes, and re-encodes exactly", () => {
    fc.assert(
      fc.property(batchArbitrary, fc.nat(), fc.integer({ min: 1, max: 255 }), (batch, at, flip) => {
        const bytes = encodeBatch(batch);
        const mutated = bytes.slice();
        mutated[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ flip;
        const decoded = decodeOrNothing(mutated) ?? batch;
        expect(encodeHeader(decoded.header)).toEqual(decoded.headerBytes);
        expect(encodeBatch(decoded)).toEqual(decoded === batch ? bytes : mutated);
        const sameId = toHex(decoded.headerBytes) === toHex(batch.headerBytes);
        expect(sameId ? decoded.header : batch.header).toEqual(batch.header);
      }),
      { numRuns: 1500 },
    );
  });

  test("is read as a general decoder of deterministic CBOR would read it", () => {
    fc.assert(
      fc.property(
        batchArbitrary,
        fc.nat(),
        fc.nat(400),
        fc.uint8Array({ maxLength: 4 }),
        (batch, at, cut, put) => {
          const bytes = encodeBatch(batch);
          // Mostly in what surrounds header and bodies.
          const from = at % 3 === 0 ? 0 : at % bytes.length;
          const to = from + (cut % 5);
          const changed = Uint8Array.of(...bytes.subarray(0, from), ...put, ...bytes.subarray(to));
          const decoded = decodeOrNothing(changed);
          expect(decoded && encodeBatch(decoded)).toEqual(generally(changed));
        },
      ),
      { numRuns: 3000 },
    );
  });

  test("decodes from no proper prefix of itself", () => {
    fc.assert(
      fc.property(batchArbitrary, fc.nat(), (batch, cut) => {
        const bytes = encodeBatch(batch);
        expect(decodeOrNothing(bytes.subarray(0, cut % bytes.length))).toBeUndefined();
      }),
    );
  });

  test("is refused over LIMITS.batchBytes before it is read", () => {
    expect(() => decodeBatch(new Uint8Array(LIMITS.batchBytes + 1))).toThrow(
      expect.objectContaining({ code: "LIMIT_EXCEEDED", field: "batch" }) as Error,
    );
  });
});

const [example] = fc.sample(headerArbitrary, { numRuns: 1, seed: 1 }) as [Header];
const [{ until: _anyTime, ...exampleSection }] = example.sections as [Section];
type Members = Readonly<Record<string, CborValue>>;

/** The example header with members replaced; undefined takes one out. */
function spoiled(members: Readonly<Record<string, CborValue | undefined>>): Uint8Array {
  const plain = decodeCbor(encodeHeader(example), LIMITS.batchBytes, "header") as Members;
  const entries = Object.entries({ ...plain, ...members }).filter(
    (entry): entry is [string, CborValue] => entry[1] !== undefined,
  );
  return encodeCbor(Object.fromEntries(entries));
}

const section = (members: Readonly<Record<string, CborValue>>): CborValue => ({
  ...(exampleSection as unknown as Members),
  ...members,
});
const id = (byte: number, length = 32): Uint8Array => new Uint8Array(length).fill(byte);

describe("a header is refused", () => {
  test.each<[string, Readonly<Record<string, CborValue | undefined>>]>([
    ["of another version", { v: 2 }],
    ["without a version", { v: undefined }],
    ["with a member more", { extra: 1 }],
    ["with a short space", { space: id(1, 31) }],
    ["with a text for the space", { space: "0".repeat(64) }],
    ["with a long replica", { replica: id(1, 33) }],
    ["with a short incarnation", { inc: id(1, 15) }],
    ["with seq 0", { seq: 0, prev: null }],
    ["with a negative seq", { seq: -1 }],
    ["with seq 1 and a predecessor", { seq: 1, prev: id(1) }],
    ["with seq 2 and none", { seq: 2, prev: null }],
    ["with a short predecessor", { seq: 2, prev: id(1, 31) }],
    ["with a negative clock", { hlc: -1 }],
    ["with 33 dependencies", { deps: Array.from({ length: 33 }, (_, i) => id(i)) }],
    ["with unsorted dependencies", { deps: [id(2), id(1)] }],
    ["with a dependency twice", { deps: [id(1), id(1)] }],
    ["with a short dependency", { deps: [id(1, 31)] }],
    ["with a text as dependency", { deps: ["x"] }],
    ["with a null client", { client: null }],
    ["without sections", { sections: [] }],
    [
      "with 257 sections",
      { sections: Array.from({ length: 257 }, (_, i) => section({ doc: `d${String(i)}` })) },
    ],
    ["with a document twice", { sections: [section({}), section({ from: 0, to: 1 })] }],
    ["with sections that are no maps", { sections: [1] }],
    ["with an unknown kind", { sections: [section({ kind: "other" })] }],
    ["with an empty interval", { sections: [section({ from: 5, to: 5 })] }],
    ["with a backward interval", { sections: [section({ from: 5, to: 4 })] }],
    ["with a bad document name", { sections: [section({ doc: "../etc" })] }],
    ["with a short body hash", { sections: [section({ bodyHash: id(1, 31) })] }],
    ["with a negative body length", { sections: [section({ bodyLen: -1 })] }],
    ["with a short key id", { sections: [section({ keyId: id(1, 15) })] }],
    ["in an unknown lane", { lane: 3, deps: [], client: 0 }],
    ["in lane 0", { lane: 0, deps: [], client: 0 }],
    ["in a lane and with a dependency", { lane: 1, deps: [id(1)], client: 0 }],
    ["in a lane and with a client", { lane: 1, deps: [], client: 7 }],
    [
      "in a lane and with rich content",
      { lane: 2, deps: [], client: 0, sections: [section({ kind: "rich" })] },
    ],
    ["with rich content that expires", { sections: [section({ kind: "rich", until: 5 })] }],
    ["with a negative time of expiry", { sections: [section({ until: -1 })] }],
    ["with a section member more", { sections: [section({ extra: 1 })] }],
  ])("%s", (_, members) => {
    const decode = (): Header => decodeHeader(spoiled(members));
    expect(decode).toThrow(MeshError);
    expect(decode).not.toThrow(expect.objectContaining({ code: "INTERNAL" }) as Error);
  });

  test("the unspoiled example is not, nor one at every limit", () => {
    expect(decodeHeader(spoiled({}))).toEqual(example);
    const sections = Array.from({ length: LIMITS.sectionsPerBatch }, (_, i) =>
      section({ doc: `d${String(i)}` }),
    );
    const deps = Array.from({ length: LIMITS.depsPerBatch }, (_, i) => id(i));
    const decoded = decodeHeader(spoiled({ sections, deps }));
    expect(decoded.sections.map(({ doc }) => doc)).toContain(parseDocumentName("d255"));
    expect(decoded.deps).toHaveLength(LIMITS.depsPerBatch);
  });
});

describe("a batch is refused", () => {
  const headerBytes = encodeHeader({ ...example, sections: example.sections.slice(0, 1) });
  const signature = id(1, 64);
  const body = id(3, 10);

  test.each<[string, CborValue]>([
    ["when it is no array", { headerBytes, signature, bodies: [body] }],
    ["with two parts", [headerBytes, signature]],
    ["with four parts", [headerBytes, signature, [body], 0]],
    ["with a header that is no bytes", ["header", signature, [body]]],
    ["with an empty header", [new Uint8Array(), signature, [body]]],
    ["with a short signature", [headerBytes, id(1, 63), [body]]],
    ["with a long signature", [headerBytes, id(1, 65), [body]]],
    ["without bodies", [headerBytes, signature, []]],
    ["with a body too many", [headerBytes, signature, [body, body]]],
    ["with a text as body", [headerBytes, signature, ["x"]]],
    ["with a body map", [headerBytes, signature, { 0: body, length: 1 }]],
  ])("%s", (_, value) => {
    expect(() => decodeBatch(encodeCbor([headerBytes, signature, [body]]))).not.toThrow();
    expect(() => decodeBatch(encodeCbor(value))).toThrow(
      expect.objectContaining({ code: "FORMAT_INVALID" }) as Error,
    );
  });

  test.each<[string, (bytes: Uint8Array) => readonly number[]]>([
    ["of indefinite length", (bytes) => [0x9f, ...bytes.subarray(1), 0xff]],
    ["with a length of 2 bytes where 1 is enough", ([, , ...rest]) => [0x83, 0x59, 0, ...rest]],
    ["with a length of 8 bytes", ([, , ...rest]) => [0x83, 0x5b, 0, 0, 0, 0, 0, 0, 0, ...rest]],
    ["with a reserved length", ([, , ...rest]) => [0x83, 0x5c, ...rest]],
    [
      "with a header of 2^32 - 1 bytes",
      ([, , , ...rest]) => [0x83, 0x5a, 255, 255, 255, 255, ...rest],
    ],
    ["with 2^32 - 1 bodies", (bytes) => [...bytes.subarray(0, -12), 0x9a, 255, 255, 255, 255]],
    ["with bytes behind it", (bytes) => [...bytes, 0]],
    ["that is a tag", (bytes) => [0xc1, ...bytes]],
    ["without a byte", () => []],
  ])("%s", (_, change) => {
    const bytes = encodeCbor([headerBytes, signature, [body]]);
    expect(() => decodeBatch(Uint8Array.from(change(bytes)))).toThrow(
      expect.objectContaining({ code: "FORMAT_INVALID" }) as Error,
    );
  });

  test("with a header that is not deterministic", () => {
    const long = Uint8Array.of(0xb8, 11, ...headerBytes.subarray(1));
    expect(headerBytes[0]).toBe(0xa0 + 11);
    expect(() => decodeBatch(encodeCbor([long, signature, [body]]))).toThrow(
      /more bytes than necessary/u,
    );
  });
});
