// SPDX-License-Identifier: Apache-2.0
/** `ctxmesh trust sign`: one more signature on a trust root. */
import { createSigner } from "@ctxmesh/crypto";
import { rootApproval, signRoot, trustRootDigest } from "@ctxmesh/ledger";
import { readPrivateKey } from "../files.ts";
import { createOutput } from "../output.ts";
import { readCandidate, writeCandidate } from "../trust-candidate.ts";

/** Options of `ctxmesh trust sign`. */
export interface TrustSignOptions {
  readonly key: string;
  readonly json?: boolean;
}

/** Adds the signature of a root key, or makes it anew. Throws `KEY_INVALID`, `POLICY_REFUSED` for a key that is no root key of the file. */
export async function runTrustSign(path: string, options: TrustSignOptions): Promise<void> {
  const { root, signatures } = await readCandidate(path);
  const made = signRoot(root, createSigner(await readPrivateKey(options.key)));
  const others = signatures.filter(({ keyid }) => keyid !== made.keyid);
  const candidate = { root, signatures: [...others, made] };
  // What others signed is looked at before it is written again.
  const { signed, threshold, enough } = rootApproval(candidate, root);
  await writeCandidate(path, candidate);
  const output = createOutput(options);
  // Somebody may have changed the file since it was shown: this is what was signed.
  const digest = trustRootDigest(root);
  const { keyid } = made;
  await output.line(
    output.json
      ? JSON.stringify({ path, keyid, digest, signed: signed.length, threshold, enough })
      : `digest ${digest}\n${keyid} signed version ${String(root.version)}: ${String(signed.length)} of the ${String(threshold)} signatures that it asks for${enough ? "" : "; pass the file on to the next one"}`,
  );
}
