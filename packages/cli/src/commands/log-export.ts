// SPDX-License-Identifier: Apache-2.0
/**
 * `ctxmesh log export`: a log as static files (C2SP tlog-tiles), `checkpoint` and `tile/...` below a folder. Every page is checked before it is written, each file is
 * written aside and renamed, and the checkpoint comes last: whatever is in the folder is of the log that its checkpoint names.
 */
import { mkdir, readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  TILE_WIDTH,
  assertCurrent,
  bundleEntries,
  formatTilePath,
  openTileLog,
  parseCheckpoint,
  parseTrustRoot,
  trustedLog,
  trustedWitnesses,
  verifyCheckpoint,
} from "@ctxmesh/ledger";
import type { TileLog, TrustRoot, VerifiedCheckpoint } from "@ctxmesh/ledger";
import { LIMITS, MeshError, toHex } from "@ctxmesh/model";
import { systemClock } from "@ctxmesh/service";
import { inFile, readSmallFile, writeWhole } from "../files.ts";
import { counted, createOutput } from "../output.ts";

/** Options of `ctxmesh log export`. */
export interface LogExportOptions {
  readonly trust: string;
  readonly json?: boolean;
}

const ANSWER_MS = 30_000;
const HASHES_BYTES = 32 * TILE_WIDTH;
/** A bundle of the largest entries. */
const ENTRIES_BYTES = TILE_WIDTH * 65_537;

const limitOf = (path: string): number => {
  if (path === "checkpoint") return LIMITS.checkpointBytes;
  return path.startsWith("tile/entries/") ? ENTRIES_BYTES : HASHES_BYTES;
};

/** The page of a URL; undefined where there is none. Throws `UNREACHABLE`, `LIMIT_EXCEEDED`. */
async function download(prefix: string, path: string): Promise<Uint8Array | undefined> {
  const url = `${prefix}/${path}`;
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    const response = await fetch(url, {
      redirect: "error",
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    if (response.status === 404) return undefined;
    if (!response.ok) throw new Error(`status ${String(response.status)}`);
    for await (const chunk of response.body ?? []) {
      size += chunk.length;
      if (size > limitOf(path)) {
        throw new MeshError("LIMIT_EXCEEDED", `${url} is longer than any such page`);
      }
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof MeshError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : "";
    throw new MeshError("UNREACHABLE", `can't fetch ${url}: ${cause === "" ? reason : cause}`, {
      remedy: "check the URL: it is a hub's address, http or https, with /log behind it",
      cause: error,
    });
  }
  return new Uint8Array(Buffer.concat(chunks));
}

/** The pages of a folder. */
class Folder {
  readonly #path: string;
  written = 0;

  constructor(path: string) {
    this.#path = path;
  }

  async read(path: string): Promise<Uint8Array | undefined> {
    const file = join(this.#path, path);
    const found = await stat(file).catch(() => undefined);
    if (found?.isFile() !== true || found.size > limitOf(path)) return undefined;
    return new Uint8Array(await readFile(file));
  }

  async write(path: string, bytes: Uint8Array): Promise<void> {
    const file = join(this.#path, path);
    const failure = { field: "DIR", remedy: "name a folder that you may write to" };
    await mkdir(dirname(file), { recursive: true }).catch((error: unknown) => {
      const reason = error instanceof Error && "code" in error ? String(error.code) : String(error);
      throw new MeshError("FILE_UNAVAILABLE", `can't make ${dirname(file)}: ${reason}`, failure);
    });
    await writeWhole(file, bytes, failure);
    this.written++;
  }
}

async function readRoot(path: string): Promise<TrustRoot> {
  const text = await readSmallFile(path, "trust root", "FILE_UNAVAILABLE");
  try {
    const root = parseTrustRoot(text);
    assertCurrent(root, systemClock.now());
    return root;
  } catch (error) {
    throw inFile(path, error);
  }
}

/** Verifies a checkpoint against the root. */
function verifyWith(root: TrustRoot, text: string): VerifiedCheckpoint {
  const { origin } = parseCheckpoint(text);
  return verifyCheckpoint(text, trustedLog(root, origin), trustedWitnesses(root).witnesses);
}

/** Refuses a log that is not the one in the folder, grown or the same. Throws `PROOF_INVALID`, and what is wrong with the folder's checkpoint. */
async function assertGrown(folder: Folder, root: TrustRoot, log: TileLog): Promise<void> {
  const kept = await folder.read("checkpoint");
  if (kept === undefined) return;
  const { head } = verifyWith(root, new TextDecoder().decode(kept));
  const { origin, size } = log.head;
  const [before, now] = [String(head.size), String(size)];
  if (head.origin !== origin) {
    throw new MeshError("POLICY_REFUSED", `the folder has log ${head.origin}, not ${origin}`);
  }
  if (head.size > size) {
    throw new MeshError(
      "PROOF_INVALID",
      `the log has shrunk: ${before} entries before, ${now} now`,
    );
  }
  if (toHex(await log.rootAt(head.size)) === toHex(head.root)) return;
  throw new MeshError(
    "PROOF_INVALID",
    `split view: the log with ${now} entries does not go on from the one with ${before} in the folder`,
    { remedy: "keep both checkpoints: they prove that the log forked" },
  );
}

/** Writes every page of a log that the folder lacks; those that it has are checked like all others. */
async function writePages(folder: Folder, log: TileLog): Promise<void> {
  const write = async (path: string, bytes: Uint8Array): Promise<void> => {
    if ((await folder.read(path)) === undefined) await folder.write(path, bytes);
  };
  for (let count = log.head.size, level = 0; count > 0; level++) {
    for (let index = 0; index * TILE_WIDTH < count; index++) {
      const width = Math.min(TILE_WIDTH, count - index * TILE_WIDTH);
      await write(formatTilePath({ level, index, width }), await log.tile(level, index));
      if (level > 0) continue;
      const entries = formatTilePath({ level: "entries", index, width });
      await write(entries, bundleEntries(await log.entries(index)));
    }
    count = Math.floor(count / TILE_WIDTH);
  }
}

/** Copies a log to a folder. Throws `UNREACHABLE`, `NOT_FOUND`, `FILE_UNAVAILABLE`, and what is wrong with the log. */
export async function runLogExport(
  url: string,
  dir: string,
  options: LogExportOptions,
): Promise<void> {
  const prefix = url.replace(/\/+$/u, "");
  if (!/^https?:\/\/[^/]/u.test(prefix)) {
    throw new MeshError("USAGE", `${JSON.stringify(url)} is no http or https URL`);
  }
  const root = await readRoot(options.trust);
  const folder = new Folder(dir);
  const page = await download(prefix, "checkpoint");
  if (page === undefined) {
    throw new MeshError("NOT_FOUND", `${prefix} has no checkpoint`, {
      remedy: "make a seal first: ctxmesh seal",
    });
  }
  const { head, cosignedBy } = verifyWith(root, new TextDecoder().decode(page));
  const log = await openTileLog(
    async (path) => (await folder.read(path)) ?? download(prefix, path),
    head,
  );
  await assertGrown(folder, root, log);
  await writePages(folder, log);
  await folder.write("checkpoint", page);
  const { origin, size } = head;
  const output = createOutput(options);
  await output.line(
    output.json
      ? JSON.stringify({ origin, size, root: toHex(head.root), cosignedBy, files: folder.written })
      : `${dir}: log ${origin}, ${counted(size, "entry", "entries")}, ${counted(folder.written, "file")} written${cosignedBy.length === 0 ? "" : `; cosigned by ${cosignedBy.join(", ")}`}`,
  );
}
