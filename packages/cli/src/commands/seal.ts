// SPDX-License-Identifier: Apache-2.0
import { writeWhole } from "../files.ts";
import { createOutput } from "../output.ts";
import { withClient } from "../socket.ts";

/** Options of `ctxmesh seal`. */
export interface SealOptions {
  readonly socket?: string;
  readonly json?: boolean;
  readonly out?: string;
  readonly after?: number;
  readonly batches?: boolean;
}

/** Has the hub seal its space, and with `--out` saves the bundle. */
export async function runSeal(options: SealOptions): Promise<void> {
  const { out, after, batches = false } = options;
  const receipt = await withClient(options.socket, "hub", async (client) => {
    const sealed = await client.seal(after === undefined ? {} : { after });
    if (out !== undefined) {
      await writeWhole(out, await client.bundle(sealed.sequence, { batches }), {
        field: "--out",
        remedy: "the seal is made; name a folder that exists and that you may write to",
      });
    }
    return sealed;
  });
  const output = createOutput(options);
  if (output.json) {
    await output.line(JSON.stringify(out === undefined ? receipt : { ...receipt, out }));
    return;
  }
  await output.line(
    `seal ${String(receipt.sequence)}: ${String(receipt.leaves)} facts, root ${receipt.root}, log entry ${String(receipt.logIndex)}`,
  );
  if (out !== undefined) {
    await output.line(`wrote ${out}; check it: ctxmesh verify ${out} --trust root.json`);
  }
}
