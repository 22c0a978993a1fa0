// SPDX-License-Identifier: Apache-2.0
/** `ctxmesh policy`: which of the statements about a key is shown, as whoever manages a space signs it. */
import { setPolicy } from "@ctxmesh/membership";
import { assertPolicyModules } from "@ctxmesh/service";
import { loadPolicy, renderPolicy } from "../config/policy-file.ts";
import { createOutput, shortId } from "../output.ts";
import { readSigner, whereItGoes, withSpace } from "../space-source.ts";

/** Options of `ctxmesh policy show` and `check`. */
export interface PolicyOptions {
  readonly json?: boolean;
}

/** Options of `ctxmesh policy show`. */
export interface PolicyShowOptions extends PolicyOptions {
  readonly socket?: string;
}

/** Options of `ctxmesh policy set`. */
export interface PolicySetOptions extends PolicyShowOptions {
  readonly space: string;
  readonly key: string;
}

const rulesOf = (n: number): string => `${String(n)} rule${n === 1 ? "" : "s"}`;

/** The policy of a daemon's space where a socket is named, else of a space file, as YAML that `set` takes. */
export async function showPolicy(spacePath: string, options: PolicyShowOptions): Promise<void> {
  const { socket } = options;
  const source = socket === undefined ? { space: spacePath } : { socket };
  const { id, genesis, policy } = await withSpace(source, ({ space }) => Promise.resolve(space));
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

/** Signs a policy for a running daemon, or into a space file. Throws what its parts throw, and then nothing has changed. */
export async function runPolicySet(file: string, options: PolicySetOptions): Promise<void> {
  const { socket } = options;
  await withSpace(socket === undefined ? { space: options.space } : { socket }, async (open) => {
    const policy = await loadPolicy(file, open.space.knownEpoch);
    assertPolicyModules(open.space, policy);
    const signer = await readSigner(options.key);
    const changed = setPolicy(open.space, signer, policy, Date.now());
    await open.submit(changed);
    const { epoch, rules } = changed.policy;
    const output = createOutput(options);
    if (output.json) {
      await output.line(JSON.stringify({ space: changed.id, epoch, rules: rules.length }));
      return;
    }
    await output.line(
      `${open.name} now has policy epoch ${String(epoch)}: ${rulesOf(rules.length)}`,
    );
    await output.line(
      `${whereItGoes(open)}; until every node has it, they may show different values and digests`,
    );
  });
}
