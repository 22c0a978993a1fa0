// SPDX-License-Identifier: Apache-2.0
/** Fetching what is left out, from a replica that has it. */
import { decodeBatch, encodeBatch } from "@ctxmesh/codec";
import type { SignatureVerifier } from "@ctxmesh/model";
import type { OmittedSection, Replica } from "@ctxmesh/replica";
import { expect } from "vitest";
import { decodeSignedHeader, isSigned } from "../src/evidence.ts";

/** The same batch with all bodies left out. */
export function without(batch: Uint8Array): Uint8Array {
  const parsed = decodeBatch(batch);
  return encodeBatch({ ...parsed, bodies: parsed.bodies.map(() => null) });
}

/** All that is left out of a replica. */
export async function omittedOf(replica: Replica): Promise<readonly OmittedSection[]> {
  const found: OmittedSection[] = [];
  for await (const section of replica.omitted.sections()) found.push(section);
  return found;
}

/** Fetches all that is left out, some at a time; every omission is proven by its signed header. */
export async function heldOf(
  replica: Replica,
  full: Replica,
  verifier: SignatureVerifier,
): Promise<void> {
  const wanted = await omittedOf(replica);
  for (const { signed, section, doc, bytes, hash } of wanted) {
    const header = decodeSignedHeader(signed);
    expect(isSigned(header, verifier)).toBe(true);
    expect(header.hash).toBe(hash);
    expect(header.header.sections[section]).toMatchObject({ doc, bodyLen: bytes });
  }
  for (let i = 0; i < wanted.length; i += 3) {
    const found = await full.omitted.find(wanted.slice(i, i + 3));
    await replica.omitted.add(
      found.flatMap(({ body, ...ref }) => (body === null ? [] : [{ ...ref, body }])),
    );
  }
  replica.omitted.reopen();
  // What has to be opened anew is, before records are taken.
  await replica.addRecords({});
}
