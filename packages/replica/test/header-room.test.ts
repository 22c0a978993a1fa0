// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what is kept of void batches that others name is bounded, and served whole.
 * Method: chains of headers by hand, of a chain that is proven to fork at its start.
 */
import { decodeBatch, encodeHeader, headerSigningInput } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { LIMITS, parseDocumentName, parseHeaderHash, toHex } from "@ctxmesh/model";
import type { HeaderHash } from "@ctxmesh/model";
import { createMemoryStore } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import { encodeProof, encodeSignedHeader } from "../src/evidence.ts";
import type { ParsedHeader } from "../src/evidence.ts";
import { VoidHeaders } from "../src/void-headers.ts";
import { DOC, forge, incarnationOf, open, spaceWith, us, writer } from "./mesh.ts";

describe("headers of void batches", () => {
  const space = spaceWith([
    [us, "write"],
    [writer, "append"],
  ]);
  const docs = Array.from({ length: 256 }, (_, n) => parseDocumentName(`d${String(n)}`));

  /** A header by hand, with as many sections. */
  function headerOf(seq: number, prev: HeaderHash | null, sections: number, n = 1): ParsedHeader {
    const { header } = forge({ space, seq, prev, incarnation: incarnationOf(n) });
    const [section] = header.sections;
    if (section === undefined) throw new Error("no section");
    const all = docs.slice(0, sections).map((doc) => ({ ...section, doc }));
    const headerBytes = encodeHeader({ ...header, sections: all });
    const signature = writer.signer.sign(headerSigningInput(headerBytes));
    const hash = parseHeaderHash(toHex(sha256(headerBytes)));
    return { header: { ...header, sections: all }, headerBytes, signature, hash };
  }

  test("have a bound in bytes and number, and one for each device", async () => {
    const headers = await VoidHeaders.load(createMemoryStore());
    let prev: HeaderHash | null = null;
    let bytes = 0;
    let next = headerOf(1, prev, 256);
    while (headers.hasRoomFor(next)) {
      headers.add(next);
      bytes += encodeSignedHeader(next).length;
      prev = next.hash;
      next = headerOf(headers.size + 1, prev, 256);
    }
    expect(bytes).toBeLessThanOrEqual(LIMITS.voidHeaderBytesPerDevice);
    expect(bytes + encodeSignedHeader(next).length).toBeGreaterThan(
      LIMITS.voidHeaderBytesPerDevice,
    );
    const ofOther = forge({ space, device: us });
    const parsed = { ...decodeBatch(ofOther.bytes), hash: ofOther.hash };
    expect(headers.hasRoomFor(parsed)).toBe(true);
  });

  test("are served from the store, and taken in pages where a chain is long", async () => {
    const chain: ParsedHeader[] = [headerOf(1, null, 1)];
    const [one, two] = [headerOf(1, null, 1), headerOf(1, null, 2)];
    for (let seq = 2; seq <= 120; seq++) {
      chain.push(headerOf(seq, chain.at(-1)?.hash ?? null, 40));
    }
    const tip = forge({
      space,
      device: us,
      incarnation: incarnationOf(7),
      deps: [chain.at(-1)?.hash ?? one.hash],
    });
    const [a, b] = [await open({ space }), await open({ space })];
    for (const replica of [a, b]) {
      await replica.addRecords({ proofs: [encodeProof(one, two)] });
      expect((await replica.receive(tip.bytes)).kind).toBe("held");
    }
    await a.addHeaders(chain.toReversed().map(encodeSignedHeader));
    await a.put(DOC, [{ key: "own", value: 1 }]);
    expect(a.counters().held).toBe(0);
    let rounds = 0;
    while (b.counters().held > 0 && rounds < 20) {
      rounds++;
      for (const hash of b.missing(0)) await b.addHeaders(await a.signedHeaders(hash));
      await b.put(DOC, [{ key: "own", value: rounds }]);
    }
    expect(b.counters().held).toBe(0);
    expect(rounds).toBeGreaterThan(1);
    const [bytes] = await b.signedHeaders(chain[30]?.hash ?? one.hash);
    expect(bytes).toEqual(encodeSignedHeader(chain[30] ?? one));
  });
});
