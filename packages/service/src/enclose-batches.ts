// SPDX-License-Identifier: Apache-2.0
/** Bundles with the batches that their facts were signed in, for auditors who don't take the hub's word for them. */
import { encodeBundle, envelopeStatement, parseBundle } from "@ctxmesh/ledger";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { SealingService } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";

/** The sealed chains as far as they are kept here, each up to the head that was sealed. Throws `LIMIT_EXCEEDED`. */
async function encloseBatches(
  bytes: Uint8Array,
  replica: Pick<Replica, "read">,
): Promise<Uint8Array> {
  const bundle = parseBundle(bytes);
  const { frontier } = envelopeStatement(bundle.envelope);
  const spans = frontier.map(({ replica: device, incarnation, seq }) => ({
    replica: device,
    incarnation,
    from: 1,
    to: seq,
  }));
  const batches: Uint8Array[] = [];
  let size = bytes.length;
  for await (const batch of replica.read(spans)) {
    // In base64, before all of it is in memory.
    size += Math.ceil(batch.bytes.length / 3) * 4 + 3;
    if (size > LIMITS.bundleBytes) {
      const message = `with its batches the bundle is over LIMITS.bundleBytes (${String(LIMITS.bundleBytes)})`;
      throw new MeshError("LIMIT_EXCEEDED", message, { remedy: "take it without batches" });
    }
    batches.push(batch.bytes);
  }
  return batches.length === 0 ? bytes : encodeBundle({ ...bundle, batches });
}

/** A sealing service whose bundles may be had with batches. */
export const withBatches = (
  sealing: SealingService,
  replica: Pick<Replica, "read">,
): SealingService => ({
  seal: async (options) => sealing.seal(options),
  bundle: async (sequence, { batches = false } = {}) => {
    const bytes = await sealing.bundle(sequence);
    return batches ? encloseBatches(bytes, replica) : bytes;
  },
});
