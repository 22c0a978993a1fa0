// SPDX-License-Identifier: Apache-2.0
/**
 * Sealing a space that several hubs serve: whoever holds the engine's lease seals, and takes over within {@link TERM_MS} and a little when
 * the one before it dies or stops. What decides is the engine: each write of a seal is fenced by the epoch of the lease, so a hub that
 * wakes up late changes nothing.
 */
import { MeshError, toHex, toMeshError } from "@ctxmesh/model";
import type { Fence, Lease, Logger, SealReceipt, SealingService } from "@ctxmesh/model";
import { openLogPages } from "@ctxmesh/ledger";
import type { FrontierHead, LogPages } from "@ctxmesh/ledger";
import type { EngineLink } from "./engine-link.ts";
import { EngineStore } from "./engine-store.ts";
import { readBundle } from "./bundle-store.ts";
import { LOG_PREFIX, NEWEST_KEY, Sealer, readNewestSeal, withCosignatures } from "./sealer.ts";
import type { SealerOptions } from "./sealer.ts";
import { prepareSeals, rememberNewest } from "./shared-seals.ts";
import type { OwnSeals } from "./shared-seals.ts";
import { TwinWatch } from "./twin-watch.ts";

/** How long a lease lasts without being renewed, in milliseconds. */
export const TERM_MS = 3_500;
/** How often it is renewed, or asked for. */
const LOOK_MS = 700;
const NAME_BYTES = 8;
/** Seals, each as long as the last one, that a lease outlasts. */
const SEALS_PER_TERM = 3;

/** What a shared sealer is made of: where it writes is the engine's. */
export interface SharedSealerOptions extends Omit<SealerOptions, "store" | "vault"> {
  /** What this hub has itself. */
  readonly own: OwnSeals;
  /** Resolves once all that is in the shared log now was read here, so that no seal covers less than the one before. */
  readonly caughtUp: () => Promise<void>;
  readonly logger: Logger;
}

/** A sealer, and under which lease it seals. */
interface Leading {
  readonly sealer: Sealer;
  readonly epoch: number;
}

/** The sealing service of a hub among others. */
export class SharedSealer implements SealingService {
  readonly #options: SharedSealerOptions;
  readonly #link: EngineLink;
  /** Of this process life: another one must not take its lease for its own. */
  readonly #holder: string;
  readonly #twins: TwinWatch;
  #leading: Leading | undefined;
  /** Why a seal might fork the log; undefined while it can't. */
  #unsafe: string | undefined;
  /** Seals that are being made, and the work of the last one, in milliseconds of CPU: whatever time it was waited for the engine, or the process was suspended, is none. */
  #sealing = 0;
  #workMs = 0;
  #count = 0;
  #listener: (frontier: readonly FrontierHead[]) => void = () => undefined;
  #running: Promise<void> | undefined;

  constructor(options: SharedSealerOptions, link: EngineLink) {
    this.#options = options;
    this.#link = link;
    const { device } = options.replica;
    this.#holder = `${device}/${toHex(options.random.bytes(NAME_BYTES))}`;
    this.#twins = new TwinWatch(link, device, this.#holder, options.logger);
  }

  /** Number of seals made, as far as is known here. */
  get count(): number {
    return Math.max(this.#count, this.#leading?.sealer.count ?? 0);
  }

  /** The log that the hubs share, as others may read it. */
  get pages(): LogPages {
    return openLogPages(this.#shared(), LOG_PREFIX);
  }

  /** Number of the lease under which this hub seals; undefined while another one does. */
  get epoch(): number | undefined {
    return this.#leading?.epoch;
  }

  /** Whether another hub runs with the same device key. */
  get hasTwin(): boolean {
    return this.#twins.hasTwin;
  }

  /** Calls `listener` with the frontier of the newest seal, whoever made it, now and after each further one. */
  onSealed(listener: (frontier: readonly FrontierHead[]) => void): void {
    this.#listener = listener;
  }

  /** Looks once who seals, and goes on by itself. Rejects with `CLOSED` when the link is stopped before. */
  async start(): Promise<void> {
    await this.#link.ask(async () => this.#look());
    this.#running = this.#run();
  }

  async #run(): Promise<void> {
    while (!this.#link.isStopped) {
      await this.#link.pause(LOOK_MS);
      try {
        await this.#link.ask(async () => this.#look());
      } catch (error) {
        // The link is stopped, or the log of seals can't be read: then whoever can may seal.
        this.#giveUp();
        if (!this.#link.isStopped) {
          this.#options.logger.error("sealing.failed", { error: toMeshError(error).message });
        }
      }
    }
  }

  /** Renews the lease or asks for it, and hears of what others have sealed. */
  async #look(): Promise<void> {
    const { engine, space } = this.#link;
    const lease = await engine.acquire(space, this.#holder, this.#termMs());
    if (lease === undefined) this.#follow();
    else if (lease.epoch !== this.#leading?.epoch) await this.#lead(lease);
    if (this.#leading === undefined) await this.#hear();
    await this.#twins.look();
  }

  /** While a large state is hashed, nothing else happens here: a lease that is not renewed meanwhile must last so long. */
  #termMs(): number {
    return Math.max(TERM_MS, this.#sealing > 0 ? SEALS_PER_TERM * this.#workMs : 0);
  }

  #follow(): void {
    if (this.#leading === undefined) return;
    this.#options.logger.warn("sealing.lost", { epoch: this.#leading.epoch });
    this.#giveUp();
  }

  /** Seals no more; what is under way is fenced. */
  #giveUp(): void {
    this.#leading?.sealer.retire();
    this.#leading = undefined;
  }

  async #lead({ epoch }: Lease): Promise<void> {
    this.#giveUp();
    const { engine, space } = this.#link;
    const fence = this.#fence(epoch);
    const guarded = async (): Promise<EngineStore> => {
      const value = await engine.get(space, NEWEST_KEY);
      return new EngineStore(engine, space, fence, { key: NEWEST_KEY, value });
    };
    await this.#options.caughtUp();
    this.#unsafe = await prepareSeals(await guarded(), this.#options.own);
    const sealer = await Sealer.open({ ...this.#options, store: await guarded() });
    sealer.onSealed((frontier) => {
      this.#listener(frontier);
    });
    this.#leading = { sealer, epoch };
    this.#options.logger.info("sealing.began", { epoch, seals: sealer.count });
    if (this.#unsafe !== undefined)
      this.#options.logger.error("sealing.unsafe", { reason: this.#unsafe });
  }

  #fence(epoch: number): Fence {
    return { holder: this.#holder, epoch };
  }

  /** What others have sealed. */
  async #hear(): Promise<void> {
    const newest = await readNewestSeal(this.#shared());
    if (newest === undefined || newest.sequence === this.#count) return;
    // One that goes back is told of by whoever leads.
    if (newest.sequence > this.#count) await rememberNewest(this.#shared(), this.#options.own);
    this.#count = newest.sequence;
    this.#listener(newest.frontier);
  }

  /** The shared map, to be read. */
  #shared(): EngineStore {
    return new EngineStore(this.#link.engine, this.#link.space, this.#fence(0));
  }

  async seal(options: { readonly after?: number } = {}): Promise<SealReceipt> {
    const leading = this.#leading;
    if (leading === undefined) throw elsewhere();
    if (this.#unsafe !== undefined && options.after === undefined) {
      throw new MeshError("SEALING_UNSAFE", this.#unsafe, {
        remedy:
          "find the newest seal that anybody has, and give its number: ctxmesh seal --after N",
      });
    }
    const since = process.cpuUsage();
    this.#sealing++;
    try {
      const receipt = await this.#sealWith(leading, options);
      this.#unsafe = undefined;
      // The seal is made, whatever becomes of this.
      await rememberNewest(this.#shared(), this.#options.own).catch(() => undefined);
      return receipt;
    } catch (error) {
      const { code } = toMeshError(error);
      const isOld = this.#leading !== leading;
      if (code === "ENGINE_FENCED" && !isOld) this.#follow();
      // Whether it was written is not known, so the log has to be read again.
      else if (code === "ENGINE_UNAVAILABLE" && !isOld) this.#giveUp();
      throw error;
    } finally {
      this.#sealing--;
      const { user, system } = process.cpuUsage(since);
      this.#workMs = (user + system) / 1_000;
    }
  }

  async #sealWith(
    { sealer, epoch }: Leading,
    options: { readonly after?: number },
  ): Promise<SealReceipt> {
    const { engine, space } = this.#link;
    const lease = await engine.acquire(space, this.#holder, this.#termMs());
    if (lease?.epoch !== epoch) throw elsewhere();
    return sealer.seal(options);
  }

  async bundle(sequence: number = this.count): Promise<Uint8Array> {
    const isMade = Number.isSafeInteger(sequence) && sequence >= 1;
    if (isMade) await this.#leading?.sealer.cosigned();
    const shared = this.#shared();
    const bundle = isMade ? await readBundle(shared, sequence, undefined) : undefined;
    if (bundle !== undefined) return withCosignatures(shared, sequence, bundle);
    throw new MeshError("NOT_FOUND", `there is no seal ${String(sequence)}`, {
      field: "sequence",
    });
  }

  /** Waits for a seal under way, and lets others seal at once. Stop the link before. */
  async close(): Promise<void> {
    await this.#running;
    await this.#twins.stop();
    const leading = this.#leading;
    this.#leading = undefined;
    if (leading === undefined) return;
    await leading.sealer.close();
    const { engine, space } = this.#link;
    // Whoever can't be told finds out when the lease has ended.
    await engine.release(space, this.#fence(leading.epoch)).catch(() => undefined);
  }
}

const elsewhere = (): MeshError =>
  new MeshError("ENGINE_FENCED", "another hub seals this space now", {
    remedy: "ask that one: ctxmesh status says on each hub whether it seals",
  });
