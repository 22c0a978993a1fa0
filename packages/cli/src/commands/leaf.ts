// SPDX-License-Identifier: Apache-2.0
/** `ctxmesh leaf`. */
import { createDeviceSigner } from "@ctxmesh/crypto";
import { isWelcome } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { MeshError, fromHex, parseDeviceKey, toHex } from "@ctxmesh/model";
import type { DeviceKey } from "@ctxmesh/model";
import { leafPsk } from "@ctxmesh/transport-tcp";
import { loadConfig } from "../config/load.ts";
import { readKey, readSpace } from "../files.ts";
import { parseHostPort, readLeafSecret } from "../leaf-links.ts";
import { createOutput, shortId } from "../output.ts";
import { withSpace } from "../space-source.ts";

/** Options of `ctxmesh leaf add`. */
export interface LeafAddOptions {
  readonly config: string;
  readonly address?: string;
  readonly json?: boolean;
}

/** Addresses that mean all of this machine, which nobody can connect to. */
const WILDCARDS: readonly string[] = ["0.0.0.0", "::"];

/** Where a leaf connects: as it is told, or where the agent listens if that names one place. */
function addressOf(listen: string, told: string | undefined): string {
  const { host, port } = parseHostPort(
    told ?? listen,
    told === undefined ? "leaves.listen" : "--address",
  );
  if (!WILDCARDS.includes(host) && port !== 0) return told ?? listen;
  throw new MeshError(
    "USAGE",
    `at which address does the leaf reach this agent? ${told ?? listen} names none`,
    {
      field: "--address",
      remedy: "give --address with a host and a port, such as 192.0.2.7:7420",
    },
  );
}

/** A space as the agent has it while it runs, since what was granted meanwhile is not in the file; else as the file has it. */
async function newestOf(space: Space, socket: string): Promise<Space> {
  try {
    const its = await withSpace({ socket }, (open) => Promise.resolve(open.space));
    return its.id === space.id ? its : space;
  } catch {
    return space;
  }
}

/** A leaf is known to nobody yet, so its key has to be whole. Throws `INPUT_INVALID`. */
function leafOf(text: string): DeviceKey {
  try {
    return parseDeviceKey(text.toLowerCase());
  } catch (cause) {
    throw new MeshError("INPUT_INVALID", `"${text.slice(0, 80)}" is not a device key`, {
      field: "device",
      remedy: "give all 64 hex digits, as ctxmesh-leaf init has printed them",
      cause,
    });
  }
}

/**
 * Prints the configuration of a leaf, whose device key is `text`: a name and a value in each line. Makes the secret of the agent's leaves
 * where there is none. Throws `USAGE`, `INPUT_INVALID`, `CONFIG_INVALID`, `KEY_INVALID`, `FILE_UNAVAILABLE`.
 */
export async function addLeaf(text: string, options: LeafAddOptions): Promise<void> {
  const leaf = leafOf(text);
  const config = await loadConfig("agent", options.config);
  const { leaves } = config;
  if (leaves === undefined) {
    throw new MeshError(
      "CONFIG_INVALID",
      `${options.config} has no leaves: the agent listens for none`,
      {
        field: "leaves",
        remedy:
          "add leaves with listen, such as 0.0.0.0:7420, and secretFile, and restart the agent",
      },
    );
  }
  const address = addressOf(leaves.listen, options.address);
  const [space, { seed }] = await Promise.all([
    readSpace(config.space),
    readKey(config.key, "Ed25519"),
  ]);
  const secret = await readLeafSecret(leaves.secretFile);
  const lines = {
    space: space.id,
    device: toHex(createDeviceSigner(seed).publicKey),
    address,
    psk: toHex(leafPsk(secret, fromHex(leaf))),
  };
  const output = createOutput(options);
  if (output.json) {
    await output.line(JSON.stringify({ leaf, ...lines }));
    return;
  }
  for (const [name, value] of Object.entries(lines)) await output.line(`${name} ${value}`);
  if (isWelcome(await newestOf(space, config.socket), leaf, Date.now(), "agent")) return;
  // Not on stdout, which is the leaf's file.
  process.stderr.write(
    `note: ${shortId(leaf)} has no grant yet: ctxmesh space grant ${leaf} --role write --key <file>\n`,
  );
}
