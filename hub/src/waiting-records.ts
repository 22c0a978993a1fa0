// SPDX-License-Identifier: Apache-2.0
/**
 * Batches of the shared log that were read and are not here yet: for lack of room, or since they wait for something. Only where they
 * are is kept; what is in them, the engine still has.
 */
import { decodeBatch } from "@ctxmesh/codec";
import { LIMITS, fromHex, parseHeaderHash, toHex } from "@ctxmesh/model";
import type { EngineRecord } from "@ctxmesh/model";
import { encodeSignedHeader, headerEntryId } from "@ctxmesh/replica";
import type { Replica } from "@ctxmesh/replica";
import type { EngineLink } from "./engine-link.ts";

/** Of more than that nothing further is read. */
const MAX_WAITING = 16_384;
/** Looked after at a time, the oldest first. */
const AT_A_TIME = 256;
/** Links of a chain of void batches that are fetched at a time. */
const MAX_ROUNDS = 64;

/** What is taken in is charged to nobody: another hub has checked it, and is as much trusted as this one. */
export const nobody = { charge: (): void => undefined };

/** The batches that one hub waits for. */
export class WaitingRecords {
  readonly #link: EngineLink;
  /** In the order of their positions. */
  readonly #positions = new Set<number>();
  /** By the hash of the header, hex. */
  readonly #byHash = new Map<string, number>();

  constructor(link: EngineLink) {
    this.#link = link;
  }

  /** Whether there is no room for more: what is read then could not be waited for. */
  get isFull(): boolean {
    return this.#positions.size >= MAX_WAITING;
  }

  /** The oldest one's position; undefined when there is none. */
  get oldest(): number | undefined {
    const [oldest] = this.#positions;
    return oldest;
  }

  /** Waits for a batch, unless it came in meanwhile. */
  async add(record: EngineRecord, replica: Replica): Promise<void> {
    this.#positions.add(record.position);
    this.#byHash.set(toHex(record.id), record.position);
    // First it is waited for, so that it does not come in between.
    if (await isHere(replica, record)) this.cameIn(toHex(record.id));
  }

  /** A batch came in by itself; the header's hash is hex. Most of them do within moments, and strong reads wait for that. */
  cameIn(hash: string): void {
    const position = this.#byHash.get(hash);
    if (position === undefined) return;
    this.#byHash.delete(hash);
    this.#positions.delete(position);
  }

  /** Waits for none any more. */
  clear(): void {
    this.#positions.clear();
    this.#byHash.clear();
  }

  /** Offers the oldest ones again that have not come in by themselves, and hands in what they wait for where the shared log has it up to `read`. */
  async look(replica: Replica, read: number): Promise<void> {
    if (this.#positions.size === 0) return;
    await this.#supply(replica, read);
    const { engine, space } = this.#link;
    for (const position of [...this.#positions].slice(0, AT_A_TIME)) {
      const [record] = await this.#link.ask(async () => engine.read(space, position - 1, 1));
      if (record?.position === position && !(await isSettled(replica, record))) continue;
      this.#positions.delete(position);
      if (record !== undefined) this.#byHash.delete(toHex(record.id));
    }
  }

  /**
   * What waits may name batches that are void by what is known here, and so were not taken when they were read; or headers of such, which
   * nobody waited for then. One may name another. What is behind `read` comes by being read: to hand it in one by one takes so long that a hub which
   * is behind would fall back further.
   */
  async #supply(replica: Replica, read: number): Promise<void> {
    const { engine, space } = this.#link;
    const asked = new Set<string>();
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const missing = replica.missing(0).filter((hash) => !asked.has(hash));
      if (missing.length === 0) return;
      for (const hash of missing) asked.add(hash);
      const hashes = missing.slice(0, LIMITS.engineFinds / 2).map((hash) => fromHex(hash));
      const ids = hashes.flatMap((hash) => [hash, headerEntryId(hash)]);
      const records = await this.#link.ask(async () => engine.find(space, ids));
      const found = records.filter(({ position }) => position <= read);
      if (found.length === 0) return;
      await replica.addHeaders(found.flatMap(headersOf), nobody);
    }
  }
}

/** The header of a batch, and the batch, where its content alone may speak against it; or a header that stands alone. */
function headersOf({ kind, bytes }: EngineRecord): Uint8Array[] {
  if (kind !== "batch") return kind === "header" ? [bytes] : [];
  const { headerBytes, signature } = decodeBatch(bytes);
  return [encodeSignedHeader({ headerBytes, signature }), bytes];
}

/** Whether a batch is in the replica's log. */
async function isHere(replica: Replica, { id, bytes }: EngineRecord): Promise<boolean> {
  const { header } = decodeBatch(bytes);
  const { replica: device, incarnation, seq } = header;
  return (await replica.hashAt(device, incarnation, seq)) === parseHeaderHash(toHex(id));
}

/** Whether a batch is in the replica's log by now, or never comes there. */
async function isSettled(replica: Replica, record: EngineRecord): Promise<boolean> {
  if (await isHere(replica, record)) return true;
  const { kind } = await replica.receive(record.bytes, nobody);
  return kind === "accepted" || kind === "refused";
}
