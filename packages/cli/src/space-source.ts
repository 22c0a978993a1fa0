// SPDX-License-Identifier: Apache-2.0
/** Where a command reads a space and puts its changes: a running daemon, or a space file. */
import { realpath, stat } from "node:fs/promises";
import { encodeSignedRecord } from "@ctxmesh/codec";
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import { encodeSpaceFile, parseSpaceFile } from "@ctxmesh/membership";
import type { KnownAct, Space } from "@ctxmesh/membership";
import { ERROR_CODES, MeshError } from "@ctxmesh/model";
import type { DeviceSigner, MeshErrorCode } from "@ctxmesh/model";
import type { ContextClient } from "@ctxmesh/sdk";
import { readKey, readSpace, writeWhole } from "./files.ts";
import { withClient } from "./socket.ts";

/** Which space, as options say it. */
export interface SpaceOptions {
  readonly socket?: string;
  /** A space file; no daemon is asked then. */
  readonly space?: string;
}

/** A space that can be changed. */
export interface OpenSpace {
  readonly space: Space;
  /** The daemon's; absent for a file. */
  readonly client: ContextClient | undefined;
  /** Where changes go, for people. */
  readonly name: string;
  /**
   * Hands over the acts that `changed` has beyond {@link space}, and returns them. Throws what the daemon
   * refuses them with, or `FILE_UNAVAILABLE`; then nothing has changed.
   */
  submit(changed: Space): Promise<readonly KnownAct[]>;
}

/** Runs `use` on the space that the options choose. Throws what reading it throws. */
export async function withSpace<Result>(
  options: SpaceOptions,
  use: (open: OpenSpace) => Promise<Result>,
): Promise<Result> {
  if (options.space !== undefined) return use(await openFile(options.space));
  return withClient(options.socket, "agent", async (client) => {
    const text = await client.spaceFile();
    const space = parseSpaceFile(text, createDeviceVerifier());
    return use({
      space,
      client,
      name: "the space",
      submit: async (changed) => {
        const acts = newActs(space, changed);
        const records = acts.map(({ record }) => encodeSignedRecord(record));
        const receipt = await client.addActs(records);
        const [refused] = receipt.refused;
        if (refused !== undefined) throw new MeshError(codeOf(refused.code), refused.message);
        // It has all that they build on, so only their time can be in the way.
        if (receipt.added < acts.length) throw fromTheFuture();
        return acts;
      },
    });
  });
}

const fromTheFuture = (): MeshError =>
  new MeshError("ABORTED", "the daemon did not take the act: its time is too far ahead", {
    remedy: "compare this machine's clock with the daemon's, and try again",
  });

async function openFile(path: string): Promise<OpenSpace> {
  const space = await readSpace(path);
  return {
    space,
    client: undefined,
    name: path,
    submit: async (changed) => {
      await replaceSpaceFile(path, changed);
      return newActs(space, changed);
    },
  };
}

async function replaceSpaceFile(path: string, changed: Space): Promise<void> {
  const text = encodeSpaceFile(changed);
  // Whatever a node would refuse must not get into the file.
  parseSpaceFile(text, createDeviceVerifier());
  const target = await realpath(path);
  await writeWhole(target, text, {
    mode: (await stat(target)).mode & 0o777,
    field: "--space",
    remedy: "the space is as it was; name a space file that you may replace",
  });
}

function newActs(before: Space, after: Space): readonly KnownAct[] {
  const known = new Set(before.acts.map(({ id }) => id));
  return after.acts.filter(({ id }) => !known.has(id));
}

const codeOf = (code: string): MeshErrorCode =>
  Object.hasOwn(ERROR_CODES, code) ? (code as MeshErrorCode) : "POLICY_REFUSED";

/** The signer of a key file. Throws `KEY_INVALID`. */
export async function readSigner(path: string): Promise<DeviceSigner> {
  return createDeviceSigner((await readKey(path, "Ed25519")).seed);
}

/** What becomes of a change, for people. */
export const whereItGoes = ({ client, name }: OpenSpace): string =>
  client === undefined
    ? `it is in ${name}; a node that starts with that file passes it on`
    : "the daemon passes it on";

const MIN_DIGITS = 8;

/**
 * The one of the known keys that `text` names: by all of its hex digits or the first 8 or more. Undefined for
 * a whole key that is not known. Throws `USAGE` for anything else, and `NOT_FOUND` when none begins like that.
 */
export function findKey(
  text: string,
  known: Iterable<string>,
  what: "device" | "device or invite",
): string | undefined {
  const start = text.toLowerCase().replace(/\.{2,3}$/u, "");
  if (!/^[0-9a-f]{8,64}$/u.test(start)) {
    throw new MeshError("USAGE", `${JSON.stringify(text)} is not a device key`, {
      remedy: `give its hex digits, or the first ${String(MIN_DIGITS)} or more; ctxmesh space members shows them`,
    });
  }
  const found = [...new Set(known)].filter((key) => key.startsWith(start));
  if (found.length > 1) {
    const longer = found.map((key) => key.slice(0, Math.max(16, start.length + 4)));
    throw new MeshError("USAGE", `${text} fits ${String(found.length)} keys`, {
      remedy: `give more digits: ${longer.join(", ")}`,
    });
  }
  if (found.length === 0 && start.length < 64) {
    throw new MeshError("NOT_FOUND", `no ${what} of the space begins with ${text}`, {
      remedy: "ctxmesh space members shows those that are known; a new one needs all 64 digits",
    });
  }
  return found[0];
}
