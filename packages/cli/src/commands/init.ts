// SPDX-License-Identifier: Apache-2.0
/**
 * `ctxmesh init`: from nothing to a mesh that runs.
 *
 * ```
 * space.json   root.json   agent.schema.json   hub.schema.json   agent-1.yaml ...   hub.yaml
 * creator/creator.jwk                                    issues grants and policies; belongs offline
 * creator/root.jwk                                       signs root.json; belongs offline
 * agent-1/device.jwk ...                                 later also the store and the socket
 * hub/device.jwk snapshot.jwk log-ed25519.jwk log-mldsa44.jwk
 * ```
 *
 * Keys have mode 0600 in folders of mode 0700. All is made in a hidden folder inside the target and
 * moved into place at the end.
 */
import { basename, join, relative, resolve } from "node:path";
import { createDeviceSigner, createSigner, generatePrivateKey, toPublicKey } from "@ctxmesh/crypto";
import type { PrivateKey } from "@ctxmesh/crypto";
import { createTrustRoot, formatTrustRoot } from "@ctxmesh/ledger";
import { MeshError, parseDeviceKey, toHex } from "@ctxmesh/model";
import { createSpace, encodeSpaceFile, issueGrant } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { systemClock, systemRandom } from "@ctxmesh/service";
import { schemaFileText } from "../config/schema.ts";
import { freePorts, install, keyFile, openFile } from "../install.ts";
import type { PlannedFile } from "../install.ts";
import { createOutput } from "../output.ts";
import { agentYaml, hubYaml } from "./init-templates.ts";

/** Options of `ctxmesh init`. */
export interface InitOptions {
  readonly agents: number;
  readonly name?: string;
  readonly portBase: number;
  readonly ports?: "auto";
  readonly force?: boolean;
  readonly json?: boolean;
}

const DAY_MS = 86_400_000;
const ROOT_LIFE_DAYS = 365;
const SPACE_NAME = /^\P{Cc}{1,100}$/v;
/** What an earlier run may have left in a folder. */
const OWN_NAMES =
  /^(agent-[0-9]+(\.yaml)?|hub(\.yaml)?|creator|space\.json|root\.json|(agent|hub)\.schema\.json)$/u;

/** Throws `USAGE` for what can't name a space; `field` is where it came from. */
export function assertSpaceName(name: string, field: string): void {
  if (SPACE_NAME.test(name)) return;
  throw new MeshError("USAGE", `${JSON.stringify(name)} can't name a space`, {
    field,
    remedy: `give ${field} with 1 to 100 characters, no control characters`,
  });
}

/** Makes keys, a space with grants, a trust root and configurations. Throws `FILE_UNAVAILABLE`, `USAGE`, `ADDRESS_UNAVAILABLE`. */
export async function runInit(folder: string, options: InitOptions): Promise<void> {
  const target = resolve(folder);
  const name = options.name ?? basename(target);
  assertSpaceName(name, "--name");
  const ports =
    options.ports === "auto"
      ? await freePorts(options.agents + 1)
      : Array.from({ length: options.agents + 1 }, (_, index) => options.portBase + index);
  const files = plan(name, ports);
  const replaced = await install(target, files, {
    isOurs: (entry) => OWN_NAMES.test(entry),
    force: options.force === true,
  });
  const output = createOutput(options);
  if (output.json) {
    await output.line(
      JSON.stringify({ folder: target, name, agents: options.agents, ports, replaced }),
    );
    return;
  }
  if (replaced !== undefined) await output.line(`what was there is now in ${replaced}`);
  await output.line(nextSteps(name, target, options.agents));
}

/** What to type next, as this command itself was typed. */
function nextSteps(name: string, target: string, agents: number): string {
  const ctxmesh = process.env["npm_command"] === "exec" ? "npx ctxmesh" : "ctxmesh";
  const cd = relative(process.cwd(), target);
  const daemons = Array.from(
    { length: agents },
    (_, index) => `  ${ctxmesh} agent agent-${String(index + 1)}.yaml`,
  );
  return [
    `made the space "${name}" in ${target}`,
    "",
    "next, each in a terminal of its own:",
    "",
    ...(cd === "" ? [] : [`  cd ${cd}`]),
    `  ${ctxmesh} hub hub.yaml`,
    ...daemons,
    "",
    "then:",
    "",
    `  ${ctxmesh} put line-2/press-7 temperature 71.5 --confidence 0.9`,
    `  ${ctxmesh} ls`,
    `  ${ctxmesh} seal --out bundle.json`,
    `  ${ctxmesh} verify bundle.json --trust root.json`,
    "",
    "agent-1 may also retract what other agents said (role manage): ctxmesh retract --help",
    `keep ${join(cd, "creator")} offline: with creator.jwk anybody can admit and revoke devices, with root.jwk`,
    "say whose seals count",
  ].join("\n");
}

/** Every file of a mesh; `ports` are the hub's and one per agent. */
function plan(name: string, ports: readonly number[]): readonly PlannedFile[] {
  const now = systemClock.now();
  const creator = generatePrivateKey("Ed25519", systemRandom);
  const snapshot = generatePrivateKey("ML-DSA-65-Ed25519", systemRandom);
  const logEd25519 = generatePrivateKey("Ed25519", systemRandom);
  const logMlDsa = generatePrivateKey("ML-DSA-44", systemRandom);
  const hubKey = generatePrivateKey("Ed25519", systemRandom);
  const agentKeys = ports.slice(1).map(() => generatePrivateKey("Ed25519", systemRandom));
  const signer = createDeviceSigner(creator.seed);
  let space = createSpace({ name, creator: signer, now, random: systemRandom });
  const admit = (
    key: PrivateKey,
    service: "agent" | "hub",
    role: "read" | "write" | "manage",
  ): Space =>
    issueGrant(space, signer, {
      device: parseDeviceKey(toHex(key.publicKey)),
      service,
      role,
      notBefore: now,
    });
  for (const [index, key] of agentKeys.entries()) {
    space = admit(key, "agent", index === 0 ? "manage" : "write");
  }
  // It writes for whoever edits at its /yjs.
  space = admit(hubKey, "hub", "write");
  const origin = `ctxmesh.local/${space.id.slice(0, 16)}`;
  const rootKey = generatePrivateKey("ML-DSA-65-Ed25519", systemRandom);
  // Logs write down whole seconds, so that a seal may seem to be older than it is.
  const issued = Math.floor(now / 1_000) * 1_000;
  const root = createTrustRoot({
    version: 1,
    issued,
    expires: issued + ROOT_LIFE_DAYS * DAY_MS,
    spaces: [space.id],
    keys: [
      { role: "root", key: toPublicKey(rootKey) },
      { role: "snapshot", key: toPublicKey(snapshot) },
    ],
    logs: [{ origin, ed25519: toPublicKey(logEd25519), mldsa44: toPublicKey(logMlDsa) }],
  });
  return [
    openFile("space.json", encodeSpaceFile(space)),
    openFile("root.json", formatTrustRoot(root, [createSigner(rootKey)])),
    openFile("agent.schema.json", schemaFileText("agent")),
    openFile("hub.schema.json", schemaFileText("hub")),
    openFile("hub.yaml", hubYaml(ports[0] ?? 0, origin)),
    keyFile("creator/creator.jwk", creator),
    keyFile("creator/root.jwk", rootKey),
    keyFile("hub/device.jwk", hubKey),
    keyFile("hub/snapshot.jwk", snapshot),
    keyFile("hub/log-ed25519.jwk", logEd25519),
    keyFile("hub/log-mldsa44.jwk", logMlDsa),
    ...agentKeys.flatMap((key, index) => [
      openFile(`agent-${String(index + 1)}.yaml`, agentYaml(index + 1, ports)),
      keyFile(`agent-${String(index + 1)}/device.jwk`, key),
    ]),
  ];
}
