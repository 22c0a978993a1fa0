// SPDX-License-Identifier: Apache-2.0
/**
 * Notices another hub with the same device key, such as a machine that was copied: nothing is lost by it, since every process life writes a
 * chain of its own, but whoever revokes the one revokes both. A lease under the device's name, which each of them wants, tells.
 */
import { sha256Hex } from "@ctxmesh/crypto";
import { parseSpaceId } from "@ctxmesh/model";
import type { DeviceKey, Logger, SpaceId } from "@ctxmesh/model";
import type { EngineLink } from "./engine-link.ts";

/** How long one lasts without being renewed, in milliseconds. */
const TERM_MS = 5_000;
/** A hub that was killed leaves its own lease behind; what is there for longer is somebody's. */
const PATIENCE_MS = 2 * TERM_MS;

/** What stands for a device of a space where an engine wants a space. */
const nameOf = (space: SpaceId, device: DeviceKey): SpaceId =>
  parseSpaceId(sha256Hex(`ctxmesh.dev/hub/v1\n${space}\n${device}\n`));

/** Looks out for a hub with the same device key. */
export class TwinWatch {
  readonly #link: EngineLink;
  readonly #name: SpaceId;
  readonly #holder: string;
  readonly #logger: Logger;
  #epoch: number | undefined;
  #sinceMs: number | undefined;
  #hasTwin = false;

  /** `holder` is of this process life. */
  constructor(link: EngineLink, device: DeviceKey, holder: string, logger: Logger) {
    this.#link = link;
    this.#name = nameOf(link.space, device);
    this.#holder = holder;
    this.#logger = logger;
  }

  /** Whether there is one. */
  get hasTwin(): boolean {
    return this.#hasTwin;
  }

  /** To be called more often than the lease ends. Throws what the engine throws. */
  async look(): Promise<void> {
    const lease = await this.#link.engine.acquire(this.#name, this.#holder, TERM_MS);
    this.#epoch = lease?.epoch;
    const nowMs = performance.now();
    this.#sinceMs = lease === undefined ? (this.#sinceMs ?? nowMs) : undefined;
    const hasTwin = this.#sinceMs !== undefined && nowMs - this.#sinceMs > PATIENCE_MS;
    if (hasTwin && !this.#hasTwin) {
      this.#logger.error("hub.twin", {
        meaning: "another hub runs with this hub's device key",
        remedy: "stop one of them, and give it a key and a grant of its own",
      });
    }
    this.#hasTwin = hasTwin;
  }

  /** Leaves nothing behind for the next life to wait for. */
  async stop(): Promise<void> {
    if (this.#epoch === undefined) return;
    const fence = { holder: this.#holder, epoch: this.#epoch };
    await this.#link.engine.release(this.#name, fence).catch(() => undefined);
  }
}
