// SPDX-License-Identifier: Apache-2.0
/**
 * The anchor: a file beside LevelDB's own that names a write which is durable. A store whose newest
 * write has a lower number has lost writes that were acknowledged. LevelDB leaves the file alone, as
 * its name is none of LevelDB's (db/filename.cc).
 *
 * One line of text: `ctxmesh-anchor 1 STORE NUMBER TAG HASH`, STORE the store's id (32 hex digits),
 * NUMBER and TAG those of the write's marker (markers.ts), in decimal and in 16 hex digits, HASH the
 * SHA-256 in hex of the line before it with its space.
 *
 * The file is replaced (written aside, synced, renamed, folder synced) in the background, at most
 * once a second while there are writes, and at the close. So after a power cut the last second of
 * writes is not covered; and no write waits for it.
 */
import { hash } from "node:crypto";
import { open, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "@ctxmesh/model";
import { MeshError } from "@ctxmesh/model";
import { codeOf, textOf } from "./database.ts";
import { sync } from "./files.ts";
import type { WriteMark } from "./markers.ts";

/** The name of the file. */
export const ANCHOR = "ANCHOR";

const INTERVAL_MS = 1_000;
/** Far more than a line has. */
const MAX_BYTES = 1_024;

/** What an anchor says: this write of the store `store` (32 hex digits) is durable. */
export interface AnchorContent extends WriteMark {
  readonly store: string;
}

/** The content of the anchor in the folder `path`, undefined when there is none. Throws `STORE_CORRUPT` when it is damaged. */
export async function readAnchor(path: string): Promise<AnchorContent | undefined> {
  let text: string;
  try {
    text = await readFile(join(path, ANCHOR), "latin1");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw new MeshError("STORE_FAILED", `can't read ${join(path, ANCHOR)}: ${textOf(error)}`, {
      cause: error,
    });
  }
  const fields =
    /^ctxmesh-anchor 1 ([0-9a-f]{32}) ([0-9]{1,16}) ([0-9a-f]{16}) [0-9a-f]{64}\n$/u.exec(
      text.slice(0, MAX_BYTES),
    );
  const [, store = "", number = "", tag = ""] = fields ?? [];
  const content = { store, number: Number(number), tag };
  if (fields === null || lineOf(content) !== text) {
    throw new MeshError("STORE_CORRUPT", `${ANCHOR}: it does not match its hash`);
  }
  return content;
}

/** Replaces the anchor in the folder `path`, whose entries become durable first. */
export async function writeAnchor(path: string, content: AnchorContent): Promise<void> {
  await sync(path);
  const aside = join(path, `${ANCHOR}.new`);
  const handle = await open(aside, "w");
  try {
    await handle.writeFile(lineOf(content));
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(aside, join(path, ANCHOR));
  await sync(path);
}

function lineOf({ store, number, tag }: AnchorContent): string {
  const line = `ctxmesh-anchor 1 ${store} ${String(number)} ${tag} `;
  return `${line}${hash("sha256", line)}\n`;
}

/** Keeps the anchor of an open store behind its writes. A failure is logged and tried again later: an older anchor is never wrong. */
export class AnchorKeeper {
  readonly #path: string;
  readonly #store: string;
  readonly #logger: Logger | undefined;
  /** Number of the write that the anchor names, undefined when there is none. */
  #written: number | undefined;
  #durable: WriteMark;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> | undefined;
  #closed = false;

  /** For the store with the id `store` in the folder `path`, whose anchor names `written` and whose newest write is `newest`. */
  constructor(options: {
    readonly path: string;
    readonly store: string;
    readonly written: number | undefined;
    readonly newest: WriteMark;
    readonly logger: Logger | undefined;
  }) {
    this.#path = options.path;
    this.#store = options.store;
    this.#logger = options.logger;
    this.#written = options.written;
    this.#durable = options.newest;
    this.raise(options.newest);
  }

  /** Tells that the write `mark`, and all before it, are durable. */
  raise(mark: WriteMark): void {
    this.#durable = mark;
    if (this.#timer !== undefined || this.#closed || mark.number === this.#written) return;
    this.#timer = setTimeout(() => void this.#onTimer(), INTERVAL_MS).unref();
  }

  async #onTimer(): Promise<void> {
    const { number } = this.#durable;
    this.#writing = this.#write();
    await this.#writing;
    this.#timer = undefined;
    // What was written meanwhile gets a second of its own; after a failure the next write does.
    if (this.#written === number) this.raise(this.#durable);
  }

  async #write(): Promise<void> {
    const mark = this.#durable;
    if (mark.number === this.#written) return;
    try {
      await writeAnchor(this.#path, { store: this.#store, ...mark });
      this.#written = mark.number;
    } catch (error) {
      this.#logger?.warn("store.anchor-failed", { path: this.#path, error: textOf(error) });
    }
  }

  /** Writes the anchor a last time. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#writing;
    await this.#write();
  }
}
