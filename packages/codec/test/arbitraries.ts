// SPDX-License-Identifier: Apache-2.0
/** Random headers and batches for properties. */
import { encodeHeader } from "@ctxmesh/codec";
import type { Batch, Header, Section } from "@ctxmesh/codec";
import {
  parseDeviceKey,
  parseDocumentName,
  parseHeaderHash,
  parseIncarnationId,
  parseSpaceId,
  toHex,
} from "@ctxmesh/model";
import type { Hlc } from "@ctxmesh/model";
import * as fc from "fast-check";

const bytes = (length: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: length, maxLength: length });
const hash = bytes(32).map((id) => parseHeaderHash(toHex(id)));
const uint = fc.oneof(fc.nat(30), fc.maxSafeNat());

const section: fc.Arbitrary<Section> = fc
  .record({
    doc: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,9}(\/[a-z0-9]{1,5}){0,2}$/u),
    gen: uint,
    from: fc.maxSafeNat().map((from) => Math.min(from, Number.MAX_SAFE_INTEGER - 1)),
    bodyHash: bytes(32),
    bodyLen: uint,
    keyId: fc.option(bytes(16)),
    until: fc.option(uint, { nil: undefined }),
  })
  .map(({ doc, from, until, ...rest }) => ({
    ...rest,
    ...(until === undefined ? {} : { until }),
    doc: parseDocumentName(doc),
    kind: "facts",
    from,
    to: from + 1,
  }));

/** A section of rich content, of the incarnation's own client or of somebody else's. */
export const richSectionArbitrary: fc.Arbitrary<Section> = fc
  .tuple(
    section,
    fc.option(fc.integer({ min: 1, max: 0xffff_ffff }), { nil: undefined }),
    bytes(16),
  )
  .filter(([{ until }]) => until === undefined)
  .map(([rest, alias, by]) => ({
    ...rest,
    kind: "rich",
    ...(alias === undefined ? {} : { alias, by }),
  }));

/** Any well-formed header. */
export const headerArbitrary: fc.Arbitrary<Header> = fc
  .record({
    space: bytes(32),
    replica: bytes(32),
    incarnation: bytes(16),
    seq: fc.oneof(fc.constant(1), fc.integer({ min: 2, max: Number.MAX_SAFE_INTEGER })),
    prev: hash,
    hlc: fc.maxSafeNat(),
    epoch: uint,
    deps: fc.uniqueArray(hash, { maxLength: 32 }),
    client: uint,
    lane: fc.option(fc.constantFrom("high" as const, "low" as const), { nil: undefined }),
    sections: fc.uniqueArray(section, { minLength: 1, maxLength: 5, selector: ({ doc }) => doc }),
  })
  .map(({ lane, ...parts }) => ({
    ...parts,
    space: parseSpaceId(toHex(parts.space)),
    replica: parseDeviceKey(toHex(parts.replica)),
    incarnation: parseIncarnationId(toHex(parts.incarnation)),
    prev: parts.seq === 1 ? null : parts.prev,
    hlc: parts.hlc as Hlc,
    ...(lane === undefined ? { deps: parts.deps.toSorted() } : { lane, deps: [], client: 0 }),
  }));

/** Any well-formed batch; nothing in it is signed. */
export const batchArbitrary: fc.Arbitrary<Batch> = headerArbitrary.chain((header) =>
  fc.record({
    header: fc.constant(header),
    headerBytes: fc.constant(encodeHeader(header)),
    signature: bytes(64),
    bodies: fc.array(fc.option(fc.uint8Array({ maxLength: 300 }), { freq: 10 }), {
      minLength: header.sections.length,
      maxLength: header.sections.length,
    }),
  }),
);
