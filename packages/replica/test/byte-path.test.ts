// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: facts that are taken as bytes come to the same as facts that are decoded: the same are taken, for the same reason others are not.
 * Method: random sections, good and bad, held against the checks written down once more over decoded records; what is taken goes into
 * documents of both engines.
 */
import { canonicalJson, encodeBody, parseCanonicalJson } from "@ctxmesh/codec";
import type { Section } from "@ctxmesh/codec";
import { JS_ENGINE, decodeFrame, encodeFrame, encodeState, factEngine } from "@ctxmesh/facts";
import type { FactFrame, FactRecord } from "@ctxmesh/facts";
import { hlcToMs } from "@ctxmesh/model";
import type { Hlc, JsonValue } from "@ctxmesh/model";
import { createSeededRandom } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { itemsOf, openFactsSection } from "../src/parts.ts";
import { DOC, hlcAt, incarnationOf, writer } from "./mesh.ts";

const chain = { writer: writer.key, incarnation: incarnationOf(1) };
const wasm = factEngine("wasm", createSeededRandom(5));

/** Values as they should be, and as they should not. */
const good = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }).map((value) => canonicalJson(value as JsonValue)),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
  fc.constantFrom("1", '"é\u{1f600}"', '{"a":1,"b":[true,null]}', '"\\n"', '{"\u{e000}":1}'),
);
const bad = fc.oneof(
  fc.json({ maxDepth: 2 }),
  fc.constantFrom("1.0", " 1", '{"b":1,"a":1}', '{"a":1,"a":1}', "nul", "", '"\\u0041"', "1e400"),
);
const valueJson = fc.oneof({ weight: 19, arbitrary: good }, { weight: 1, arbitrary: bad });

const record = fc.record(
  {
    key: fc.constantFrom("a", "b", "line/7", "é"),
    valueJson,
    ttlMs: fc.nat(5),
    tags: fc.array(fc.constantFrom("x", "y"), { minLength: 1, maxLength: 3 }),
    confidence: fc.constantFrom(0, 0.5, 1),
  },
  { requiredKeys: ["key"], noNullPrototype: true },
);

const frame: fc.Arbitrary<FactFrame> = fc
  .tuple(
    fc.array(fc.tuple(record, fc.integer({ min: 1, max: 3 })), { minLength: 1, maxLength: 6 }),
    fc.nat(2),
  )
  .map(([steps, from]) => {
    let seq = from;
    let hlc: number = hlcAt(0);
    const records = steps.map(([said, step]): FactRecord => {
      seq += step;
      hlc += 4_096 * step;
      return { ...said, seq, hlc: hlc as Hlc };
    });
    return { from, to: seq, records };
  });

/** The interval and the end that a section says, right or nearly so. */
const section = fc.record({
  from: fc.nat(2),
  more: fc.constantFrom(0, 0, 0, 1),
  lasts: fc.oneof(fc.constant(null), fc.constant(null), fc.nat(30)),
});

function isTaken(
  payload: Uint8Array,
  { from, to, until }: Section,
  after: Hlc,
  upTo: Hlc,
): boolean {
  try {
    const decoded = decodeFrame(payload);
    const [first, last] = [decoded.records[0]?.hlc ?? 0, decoded.records.at(-1)?.hlc ?? 0];
    if (decoded.from !== from || decoded.to !== to || first <= after || last > upTo) return false;
    return decoded.records.every(({ key, valueJson: json, hlc, ttlMs = Infinity }) => {
      if (json !== undefined) parseCanonicalJson(json, key);
      return hlcToMs(hlc) + ttlMs <= (until ?? Infinity);
    });
  } catch {
    return false;
  }
}

test("whatever comes, bytes and objects are judged alike, and both engines make the same of what is taken", () => {
  const stores = [JS_ENGINE(), wasm()];
  const damage = fc.oneof(fc.constant(null), fc.constant(null), fc.tuple(fc.nat(), fc.nat(255)));
  let taken = 0;
  fc.assert(
    fc.property(frame, section, damage, fc.nat(20), (made, said, edit, headMs) => {
      const payload = encodeFrame(made);
      if (edit !== null) payload[edit[0] % payload.length] = edit[1];
      const signed = {
        doc: DOC,
        kind: "facts",
        gen: 0,
        keyId: null,
        from: said.more === 0 ? made.from : said.from,
        to: made.to + said.more,
        ...(said.lasts === null ? {} : { until: hlcToMs(hlcAt(said.lasts)) }),
      } as Section;
      const [after, upTo] = [hlcAt(0), hlcAt(headMs)];
      const opened = openFactsSection(signed, encodeBody(payload), after, upTo);
      expect(opened.kind).toBe(isTaken(payload, signed, after, upTo) ? "parts" : "refused");
      expect("reason" in opened ? opened.reason : "facts").toBe("facts");
      if (opened.kind !== "parts") return;
      taken++;
      const [part] = opened.parts;
      const { records } = decodeFrame(payload);
      const texts = records.flatMap(({ tags, basis, targets }) => [tags, basis, targets].flat());
      const count = texts.filter((text) => text !== undefined).length;
      expect(itemsOf(opened.parts)).toBe(records.length + count / 8);
      if (part?.kind !== "facts") throw new Error("a part with facts");
      const changed = stores.map((store) => store.applyPacked(chain, part.frame).keys());
      expect(changed[1]).toEqual(changed[0]);
      const states = stores.map(encodeState);
      expect(states[1]).toEqual(states[0]);
      expect(part.frame.records).toEqual(records);
    }),
    { numRuns: 3_000 },
  );
  expect(taken).toBeGreaterThan(300);
});
