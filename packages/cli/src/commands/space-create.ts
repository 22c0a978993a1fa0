// SPDX-License-Identifier: Apache-2.0
import { join, relative, resolve } from "node:path";
import { createDeviceSigner, generatePrivateKey } from "@ctxmesh/crypto";
import { createSpace, encodeSpaceFile, issueGrant } from "@ctxmesh/membership";
import { parseDeviceKey, toHex } from "@ctxmesh/model";
import { systemClock, systemRandom } from "@ctxmesh/service";
import { schemaFileText } from "../config/schema.ts";
import { freePorts, install, keyFile, openFile } from "../install.ts";
import { createOutput } from "../output.ts";
import { assertSpaceName } from "./init.ts";
import { memberYaml } from "./init-templates.ts";

/** Options of `ctxmesh space create`. */
export interface CreateOptions {
  readonly out: string;
  readonly json?: boolean;
}

const OURS = new Set(["creator", "space.json", "agent-1", "agent-1.yaml", "agent.schema.json"]);

/**
 * Founds a space in a folder: `creator/creator.jwk`, `space.json`, and `agent-1.yaml` with `agent-1/device.jwk`, its
 * first agent (role manage), without which nobody could join. Throws `USAGE`, `FILE_UNAVAILABLE`, `ADDRESS_UNAVAILABLE`.
 */
export async function runCreate(name: string, options: CreateOptions): Promise<void> {
  assertSpaceName(name, "NAME");
  const target = resolve(options.out);
  const now = systemClock.now();
  const creator = generatePrivateKey("Ed25519", systemRandom);
  const agent = generatePrivateKey("Ed25519", systemRandom);
  const device = parseDeviceKey(toHex(agent.publicKey));
  const signer = createDeviceSigner(creator.seed);
  const founded = createSpace({ name, creator: signer, now, random: systemRandom });
  const space = issueGrant(founded, signer, {
    device,
    service: "agent",
    role: "manage",
    notBefore: now,
  });
  const [port = 0] = await freePorts(1);
  const listen = `/ip4/127.0.0.1/tcp/${String(port)}`;
  const files = [
    openFile("space.json", encodeSpaceFile(space)),
    openFile("agent.schema.json", schemaFileText("agent")),
    openFile("agent-1.yaml", memberYaml({ folder: "agent-1/", listen, peers: [], hubs: [] })),
    keyFile("agent-1/device.jwk", agent),
    keyFile("creator/creator.jwk", creator),
  ];
  await install(target, files, { isOurs: (entry) => OURS.has(entry) });
  const output = createOutput(options);
  if (output.json) {
    await output.line(JSON.stringify({ folder: target, name, space: space.id, device, listen }));
    return;
  }
  const cd = relative(process.cwd(), target);
  await output.line(
    [
      `founded the space "${name}" in ${target}`,
      "",
      "next:",
      "",
      ...(cd === "" ? [] : [`  cd ${cd}`]),
      "  ctxmesh agent agent-1.yaml",
      "  ctxmesh space invite --key creator/creator.jwk",
      "",
      `agent-1 listens on ${listen}: change that in agent-1.yaml to be reached from other machines`,
      `keep ${join(cd, "creator/creator.jwk")} offline: with it anybody can admit and revoke devices`,
    ].join("\n"),
  );
}
