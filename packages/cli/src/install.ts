// SPDX-License-Identifier: Apache-2.0
/** Making folders: their files are written aside and moved into place, all or none. */
import { mkdir, mkdtemp, readdir, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { formatPrivateKey } from "@ctxmesh/crypto";
import type { PrivateKey } from "@ctxmesh/crypto";
import { MeshError } from "@ctxmesh/model";
import { systemClock } from "@ctxmesh/service";

/** A file to be, by its path in the folder. */
export interface PlannedFile {
  readonly path: string;
  readonly text: string;
  readonly secret: boolean;
}

/** A file that anybody may read. */
export const openFile = (path: string, text: string): PlannedFile => ({
  path,
  text,
  secret: false,
});
/** A private key, for its owner alone. */
export const keyFile = (path: string, key: PrivateKey): PlannedFile => ({
  path,
  text: formatPrivateKey(key),
  secret: true,
});

/** Ports that nobody listens on right now. Throws `ADDRESS_UNAVAILABLE`. */
export async function freePorts(count: number): Promise<readonly number[]> {
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
      remedy: "free some, or choose ports yourself",
      cause: error,
    });
  } finally {
    for (const server of servers) server.close();
  }
}

/** How files are put into a folder that may have others. */
export interface InstallOptions {
  /** Whether an entry of the folder is in the way. */
  readonly isOurs: (entry: string) => boolean;
  /** Move what is in the way into a subfolder; undefined where the command can't do that. */
  readonly force?: boolean;
}

/** What of a folder is in the way; none when the folder does not exist. */
export async function inTheWay(
  target: string,
  isOurs: (entry: string) => boolean,
): Promise<readonly string[]> {
  const entries = await readdir(target).catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw unwritable(target, error);
  });
  return entries.filter(isOurs);
}

/** Puts the files into the folder, all or none; returns where replaced ones went. Throws `FILE_UNAVAILABLE`. */
export async function install(
  target: string,
  files: readonly PlannedFile[],
  { isOurs, force }: InstallOptions,
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
    const old = await inTheWay(target, isOurs);
    if (old.length > 0 && force !== true) throw occupied(target, old, force === false);
    staging = await mkdtemp(join(target, ".init-"));
    await writeFiles(staging, files);
    if (old.length > 0) {
      replaced = join(
        target,
        `replaced-${new Date(systemClock.now()).toISOString().replaceAll(":", "")}`,
      );
      await mkdir(replaced, { mode: 0o700 });
      for (const entry of old) await move(join(target, entry), join(replaced, entry));
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
    throw unwritable(target, error);
  }
}

function unwritable(target: string, error: unknown): MeshError {
  if (error instanceof MeshError) return error;
  const reason = error instanceof Error && "code" in error ? String(error.code) : String(error);
  return new MeshError("FILE_UNAVAILABLE", `can't write into ${target}: ${reason}`, {
    remedy: "choose a folder that you may write to",
    cause: error,
  });
}

/** The error for a folder that holds what would be written. */
export const occupied = (target: string, entries: readonly string[], movable: boolean): MeshError =>
  new MeshError(
    "FILE_UNAVAILABLE",
    `${target} already holds ${entries.slice(0, 3).join(", ")}${entries.length > 3 ? ", ..." : ""}`,
    {
      remedy: movable
        ? "choose another folder, or use --force to move those into a subfolder"
        : "choose another folder",
    },
  );

async function writeFiles(folder: string, files: readonly PlannedFile[]): Promise<void> {
  for (const { path, text, secret } of files) {
    const full = join(folder, path);
    if (secret) await mkdir(dirname(full), { recursive: true, mode: 0o700 });
    await writeFile(full, text, { flag: "wx", mode: secret ? 0o600 : 0o644, flush: true });
  }
}
