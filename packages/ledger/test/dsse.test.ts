// SPDX-License-Identifier: Apache-2.0
/** Goal: an implementation of DSSE that is not ours (sigstore's) makes the same bytes of an envelope, and verifies it. */
import { createDeviceSigner, createSigner, createVerifier, toPublicKey } from "@ctxmesh/crypto";
import { parseEnvelope, preAuthEncoding, signEnvelope } from "@ctxmesh/ledger";
import { crypto, dsse, json } from "@sigstore/core";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { logKeys, logSigners, makeBundle, snapshotKey } from "./fixture.ts";

/** DER of an Ed25519 key (RFC 8410) in front of its 32 bytes. */
const SPKI = Buffer.from("302a300506032b6570032100", "hex");

/** An envelope as anybody reads it who knows DSSE and nothing of us. */
interface Plain {
  readonly payload: string;
  readonly payloadType: string;
  readonly signatures: readonly { readonly keyid: string; readonly sig: string }[];
}

const read = (bytes: Uint8Array): Plain => JSON.parse(new TextDecoder().decode(bytes)) as Plain;

test("the pre-authentication encoding is the same for every type and payload", () => {
  fc.assert(
    fc.property(fc.string(), fc.uint8Array({ maxLength: 300 }), (type, payload) => {
      // Its length of the type is in characters: the same for the ASCII that media types are made of.
      fc.pre(/^[ -~]*$/u.test(type));
      expect(Buffer.from(preAuthEncoding(type, payload))).toEqual(
        dsse.preAuthEncoding(type, Buffer.from(payload)),
      );
    }),
  );
});

test("it verifies an envelope of ours by Ed25519, and no changed one", () => {
  const device = createDeviceSigner(new Uint8Array(32).fill(7));
  const signer = createSigner(logKeys.ed25519);
  expect(device.publicKey).not.toEqual(signer.key.publicKey);
  const envelope = read(signEnvelope(signer, "text/plain", new TextEncoder().encode("hello")));
  const key = crypto.createPublicKey(Buffer.concat([SPKI, signer.key.publicKey]));
  const [signed] = envelope.signatures;
  const verify = (payload: string): boolean =>
    crypto.verify(
      dsse.preAuthEncoding(envelope.payloadType, Buffer.from(payload, "base64")),
      key,
      Buffer.from(signed?.sig ?? "", "base64"),
    );
  expect(verify(envelope.payload)).toBe(true);
  expect(verify(Buffer.from("hellp").toString("base64"))).toBe(false);
});

test("what a seal signs is what it would have a signer sign, and its canonical JSON is ours", async () => {
  const { envelope } = await makeBundle();
  const plain = read(envelope);
  const message = dsse.preAuthEncoding(plain.payloadType, Buffer.from(plain.payload, "base64"));
  const verifier = createVerifier(toPublicKey(snapshotKey));
  const [signed] = plain.signatures;
  expect(verifier.verify(message, Buffer.from(signed?.sig ?? "", "base64"))).toBe(true);
  expect(json.canonicalize(plain)).toBe(new TextDecoder().decode(envelope));
  const statement: unknown = JSON.parse(Buffer.from(plain.payload, "base64").toString("utf8"));
  expect(json.canonicalize(statement)).toBe(
    new TextDecoder().decode(parseEnvelope(envelope).payload),
  );
});

test("two seals of one statement differ in their signatures alone, so that those are no id", () => {
  const payload = new TextEncoder().encode("{}");
  const hybrid = createSigner(snapshotKey);
  const [one, two] = [1, 2].map(() => parseEnvelope(signEnvelope(hybrid, "text/plain", payload)));
  expect(one?.signature).not.toEqual(two?.signature);
  expect({ ...one, signature: 0 }).toEqual({ ...two, signature: 0 });
  const classical = [1, 2].map(() => signEnvelope(logSigners.ed25519, "text/plain", payload));
  expect(classical[0]).toEqual(classical[1]);
});
