// SPDX-License-Identifier: Apache-2.0
import { revokeDevice } from "@ctxmesh/membership";
import {
  LIMITS,
  MeshError,
  parseDeviceKey,
  parseHeaderHash,
  parseIncarnationId,
} from "@ctxmesh/model";
import type { ChainReport } from "@ctxmesh/model";
import { counted, createOutput, shortId } from "../output.ts";
import { findKey, readSigner, whereItGoes, withSpace } from "../space-source.ts";
import type { OpenSpace } from "../space-source.ts";
import type { ChangeOptions } from "./space-grant.ts";

/** Options of `ctxmesh space revoke`. */
export interface RevokeOptions extends ChangeOptions {
  readonly reason: string;
  /** `seen`: the batches that the daemon has applied stand. */
  readonly keep: "seen" | "nothing";
}

type Stands = ChainReport & { readonly hash: string };

/** Chains of a device of which something counts, the newest first. */
async function seenChains({ client }: OpenSpace, device: string): Promise<readonly Stands[]> {
  if (client === undefined) {
    throw new MeshError("USAGE", "a space file does not say what the device wrote", {
      field: "--keep",
      remedy: "give --keep nothing, or the --socket of a daemon that has its batches",
    });
  }
  const { chains } = await client.membership();
  return chains
    .filter((chain): chain is Stands => chain.device === device && chain.hash !== undefined)
    .toSorted((a, b) => (b.lastMs ?? 0) - (a.lastMs ?? 0));
}

/** Shuts a device or an invite out. Throws `USAGE`, `NOT_FOUND`, `POLICY_REFUSED`, and what reading and handing over throw. */
export async function runRevoke(text: string, options: RevokeOptions): Promise<void> {
  const signer = await readSigner(options.key);
  await withSpace(options, async (open) => {
    const { space } = open;
    const known = [...space.grants.keys(), ...space.invites.keys(), ...space.revocations.keys()];
    const device = parseDeviceKey(findKey(text, known, "device or invite") ?? text.toLowerCase());
    if (space.revocations.has(device)) {
      throw new MeshError("POLICY_REFUSED", `${shortId(device)} is revoked already`);
    }
    const invite = space.invites.has(device);
    const seen = options.keep === "nothing" || invite ? [] : await seenChains(open, device);
    const kept = seen.slice(0, LIMITS.headsPerRevocation);
    const heads = kept.map(({ incarnation, seq, hash }) => ({
      incarnation: parseIncarnationId(incarnation),
      seq,
      hash: parseHeaderHash(hash),
    }));
    const changed = revokeDevice(space, signer, {
      device,
      heads,
      reason: options.reason,
      now: Date.now(),
    });
    const [act] = await open.submit(changed);
    const output = createOutput(options);
    if (output.json) {
      const left = seen.length - kept.length;
      await output.line(JSON.stringify({ device, act: act?.id, kept: heads, left }));
      return;
    }
    await output.line(describe(shortId(device), invite, kept));
    if (kept.length < seen.length) {
      await output.line(
        `it has ${String(seen.length)} chains, and a revocation names ${String(kept.length)}: its oldest ${String(seen.length - kept.length)} are void as well`,
      );
    }
    await output.line(whereItGoes(open));
  });
}

function describe(device: string, invite: boolean, kept: readonly ChainReport[]): string {
  if (invite) return `revoked the invite ${device}: nobody can join with it any more`;
  const batches = kept.reduce((sum, { seq }) => sum + seq, 0);
  const stands =
    batches === 0
      ? "nothing that it wrote counts"
      : `of what it wrote, ${counted(batches, "batch stands", "batches stand")}`;
  return `revoked ${device} for ever: ${stands}, anything else is void everywhere`;
}
