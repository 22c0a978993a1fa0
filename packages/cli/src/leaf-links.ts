// SPDX-License-Identifier: Apache-2.0
/** Where leaves and pages connect to an agent, as its configuration has it. */
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import type { AgentOptions } from "@ctxmesh/edge-agent";
import { MeshError, fromHex } from "@ctxmesh/model";
import type { AgentConfig } from "./config/types.ts";
import { readSmallFile } from "./files.ts";

const SECRET_BYTES = 32;
const SECRET = /^[0-9a-f]{64}$/u;

/** A host and a port. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** The parts of `host:port`, an IPv6 address in brackets. Throws `CONFIG_INVALID`; `field` names where it stands. */
export function parseHostPort(text: string, field: string): HostPort {
  const at = text.lastIndexOf(":");
  const port = Number(text.slice(at + 1));
  const host = text.slice(0, Math.max(at, 0)).replaceAll(/[[\]]/gu, "");
  if (at > 0 && host !== "" && /^[0-9]{1,5}$/u.test(text.slice(at + 1)) && port <= 65_535) {
    return { host, port };
  }
  throw new MeshError("CONFIG_INVALID", `"${text.slice(0, 300)}" is not an address with a port`, {
    field,
    remedy: "write it like 192.0.2.7:7420 or [2001:db8::7]:7420",
  });
}

/** The secret in a file, 64 hex digits, which is made, readable by this user alone, when there is none. Throws `FILE_UNAVAILABLE`, `KEY_INVALID`. */
export async function readLeafSecret(path: string): Promise<Uint8Array> {
  const made = randomBytes(SECRET_BYTES);
  try {
    await writeFile(path, `${made.toString("hex")}\n`, { flag: "wx", mode: 0o600, flush: true });
    return new Uint8Array(made);
  } catch {
    // It is there, or can't be written; reading tells which.
  }
  const text = (await readSmallFile(path, "secret of the leaves", "FILE_UNAVAILABLE")).trim();
  if (SECRET.test(text)) return fromHex(text);
  throw new MeshError("KEY_INVALID", `${path} holds no secret: 64 hex digits, in small letters`, {
    field: "leaves.secretFile",
    remedy:
      "put the file back; or remove it, and another one is made, with which every leaf needs a new psk: ctxmesh leaf add",
  });
}

/** Where an agent listens for leaves. Throws as {@link parseHostPort} and {@link readLeafSecret}. */
export async function leavesOf({
  leaves,
}: Pick<AgentConfig, "leaves">): Promise<Pick<AgentOptions, "leaves">> {
  if (leaves === undefined) return {};
  const at = parseHostPort(leaves.listen, "leaves.listen");
  return { leaves: { ...at, secret: await readLeafSecret(leaves.secretFile) } };
}

/** Where an agent listens for pages. Throws as {@link parseHostPort}. */
export const pagesOf = ({ pages }: Pick<AgentConfig, "pages">): Pick<AgentOptions, "pages"> =>
  pages === undefined ? {} : { pages: parseHostPort(pages.listen, "pages.listen") };
