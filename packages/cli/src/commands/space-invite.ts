// SPDX-License-Identifier: Apache-2.0
import { createDeviceSigner } from "@ctxmesh/crypto";
import { isHubAddress } from "@ctxmesh/edge-agent";
import { encodeInvite, issueInvite } from "@ctxmesh/membership";
import type { Contact } from "@ctxmesh/membership";
import { LIMITS, MeshError, parseDeviceKey, toHex } from "@ctxmesh/model";
import type { MemberRole } from "@ctxmesh/model";
import { systemRandom } from "@ctxmesh/service";
import { createOutput, formatTime, parseDuration, shortId } from "../output.ts";
import { readSigner, withSpace } from "../space-source.ts";
import type { OpenSpace } from "../space-source.ts";
import type { ChangeOptions } from "./space-grant.ts";

/** Options of `ctxmesh space invite`. */
export interface InviteOptions extends ChangeOptions {
  readonly role: MemberRole;
  /** A duration. */
  readonly expires: string;
  /** Each `address@device`. */
  readonly contact?: readonly string[];
  readonly quiet?: boolean;
}

const MAX_LIFE_MS = 30 * 86_400_000;

/** Prints a token, alone, on stdout; what is to be said about it on stderr. Throws `USAGE`, `POLICY_REFUSED`, and what reading and handing over throw. */
export async function runInvite(options: InviteOptions): Promise<void> {
  const { role } = options;
  const life = parseDuration(options.expires);
  if (life > MAX_LIFE_MS) {
    throw new MeshError("USAGE", `--expires ${options.expires} is longer than 30 days`, {
      remedy: "whoever has the token can join until then: choose less",
    });
  }
  const named = options.contact?.map(parseContact);
  const signer = await readSigner(options.key);
  await withSpace(options, async (open) => {
    const contacts = named ?? (await ownContacts(open));
    const seed = systemRandom.bytes(32);
    const key = parseDeviceKey(toHex(createDeviceSigner(seed).publicKey));
    const now = Date.now();
    const notAfter = now + life;
    const invite = { key, service: "agent", role, now, notAfter } as const;
    const changed = issueInvite(open.space, signer, invite);
    const token = encodeInvite(changed, { seed, contacts });
    const [act] = await open.submit(changed);
    const output = createOutput(options);
    if (output.json) {
      await output.line(JSON.stringify({ token, key, role, notAfter, contacts, act: act?.id }));
      return;
    }
    await output.line(token);
    if (options.quiet !== true) {
      process.stderr.write(`${notes({ key, role, notAfter, contacts }, open).join("\n")}\n`);
    }
  });
}

function notes(
  invite: {
    readonly key: string;
    readonly role: string;
    readonly notAfter: number;
    readonly contacts: readonly Contact[];
  },
  { name, client }: OpenSpace,
): readonly string[] {
  const { key, role, notAfter, contacts } = invite;
  const lines = [
    `the token above lets whoever has it join with the role ${role} until ${formatTime(notAfter)}`,
    `it leads to ${contacts.map(({ address }) => address).join(", ")}`,
    `join:  ctxmesh space join - DIR   (and paste it, then Ctrl-D)`,
    `undo:  ctxmesh space revoke ${shortId(key)}`,
  ];
  if (contacts.every(({ address }) => isLoopback(address))) {
    lines.push("these addresses can be reached on this machine only; name others with --contact");
  }
  if (client === undefined) lines.push(`start a contact with ${name} before anybody joins`);
  return lines;
}

/** Whether an address leads to the machine that it is used on. */
export const isLoopback = (address: string): boolean =>
  /^(\/ip4\/127\.|\/ip6\/::1\/|\/dns[46]?\/localhost\/|wss?:\/\/(127\.|localhost[:/]|\[::1\]))/u.test(
    address,
  );

/** Where the daemon that is asked can be reached; addresses of this machine alone only when there are no others. */
async function ownContacts({ client, name }: OpenSpace): Promise<readonly Contact[]> {
  if (client === undefined) {
    throw new MeshError("USAGE", `${name} does not say where a new device can join`, {
      field: "--contact",
      remedy: "give --contact ADDRESS@DEVICE, or ask a running daemon",
    });
  }
  const { addresses, device, service } = await client.status();
  const far = addresses.filter((address) => !isLoopback(address));
  const usable = (far.length === 0 ? addresses : far).slice(0, LIMITS.inviteContacts);
  if (usable.length === 0) {
    throw new MeshError("USAGE", `the ${service} listens nowhere, so nobody can join there`, {
      field: "--contact",
      remedy: "give --contact ADDRESS@DEVICE of another one, or have it listen (mesh.listen)",
    });
  }
  return usable.map((address) => ({ address, device: parseDeviceKey(device) }));
}

function parseContact(text: string): Contact {
  const at = text.lastIndexOf("@");
  const [address, device] = [text.slice(0, at), text.slice(at + 1).toLowerCase()];
  const isAddress = isHubAddress(address) || /^\/(ip4|ip6|dns|dns4|dns6)\//u.test(address);
  if (at < 1 || !isAddress || !/^[0-9a-f]{64}$/u.test(device)) {
    throw new MeshError(
      "USAGE",
      `--contact ${JSON.stringify(text)} is not an address and a device`,
      {
        remedy:
          "write it as ADDRESS@DEVICE, such as /ip4/192.0.2.7/tcp/4401@<64 hex digits> or wss://hub.example.org@<64 hex digits>",
      },
    );
  }
  return { address, device: parseDeviceKey(device) };
}
