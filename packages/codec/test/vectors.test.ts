// SPDX-License-Identifier: Apache-2.0
/** Frozen bytes: what was ever signed or stored must read the same for good. Made by `scripts/make-vectors.ts`. */
import { createHash, createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import {
  actSigningInput,
  decodeAct,
  decodeBatch,
  decodeBody,
  decodeGenesis,
  decodeHeader,
  decodeSignedRecord,
  encodeAct,
  encodeBatch,
  encodeBody,
  encodeGenesis,
  encodeHeader,
  encodeSignedRecord,
  genesisSigningInput,
  headerSigningInput,
} from "@ctxmesh/codec";
import type { Act, Genesis, Header, Section } from "@ctxmesh/codec";
import { fromHex, toHex } from "@ctxmesh/model";
import { describe, expect, test } from "vitest";

type SectionJson = Omit<Section, "bodyHash" | "keyId"> & { bodyHash: string; keyId: string | null };
type HeaderJson = Omit<Header, "sections"> & { sections: readonly SectionJson[] };
interface Vectors {
  device: { publicKey: string };
  headers: { name: string; header: HeaderJson; bytes: string; id: string }[];
  batches: { name: string; signature: string; bodies: string[]; bytes: string }[];
  bodies: { name: string; payload: string; bytes: string }[];
}

interface MembershipVectors {
  genesis: { genesis: Omit<Genesis, "nonce"> & { nonce: string }; space: string; record: string };
  acts: { name: string; act: Act; bytes: string; id: string; record: string }[];
}

const read = (name: string): unknown =>
  JSON.parse(readFileSync(new URL(`vectors/${name}`, import.meta.url), "utf8"));
const vectors = read("batch-v1.json") as Vectors;
const membership = read("membership-v1.json") as MembershipVectors;

const sha256Hex = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** Checked with node:crypto alone, from the raw key. */
function isSigned(message: Uint8Array, signature: Uint8Array): boolean {
  const prefix = fromHex("302a300506032b6570032100");
  const der = Buffer.concat([prefix, fromHex(vectors.device.publicKey)]);
  const key = createPublicKey({ key: der, format: "der", type: "spki" });
  return verify(null, message, key, signature);
}

const headerOf = (json: HeaderJson): Header => ({
  ...json,
  sections: json.sections.map((section) => ({
    ...section,
    bodyHash: fromHex(section.bodyHash),
    keyId: section.keyId === null ? null : fromHex(section.keyId),
  })),
});

describe("a header has its frozen bytes and id", () => {
  test.each(vectors.headers)("$name", ({ header, bytes, id }) => {
    expect(toHex(encodeHeader(headerOf(header)))).toBe(bytes);
    expect(decodeHeader(fromHex(bytes))).toEqual(headerOf(header));
    expect(sha256Hex(fromHex(bytes))).toBe(id);
  });
});

describe("a batch has its frozen bytes and signature", () => {
  test.each(vectors.batches)("$name", ({ name, signature, bodies, bytes }) => {
    const batch = decodeBatch(fromHex(bytes));
    const header = vectors.headers.find((candidate) => candidate.name === name);
    expect(toHex(batch.headerBytes)).toBe(header?.bytes);
    expect(toHex(batch.signature)).toBe(signature);
    expect(batch.bodies.map((body) => (body === null ? null : toHex(body)))).toEqual(bodies);
    expect(toHex(encodeBatch(batch))).toBe(bytes);
    expect(isSigned(headerSigningInput(batch.headerBytes), batch.signature)).toBe(true);
    for (const [i, { bodyHash, bodyLen }] of batch.header.sections.entries()) {
      const body = batch.bodies[i] ?? new Uint8Array();
      expect([sha256Hex(body), body.length]).toEqual([toHex(bodyHash), bodyLen]);
    }
  });
});

test("a genesis record has its frozen bytes, signature and space id", () => {
  const { genesis: json, space, record: frozen } = membership.genesis;
  const genesis = { ...json, nonce: fromHex(json.nonce) };
  const record = decodeSignedRecord(fromHex(frozen));
  expect(decodeGenesis(record.body)).toEqual(genesis);
  expect(toHex(encodeGenesis(genesis))).toBe(toHex(record.body));
  expect(toHex(encodeSignedRecord(record))).toBe(frozen);
  expect(sha256Hex(record.body)).toBe(space);
  expect(isSigned(genesisSigningInput(record.body), record.signature)).toBe(true);
});

describe("an act has its frozen bytes, id and signature", () => {
  test.each(membership.acts)("$name", ({ act, bytes, id, record: frozen }) => {
    const record = decodeSignedRecord(fromHex(frozen));
    expect(toHex(record.body)).toBe(bytes);
    expect(decodeAct(record.body)).toEqual(act);
    expect(toHex(encodeAct(act))).toBe(bytes);
    expect(toHex(encodeSignedRecord(record))).toBe(frozen);
    expect(sha256Hex(record.body)).toBe(id);
    expect(isSigned(actSigningInput(record.body), record.signature)).toBe(true);
  });
});

describe("a body unpacks from its frozen bytes", () => {
  test.each(vectors.bodies)("$name", ({ payload, bytes }) => {
    expect(toHex(decodeBody(fromHex(bytes)))).toBe(payload);
  });

  test("and a short one packs to them", () => {
    const [short] = vectors.bodies;
    expect(toHex(encodeBody(fromHex(short?.payload ?? "")))).toBe(short?.bytes);
  });
});
