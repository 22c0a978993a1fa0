// SPDX-License-Identifier: Apache-2.0
/** `ctxmesh policy`: which of the statements about a key is shown, as the creator of a space signs it. */
import { realpath, stat } from "node:fs/promises";
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import { encodeSpaceFile, parseSpaceFile, setPolicy } from "@ctxmesh/replica";
import { loadPolicy, renderPolicy } from "../config/policy-file.ts";
import { readKey, readSpace, writeWhole } from "../files.ts";
import { createOutput, shortId } from "../output.ts";

/** Options of `ctxmesh policy show` and `check`. */
export interface PolicyOptions {
  readonly json?: boolean;
}

/** Options of `ctxmesh policy set`. */
export interface PolicySetOptions extends PolicyOptions {
  readonly space: string;
  readonly key: string;
}

const rulesOf = (n: number): string => `${String(n)} rule${n === 1 ? "" : "s"}`;

/** Prints the policy of a space file, as YAML that `set` takes. */
export async function showPolicy(spacePath: string, options: PolicyOptions): Promise<void> {
  const { id, genesis, policy } = await readSpace(spacePath);
  const output = createOutput(options);
  if (output.json) {
    await output.line(JSON.stringify({ space: id, ...policy }));
    return;
  }
  await output.line(
    `# space ${JSON.stringify(genesis.name)} (${shortId(id)}), policy epoch ${String(policy.epoch)}`,
  );
  await output.line("# the longest matching prefix decides; latest where none matches");
  await output.line(renderPolicy(policy).trimEnd());
}

/** Says whether a policy file could be set. Throws what {@link loadPolicy} throws. */
export async function checkPolicy(file: string, options: PolicyOptions): Promise<void> {
  const { rules } = await loadPolicy(file, 0);
  const output = createOutput(options);
  if (output.json) await output.line(JSON.stringify({ valid: true, rules }));
  else await output.line(`${file} is a policy with ${rulesOf(rules.length)}`);
}

/** Signs a policy into a space file. Throws what its parts throw, and then the file is as it was. */
export async function runPolicySet(file: string, options: PolicySetOptions): Promise<void> {
  const space = await readSpace(options.space);
  const policy = await loadPolicy(file, space.policy.epoch);
  const key = await readKey(options.key, "Ed25519");
  const changed = setPolicy(space, createDeviceSigner(key.seed), policy);
  const text = encodeSpaceFile(changed);
  // Whatever a node would refuse must not get into the file.
  parseSpaceFile(text, createDeviceVerifier());
  const path = await realpath(options.space);
  await writeWhole(path, text, {
    mode: (await stat(path)).mode & 0o777,
    field: "--space",
    remedy: "the policy is not set; name a space file that you may replace",
  });
  const output = createOutput(options);
  const { epoch, rules } = changed.policy;
  if (output.json) {
    await output.line(JSON.stringify({ space: changed.id, epoch, rules: rules.length }));
    return;
  }
  await output.line(
    `${options.space} now has policy epoch ${String(epoch)}: ${rulesOf(rules.length)}`,
  );
  await output.line(
    "bring it to every agent and hub of the space and restart them: they read it when they start, and\nreplicas with different policies show different values and digests",
  );
}
