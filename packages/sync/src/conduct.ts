// SPDX-License-Identifier: Apache-2.0
import type { Clock, Logger } from "@ctxmesh/model";
import type { LiveSession } from "./live-session.ts";
import { Bars, RefusalLog } from "./refusal-log.ts";
import type { Refused } from "./refusal-log.ts";

/** Refusals of one remote after which its channel is closed. */
const MAX_REFUSALS = 16;

/** What it looks at, and whom it ends. */
export interface ConductOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Whether a device (hex key) may be connected now. */
  readonly admits: (device: string) => boolean;
  readonly sessions: ReadonlySet<LiveSession>;
}

/** Who may stay: logs what remotes do wrong, closes their sessions, and in the end bars their devices. */
export class Conduct {
  readonly #options: ConductOptions;
  readonly #refusals: RefusalLog;
  readonly #bars = new Bars();

  constructor(options: ConductOptions) {
    this.#options = options;
    this.#refusals = new RefusalLog(options.logger);
  }

  /** Whether a device (hex key) may not connect for now, since its sessions were closed for refusals again and again. */
  isBarred(device: string): boolean {
    return this.#bars.isBarred(device, this.#options.clock.now());
  }

  /** Why a device may not be connected, if it may not. */
  whyUnwelcome(device: string): string | undefined {
    if (this.isBarred(device)) return "the device is barred for a while";
    return this.#options.admits(device) ? undefined : "the device is not welcome in this space";
  }

  /** Ends the sessions of devices that may not stay; at once, if that was tried before. */
  dismissUnwelcome(): void {
    for (const session of this.#options.sessions) {
      if (session.isClosed) {
        session.end(session.reason ?? "closed");
        continue;
      }
      const reason = this.whyUnwelcome(session.device);
      if (reason !== undefined) session.dismiss(reason);
    }
  }

  /** Looks who may stay, and logs what has gathered. Call about once a second. */
  look(nowMs: number): void {
    this.#refusals.flush(nowMs);
    this.dismissUnwelcome();
  }

  /** Logs a refusal, and closes and in the end bars a device that is to blame for too many. */
  refused(session: LiveSession, refused: Refused): void {
    const nowMs = this.#options.clock.now();
    this.#refusals.note(refused, nowMs);
    if (!refused.blamed || session.isClosed) return;
    session.refusals++;
    if (session.refusals < MAX_REFUSALS) return;
    session.end("too many refused batches");
    this.closedFor(session, nowMs);
  }

  /** Logs that a remote is of no use. */
  useless({ device }: LiveSession, detail: string, nowMs: number): void {
    const refused = { event: "peer.useless", device, stage: "useless", detail, blamed: true };
    this.#refusals.note(refused, nowMs);
  }

  /** A session is over for what its device has sent, which in the end bars it. */
  closedFor({ device }: LiveSession, nowMs: number): void {
    this.#bars.closed(device, nowMs);
    if (this.isBarred(device)) this.dismissUnwelcome();
  }

  /** The protocol was broken. Before the greeting that may be an honest peer of another version or space, which comes back. */
  violated(session: LiveSession, reason: string): void {
    const { clock, logger } = this.#options;
    logger.warn("peer.violation", { device: session.device, reason });
    if (session.wasOpen) this.closedFor(session, clock.now());
  }
}
