// SPDX-License-Identifier: Apache-2.0
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { createDeviceVerifier, generatePrivateKey } from "@ctxmesh/crypto";
import { isHubAddress, joinSpace } from "@ctxmesh/edge-agent";
import type { JoinStep } from "@ctxmesh/edge-agent";
import { encodeSpaceFile, parseInvite } from "@ctxmesh/membership";
import type { Contact, Invitation } from "@ctxmesh/membership";
import { LIMITS, MeshError, toHex } from "@ctxmesh/model";
import type { Logger } from "@ctxmesh/model";
import { systemClock, systemRandom } from "@ctxmesh/service";
import { schemaFileText } from "../config/schema.ts";
import { freePorts, inTheWay, install, keyFile, occupied, openFile } from "../install.ts";
import { createOutput, parseDuration, printable, shortId } from "../output.ts";
import { memberYaml } from "./init-templates.ts";
import { isLoopback } from "./space-invite.ts";

/** Options of `ctxmesh space join`. */
export interface JoinOptions {
  /** A duration. */
  readonly timeout: string;
  readonly json?: boolean;
}

const OURS = new Set(["space.json", "device.jwk", "agent.yaml", "agent.schema.json", "store"]);
const isOurs = (entry: string): boolean => OURS.has(entry);

const quiet: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/**
 * Joins a space and fills a folder with what its agent needs, all or nothing. Throws `USAGE`, `FORMAT_INVALID`,
 * `SIGNATURE_INVALID`, `FILE_UNAVAILABLE`, `UNREACHABLE`, `POLICY_REFUSED`.
 */
export async function runJoin(token: string, folder: string, options: JoinOptions): Promise<void> {
  const timeoutMs = parseDuration(options.timeout);
  const target = resolve(folder);
  const old = await inTheWay(target, isOurs);
  if (old.length > 0) throw occupied(target, old, false);
  const text = token === "-" ? await readStdin() : token;
  const invitation = parseInvite(text, createDeviceVerifier());
  const output = createOutput(options);
  const say = (line: string): void => {
    if (!output.json) process.stderr.write(`${line}\n`);
  };
  const { name } = invitation.space.genesis;
  say(`joining ${printable(name)} (${shortId(invitation.space.id)})`);
  const key = generatePrivateKey("Ed25519", systemRandom);
  const listen = await listenAddress(invitation.contacts);
  const joined = await inScratch(target, async (scratch) => {
    const space = await interruptible((signal) =>
      joinSpace(
        {
          invitation,
          deviceSeed: key.seed,
          storePath: join(scratch, "store"),
          timeoutMs,
          signal,
          onProgress: (step) => say(describe(step)),
        },
        { clock: systemClock, random: systemRandom, logger: quiet },
      ),
    );
    await install(target, filesOf(invitation, { key, listen, space }), { isOurs });
    return space;
  });
  const device = toHex(key.publicKey);
  if (output.json) {
    await output.line(JSON.stringify({ folder: target, space: joined.id, name, device, listen }));
    return;
  }
  const cd = relative(process.cwd(), target);
  await output.line(
    [
      `joined ${printable(name)} as ${shortId(device)}; start the agent:`,
      "",
      ...(cd === "" ? [] : [`  cd ${cd}`]),
      "  ctxmesh agent agent.yaml",
    ].join("\n"),
  );
}

function filesOf(
  { contacts }: Invitation,
  agent: {
    readonly key: Parameters<typeof keyFile>[1];
    readonly listen: string;
    readonly space: Parameters<typeof encodeSpaceFile>[0];
  },
): Parameters<typeof install>[1] {
  const addresses = (hubs: boolean): readonly string[] => [
    ...new Set(
      contacts.map(({ address }) => address).filter((address) => isHubAddress(address) === hubs),
    ),
  ];
  return [
    openFile("space.json", encodeSpaceFile(agent.space)),
    openFile("agent.schema.json", schemaFileText("agent")),
    openFile(
      "agent.yaml",
      memberYaml({
        folder: "",
        listen: agent.listen,
        peers: addresses(false),
        hubs: addresses(true),
      }),
    ),
    keyFile("device.jwk", agent.key),
  ];
}

/** A free port; on all interfaces where the space is more than this machine. */
async function listenAddress(contacts: readonly Contact[]): Promise<string> {
  const [port = 0] = await freePorts(1);
  const host = contacts.every(({ address }) => isLoopback(address)) ? "127.0.0.1" : "0.0.0.0";
  return `/ip4/${host}/tcp/${String(port)}`;
}

function describe(step: JoinStep): string {
  switch (step.step) {
    case "connected":
      return `connected to ${shortId(step.contact.device)} at ${printable(step.contact.address)}`;
    case "granted":
      return `received ${String(step.acts)} acts, and signed this device's grant with the invite`;
    case "admitted":
      return `taken in by ${shortId(step.contact.device)}`;
  }
}

/** Runs `use` with a folder inside the target that is gone afterwards; so is the target when it was made for this and `use` fails. */
async function inScratch<Result>(
  target: string,
  use: (scratch: string) => Promise<Result>,
): Promise<Result> {
  let created: string | undefined;
  let scratch: string | undefined;
  try {
    created = await mkdir(target, { recursive: true });
    scratch = await mkdtemp(join(target, ".join-"));
  } catch (error) {
    if (created !== undefined) await rm(created, { recursive: true, force: true });
    const reason = error instanceof Error && "code" in error ? String(error.code) : String(error);
    throw new MeshError("FILE_UNAVAILABLE", `can't write into ${target}: ${reason}`, {
      remedy: "choose a folder that you may write to",
      cause: error,
    });
  }
  try {
    return await use(scratch);
  } catch (error) {
    if (created !== undefined) await rm(created, { recursive: true, force: true });
    throw error;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Runs `use` with a signal that SIGINT and SIGTERM abort, so that an interrupted join leaves nothing behind. */
async function interruptible<Result>(
  use: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const interrupt = new AbortController();
  const stop = (): void => interrupt.abort();
  process.once("SIGINT", stop).once("SIGTERM", stop);
  try {
    return await use(interrupt.signal);
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
  }
}

async function readStdin(): Promise<string> {
  let text = "";
  for await (const chunk of process.stdin.setEncoding("utf8") as AsyncIterable<string>) {
    text += chunk;
    if (text.length > LIMITS.inviteLength + 1_000) break;
  }
  if (text.trim() === "") {
    throw new MeshError("INPUT_INVALID", "stdin has no token", {
      remedy: "ctxmesh space join - DIR < token.txt",
    });
  }
  return text;
}
