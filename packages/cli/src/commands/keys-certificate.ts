// SPDX-License-Identifier: Apache-2.0
/** `ctxmesh keys certificate`: what a device shows at the door of a hub that asks for a client certificate. */
import { toHex } from "@ctxmesh/model";
import { createDeviceSigner } from "@ctxmesh/crypto";
import { createCertificateRequest, createDeviceCertificate } from "@ctxmesh/transport-ws";
import { readKey } from "../files.ts";
import { createOutput } from "../output.ts";

/** Options of `ctxmesh keys certificate`. */
export interface CertificateOptions {
  readonly request?: boolean;
  readonly json?: boolean;
}

/** Prints a certificate of a device key, or a request for one, PEM. Throws `KEY_INVALID`. */
export async function runKeysCertificate(path: string, options: CertificateOptions): Promise<void> {
  const { seed } = await readKey(path, "Ed25519");
  const text =
    options.request === true ? createCertificateRequest(seed) : createDeviceCertificate(seed);
  const output = createOutput(options);
  const device = toHex(createDeviceSigner(seed).publicKey);
  await output.line(output.json ? JSON.stringify({ device, pem: text }) : text.trimEnd());
}
