// SPDX-License-Identifier: Apache-2.0
/**
 * `ctxmesh init`: from nothing to a mesh that runs.
 *
 * ```
 * space.json   root.json   agent.schema.json   hub.schema.json   agent-1.yaml ...   hub.yaml
 * creator/creator.jwk                                    issues grants and policies; belongs offline
 * agent-1/device.jwk ...                                 later also the store and the socket
 * hub/device.jwk snapshot.jwk log-ed25519.jwk log-mldsa44.jwk
 * ```
 *
 * Keys have mode 0600 in folders of mode 0700. All is made in a hidden folder inside the target and
 * moved into place at the end.
 */
import { mkdir, mkdtemp, readdir, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { basename, dirname, join, relative, resolve } from "node:path";
import {
  createDeviceSigner,
  formatPrivateKey,
  generatePrivateKey,
  toPublicKey,
} from "@ctxmesh/crypto";
import type { PrivateKey } from "@ctxmesh/crypto";
import { createTrustRoot, formatTrustRoot } from "@ctxmesh/ledger";
import { MeshError, parseDeviceKey, toHex } from "@ctxmesh/model";
import { createSpace, encodeSpaceFile, issueGrant } from "@ctxmesh/replica";
import type { Space } from "@ctxmesh/replica";
import { schemaFileText } from "../config/schema.ts";
import { createOutput } from "../output.ts";
import { systemClock, systemRandom } from "@ctxmesh/service";
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

/** A file to be, by its path in the folder. */
interface PlannedFile {
  readonly path: string;
  readonly text: string;
  readonly secret: boolean;
}

const DAY_MS = 86_400_000;
const ROOT_LIFE_DAYS = 365;
const SPACE_NAME = /^\P{Cc}{1,100}$/v;
/** What an earlier run may have left in a folder. */
const OWN_NAMES =
  /^(agent-[0-9]+(\.yaml)?|hub(\.yaml)?|creator|space\.json|root\.json|(agent|hub)\.schema\.json)$/u;

/** Makes keys, a space with grants, a trust root and configurations. Throws `FILE_UNAVAILABLE`, `USAGE`, `ADDRESS_UNAVAILABLE`. */
export async function runInit(folder: string, options: InitOptions): Promise<void> {
  const target = resolve(folder);
  const name = options.name ?? basename(target);
  if (!SPACE_NAME.test(name)) {
    throw new MeshError("USAGE", `${JSON.stringify(name)} can't name a space`, {
      field: "--name",
      remedy: "give --name with 1 to 100 characters, no control characters",
    });
  }
  const ports =
    options.ports === "auto"
      ? await freePorts(options.agents + 1)
      : Array.from({ length: options.agents + 1 }, (_, index) => options.portBase + index);
  const files = plan(name, ports);
  const replaced = await install(target, files, options.force === true);
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
    `  ${ctxmesh} verify bundle.json --root root.json`,
    "",
    "agent-1 may also retract what other agents said (role manage): ctxmesh retract --help",
    `keep ${join(cd, "creator/creator.jwk")} offline: it alone can admit devices and set the policy`,
  ].join("\n");
}

const openFile = (path: string, text: string): PlannedFile => ({ path, text, secret: false });
const keyFile = (path: string, key: PrivateKey): PlannedFile => ({
  path,
  text: formatPrivateKey(key),
  secret: true,
});

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
  space = admit(hubKey, "hub", "read");
  const origin = `ctxmesh.local/${space.id.slice(0, 16)}`;
  const root = createTrustRoot({
    version: 1,
    expires: now + ROOT_LIFE_DAYS * DAY_MS,
    spaces: [space.id],
    keys: [{ role: "snapshot", key: toPublicKey(snapshot) }],
    logs: [{ origin, ed25519: toPublicKey(logEd25519), mldsa44: toPublicKey(logMlDsa) }],
  });
  return [
    openFile("space.json", encodeSpaceFile(space)),
    openFile("root.json", formatTrustRoot(root)),
    openFile("agent.schema.json", schemaFileText("agent")),
    openFile("hub.schema.json", schemaFileText("hub")),
    openFile("hub.yaml", hubYaml(ports[0] ?? 0, origin)),
    keyFile("creator/creator.jwk", creator),
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

/** Ports that nobody listens on right now. */
async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  try {
    for (const server of servers) {
      await new Promise<void>((done, fail) => {
        server.once("error", fail).listen(0, "127.0.0.1", done);
      });
    }
    return servers.map((server) => (server.address() as AddressInfo).port);
  } catch (error) {
    throw new MeshError("ADDRESS_UNAVAILABLE", "can't find free ports on 127.0.0.1", {
      remedy: "choose them with --port-base",
      cause: error,
    });
  } finally {
    for (const server of servers) server.close();
  }
}

/** Puts the files into the folder, all or none; returns where replaced ones went. */
async function install(
  target: string,
  files: readonly PlannedFile[],
  force: boolean,
): Promise<string | undefined> {
  const moved: (readonly [from: string, to: string])[] = [];
  let firstCreated: string | undefined;
  let staging: string | undefined;
  let replaced: string | undefined;
  const move = async (from: string, to: string): Promise<void> => {
    await rename(from, to);
    moved.push([from, to]);
  };
  try {
    firstCreated = await mkdir(target, { recursive: true });
    const inTheWay = (await readdir(target)).filter((entry) => OWN_NAMES.test(entry));
    if (inTheWay.length > 0 && !force) throw occupied(target, inTheWay);
    staging = await mkdtemp(join(target, ".init-"));
    await writeFiles(staging, files);
    if (inTheWay.length > 0) {
      replaced = join(
        target,
        `replaced-${new Date(systemClock.now()).toISOString().replaceAll(":", "")}`,
      );
      await mkdir(replaced, { mode: 0o700 });
      for (const entry of inTheWay) await move(join(target, entry), join(replaced, entry));
    }
    for (const entry of await readdir(staging))
      await move(join(staging, entry), join(target, entry));
    await rmdir(staging);
    return replaced;
  } catch (error) {
    for (const [from, to] of moved.toReversed()) await rename(to, from);
    if (replaced !== undefined) await rmdir(replaced).catch(() => undefined);
    if (staging !== undefined) await rm(staging, { recursive: true, force: true });
    if (firstCreated !== undefined) await rm(firstCreated, { recursive: true, force: true });
    if (error instanceof MeshError) throw error;
    const reason = error instanceof Error && "code" in error ? String(error.code) : String(error);
    throw new MeshError("FILE_UNAVAILABLE", `can't write into ${target}: ${reason}`, {
      remedy: "choose a folder that you may write to",
      cause: error,
    });
  }
}

const occupied = (target: string, entries: readonly string[]): MeshError =>
  new MeshError(
    "FILE_UNAVAILABLE",
    `${target} already holds ${entries.slice(0, 3).join(", ")}${entries.length > 3 ? ", ..." : ""}`,
    { remedy: "choose another folder, or use --force to move those into a subfolder" },
  );

async function writeFiles(folder: string, files: readonly PlannedFile[]): Promise<void> {
  for (const { path, text, secret } of files) {
    const full = join(folder, path);
    if (secret) await mkdir(dirname(full), { recursive: true, mode: 0o700 });
    await writeFile(full, text, { flag: "wx", mode: secret ? 0o600 : 0o644, flush: true });
  }
}
