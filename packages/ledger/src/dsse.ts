// SPDX-License-Identifier: Apache-2.0
/**
 * Envelopes of DSSE 1.0.2 with exactly one signature, as one line of canonical JSON:
 * `{"payload":base64,"payloadType":text,"signatures":[{"keyid":text,"sig":base64}]}`.
 */
import {
  canonicalJson,
  parseCanonicalJson,
  toBase64,
  utf8Decode,
  utf8Encode,
} from "@ctxmesh/codec";
import type { Signer } from "@ctxmesh/crypto";
import { LIMITS, MeshError } from "@ctxmesh/model";
import { malformed, readArray, readBase64, readMembers, readText } from "./read.ts";

/** An envelope in parts; `payload` are the exact signed bytes. */
export interface Envelope {
  readonly payload: Uint8Array;
  readonly payloadType: string;
  /** A hint from the signer, not authenticated: it only picks among the keys of the trust root. */
  readonly keyid: string;
  readonly signature: Uint8Array;
}

/** The signed bytes: `"DSSEv1" SP len(type) SP type SP len(payload) SP payload`, lengths in bytes. */
export function preAuthEncoding(payloadType: string, payload: Uint8Array): Uint8Array {
  const type = utf8Encode(payloadType);
  const head = utf8Encode(
    `DSSEv1 ${String(type.length)} ${payloadType} ${String(payload.length)} `,
  );
  const bytes = new Uint8Array(head.length + payload.length);
  bytes.set(head);
  bytes.set(payload, head.length);
  return bytes;
}

/** The bytes of an envelope in parts: what {@link parseEnvelope} takes apart. */
export function formatEnvelope({ payload, payloadType, keyid, signature }: Envelope): Uint8Array {
  const text = canonicalJson({
    payload: toBase64(payload),
    payloadType,
    signatures: [{ keyid, sig: toBase64(signature) }],
  });
  return utf8Encode(text);
}

/** Signs a payload; returns the envelope's bytes. */
export function signEnvelope(signer: Signer, payloadType: string, payload: Uint8Array): Uint8Array {
  const signature = signer.sign(preAuthEncoding(payloadType, payload));
  return formatEnvelope({ payload, payloadType, keyid: signer.key.keyid, signature });
}

/** Parses untrusted envelope bytes; nothing is verified yet. Throws `FORMAT_INVALID`, `INPUT_INVALID` or `LIMIT_EXCEEDED`. */
export function parseEnvelope(bytes: Uint8Array): Envelope {
  // A frontier of LIMITS.frontierHeads heads is what makes an envelope long.
  if (bytes.length > LIMITS.frontierHeads * 512) {
    throw new MeshError("LIMIT_EXCEEDED", `envelope of ${String(bytes.length)} bytes is too long`);
  }
  const value = parseCanonicalJson(utf8Decode(bytes), "envelope");
  const envelope = readMembers(value, ["payload", "payloadType", "signatures"], "envelope");
  const signatures = readArray(envelope.signatures, 16, "envelope.signatures");
  if (signatures.length !== 1) {
    malformed(`envelope has ${String(signatures.length)} signatures, not exactly 1`);
  }
  const signature = readMembers(signatures[0], ["keyid", "sig"], "envelope.signatures[0]");
  return {
    payload: readBase64(envelope.payload, "envelope.payload"),
    payloadType: readText(envelope.payloadType, "envelope.payloadType"),
    keyid: readText(signature.keyid, "envelope.signatures[0].keyid"),
    signature: readBase64(signature.sig, "envelope.signatures[0].sig"),
  };
}
