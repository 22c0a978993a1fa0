// SPDX-License-Identifier: Apache-2.0
/** Counts who was refused and why, and logs it: a warning the first time, since a stranger may try every second. */
import type { Logger, MeshErrorCode } from "@ctxmesh/model";

/**
 * Why a connection, or a stream of one, was refused. `membership`: the device has no grant. `handshake`: what came was no
 * handshake of ours, as with another network key. `security`: no post-quantum key exchange where one is required, or
 * a downgrade. `version`: no version of the sync protocol in common. `protocol`: it broke the protocol of channels.
 * `relay`: a reservation or a circuit that it may not have. `remote`: the other end refused us.
 */
export type RefusalKind =
  | "membership"
  | "handshake"
  | "security"
  | "version"
  | "protocol"
  | "relay"
  | "remote";

/** Number of refusals of each kind since the start. */
export type RefusalCounts = Readonly<Record<RefusalKind, number>>;

/** What is said of a refusal. */
export interface Refusal {
  readonly kind: RefusalKind;
  readonly code: MeshErrorCode;
  readonly reason: string;
  /** Device key, hex, or an id that is not of a device; absent while nobody has said who it is. */
  readonly device?: string;
  readonly address: string;
  readonly direction: "inbound" | "outbound";
}

const REMEMBERED = 256;

/** The refusals of one node. */
export class Refusals {
  readonly #logger: Logger;
  readonly #counts: Record<RefusalKind, number> = {
    membership: 0,
    handshake: 0,
    security: 0,
    version: 0,
    protocol: 0,
    relay: 0,
    remote: 0,
  };
  /** Whose refusal has been logged: kind, and device or host. */
  readonly #logged = new Set<string>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** How many there were of each kind. */
  get counts(): RefusalCounts {
    return { ...this.#counts };
  }

  /** Counts one that is logged elsewhere. */
  count(kind: RefusalKind): void {
    this.#counts[kind] += 1;
  }

  /** Counts and logs one, as `peer.refused`, or as `peer.refused-us` when the other end did it. */
  note({ kind, ...fields }: Refusal): void {
    this.count(kind);
    const event = kind === "remote" ? "peer.refused-us" : "peer.refused";
    const who = `${kind} ${fields.device ?? hostOf(fields.address)}`;
    if (this.#logged.has(who)) {
      this.#logger.debug(event, fields);
      return;
    }
    if (this.#logged.size >= REMEMBERED) this.#logged.clear();
    this.#logged.add(who);
    this.#logger.warn(event, fields);
  }

  /** A device was let in: its next refusal is news. */
  forget(device: string): void {
    for (const who of this.#logged) if (who.endsWith(` ${device}`)) this.#logged.delete(who);
  }
}

/** The first two parts of a multiaddr: who dials has another port each time. */
const hostOf = (address: string): string => address.split("/").slice(0, 3).join("/");
