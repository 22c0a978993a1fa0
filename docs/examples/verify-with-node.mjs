// SPDX-License-Identifier: Apache-2.0
// Verifies the seal of a bundle with what Node >= 24.6 has built in, and nothing of ours:
//   node docs/examples/verify-with-node.mjs bundle.json root.json
// The byte layouts are in docs/FORMATS.md.
import { createHash, createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";

if (process.argv.length !== 4) {
  process.stderr.write("usage: node verify-with-node.mjs bundle.json root.json\n");
  process.exit(3);
}
const [bundle, root] = process.argv.slice(2).map((path) => JSON.parse(readFileSync(path, "utf8")));
const { payload, payloadType, signatures } = JSON.parse(bundle.envelope);
const [{ keyid, sig }] = signatures;
const { jwk } = root.signed.keys.find((key) => key.keyid === keyid && key.role === "snapshot");

const body = Buffer.from(payload, "base64");
const pae = Buffer.concat([
  Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${body.length} `),
  body,
]);
const label = "COMPSIG-MLDSA65-Ed25519-SHA512";
const prepared = Buffer.concat([
  Buffer.from(`CompositeAlgorithmSignatures2025${label}\0`),
  createHash("sha512").update(pae).digest(),
]);
const [publicKey, signature] = [Buffer.from(jwk.pub, "base64url"), Buffer.from(sig, "base64")];
const key = (asymmetricKeyType, bytes) =>
  createPublicKey({ key: bytes, format: "raw-public", asymmetricKeyType });
const mlDsa = { key: key("ml-dsa-65", publicKey.subarray(0, 1952)), context: Buffer.from(label) };
const isValid = [
  verify(null, prepared, mlDsa, signature.subarray(0, 3309)),
  verify(null, prepared, key("ed25519", publicKey.subarray(1952)), signature.subarray(3309)),
].every(Boolean);
process.stdout.write(`${isValid ? "VALID" : "INVALID"} seal by ${keyid}\n${String(body)}\n`);
process.exitCode = isValid ? 0 : 1;
