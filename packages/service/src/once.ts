// SPDX-License-Identifier: Apache-2.0
/**
 * Writes that are made once, whoever repeats them: those with an idempotency key. What became of one is remembered in the same atomic store
 * write that makes it durable, so that no crash comes between the two.
 *
 * A record for each key: 0x29 || SHA-256 of the key (32) -> made (Unix ms, u64), HMAC-SHA-256 of the write under its key (32), incarnation (16), seq (u64), hlc (u64),
 * facts (u32), big-endian.
 */
import { createHash, createHmac } from "node:crypto";
import { LIMITS, MeshError, fromHex, parseIncarnationId, toHex } from "@ctxmesh/model";
import type { Clock, Hlc, Store, StoreChange, WriteReceipt } from "@ctxmesh/model";
import type { Replica, WriteContext } from "@ctxmesh/replica";

const TAG = 0x29;
const FINGERPRINT_AT = 8;
const INCARNATION_AT = 40;
const SEQ_AT = 56;
const HLC_AT = 64;
const FACTS_AT = 72;
const VALUE_BYTES = 76;
/** Visible ASCII. */
const KEY = new RegExp(`^[!-~]{1,${String(LIMITS.idempotencyKeyLength)}}$`, "u");

/** A write that was made, or is being made. */
interface Made {
  readonly madeMs: number;
  /** HMAC-SHA-256, hex. */
  readonly fingerprint: string;
  readonly receipt: WriteReceipt | Promise<WriteReceipt>;
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
const keyOf = (name: string): Uint8Array => Uint8Array.of(TAG, ...fromHex(name));

function recordOf(
  name: string,
  { madeMs, fingerprint }: Made,
  { incarnation, seq, hlc, facts }: WriteReceipt,
): StoreChange {
  const value = new Uint8Array(VALUE_BYTES);
  const view = new DataView(value.buffer);
  view.setBigUint64(0, BigInt(madeMs));
  value.set(fromHex(fingerprint), FINGERPRINT_AT);
  value.set(fromHex(incarnation), INCARNATION_AT);
  view.setBigUint64(SEQ_AT, BigInt(seq));
  view.setBigUint64(HLC_AT, BigInt(hlc));
  view.setUint32(FACTS_AT, facts);
  return { key: keyOf(name), value };
}

function readRecord(key: Uint8Array, value: Uint8Array): readonly [name: string, Made] {
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  return [
    toHex(key.subarray(1)),
    {
      madeMs: Number(view.getBigUint64(0)),
      fingerprint: toHex(value.subarray(FINGERPRINT_AT, INCARNATION_AT)),
      receipt: {
        acknowledged: "local",
        incarnation: parseIncarnationId(toHex(value.subarray(INCARNATION_AT, SEQ_AT))),
        seq: Number(view.getBigUint64(SEQ_AT)),
        hlc: Number(view.getBigUint64(HLC_AT)) as Hlc,
        facts: view.getUint32(FACTS_AT),
      },
    },
  ];
}

/** What remembers is made of. */
export interface OnceContext {
  readonly store: Store;
  readonly replica: Pick<Replica, "device" | "seqOf">;
  readonly clock: Clock;
}

/** The writes of a node that have idempotency keys. */
export class Once {
  readonly #clock: Clock;
  /** By the hash of the key, oldest first. */
  readonly #made: Map<string, Made>;

  private constructor(clock: Clock, made: Map<string, Made>) {
    this.#clock = clock;
    this.#made = made;
  }

  /** Reads what the store remembers. What a damaged store lost of the writes themselves is not remembered: then they are made again. */
  static async open({ store, replica, clock }: OnceContext): Promise<Once> {
    const found: (readonly [string, Made & { readonly receipt: WriteReceipt }])[] = [];
    for await (const [key, value] of store.scan({
      gte: Uint8Array.of(TAG),
      lt: Uint8Array.of(TAG + 1),
    })) {
      const [name, made] = readRecord(key, value);
      const receipt = await made.receipt;
      const isHere = replica.seqOf(replica.device, receipt.incarnation) >= receipt.seq;
      // Else its place is taken by the next write under that name.
      if (isHere) found.push([name, { ...made, receipt }]);
    }
    return new Once(clock, new Map(found.toSorted(([, a], [, b]) => a.madeMs - b.madeMs)));
  }

  /**
   * Makes a write, or says what became of it before. `content` is everything that makes it another one, as text; `write` has to make what it is given durable
   * with the write. Rejects with `INPUT_INVALID`, with `IDEMPOTENCY_CONFLICT` when the key was that of another write, and as `write` does: then
   * nothing is remembered.
   */
  async run(
    key: string,
    content: string,
    write: (also: Required<Pick<WriteContext, "also">>) => Promise<WriteReceipt>,
  ): Promise<WriteReceipt> {
    if (!KEY.test(key)) {
      const message = `an idempotency key is 1 to ${String(LIMITS.idempotencyKeyLength)} visible ASCII characters`;
      throw new MeshError("INPUT_INVALID", message, { field: "Idempotency-Key" });
    }
    const name = sha256(key);
    // Keyed, so that who reads the store and not the key, which is as good as random, can't find out what was written by guessing.
    const fingerprint = createHmac("sha256", key).update(content).digest("hex");
    const nowMs = this.#clock.now();
    const known = this.#made.get(name);
    if (known !== undefined && nowMs - known.madeMs < LIMITS.idempotencyMs) {
      if (known.fingerprint === fingerprint) return known.receipt;
      throw new MeshError(
        "IDEMPOTENCY_CONFLICT",
        "this idempotency key was that of another write",
        {
          field: "Idempotency-Key",
          remedy: "take a new key for each write, and the same one for its repetitions alone",
        },
      );
    }
    return this.#make(name, { madeMs: nowMs, fingerprint }, write);
  }

  async #make(
    name: string,
    made: Omit<Made, "receipt">,
    write: (also: Required<Pick<WriteContext, "also">>) => Promise<WriteReceipt>,
  ): Promise<WriteReceipt> {
    const receipt = write({
      also: (done) => [recordOf(name, { ...made, receipt: done }, done), ...this.#forget()],
    });
    const entry: Made = { ...made, receipt };
    // At its place by age.
    this.#made.delete(name);
    this.#made.set(name, entry);
    try {
      const done = await receipt;
      if (this.#made.get(name) === entry) this.#made.set(name, { ...made, receipt: done });
      return done;
    } catch (error) {
      if (this.#made.get(name) === entry) this.#made.delete(name);
      throw error;
    }
  }

  /** Forgets what is too old, and what is too much. */
  #forget(): readonly StoreChange[] {
    const changes: StoreChange[] = [];
    const nowMs = this.#clock.now();
    for (const [name, { madeMs, receipt }] of this.#made) {
      const isOld = nowMs - madeMs >= LIMITS.idempotencyMs;
      const isMuch = this.#made.size > LIMITS.idempotencyKeys;
      if (!isOld && !isMuch) break;
      // One under way has no record yet: the next write forgets it.
      if (receipt instanceof Promise) break;
      this.#made.delete(name);
      changes.push({ key: keyOf(name) });
    }
    return changes;
  }
}
