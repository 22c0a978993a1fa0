// SPDX-License-Identifier: Apache-2.0
/** Keeps a channel to one other node alive, as the transports' supervisors do: dials again and again, with full jitter. */
import type { Remote } from "@ctxmesh/model";
import type { Dice } from "./dice.ts";
import type { SimNode } from "./node.ts";
import type { VirtualNetwork } from "./virtual-network.ts";

const BACKOFF_MIN_MS = 250;
const BACKOFF_MAX_MS = 30_000;
/** A channel that lived this long ends the back-off; one that dies at once does not. */
const STABLE_MS = 5_000;
/** A dial that gets no answer is given up. */
const DIAL_MS = 5_000;
/** Bytes of a handshake, each way. */
const HANDSHAKE_BYTES = 400;

/** What a dialer needs of the run. */
export interface DialerHost {
  readonly network: VirtualNetwork;
  /** The node of an id. */
  lookup(id: string): SimNode | undefined;
  /** A line of the trace. */
  trace(who: string, what: string): void;
}

/** Whose channel it is to keep alive. */
export interface DialerParts {
  readonly from: SimNode;
  readonly to: string;
  readonly dice: Dice;
  /** Later, in the same process life. */
  readonly after: (delayMs: number, run: () => void) => void;
}

const remoteOf = (node: SimNode, direction: Remote["direction"]): Remote => ({
  device: node.device,
  address: node.id,
  direction,
  role: node.kind,
});

/** Dials one node for as long as its process lives. */
export class Dialer {
  readonly #host: DialerHost;
  readonly #parts: DialerParts;
  #failures = 0;

  constructor(host: DialerHost, parts: DialerParts) {
    this.#host = host;
    this.#parts = parts;
  }

  /** Dials for the first time. */
  start(): void {
    const { after, dice } = this.#parts;
    after(dice.between(0, BACKOFF_MIN_MS), () => {
      this.#dial();
    });
  }

  #dial(): void {
    const { from, to, after } = this.#parts;
    const forth = this.#host.network.line(from.id, to);
    const back = this.#host.network.line(to, from.id);
    const target = this.#host.lookup(to);
    if (forth === undefined || back === undefined || target === undefined) return;
    if (forth.isCut || back.isCut || target.isPaused) {
      after(DIAL_MS, () => {
        this.#retry();
      });
      return;
    }
    // Two round trips: of the transport, and of the authentication.
    const trip =
      forth.quality.latencyMs + back.quality.latencyMs + HANDSHAKE_BYTES / forth.quality.bytesPerMs;
    after(2 * trip, () => {
      this.#answered(target);
    });
  }

  #answered(target: SimNode): void {
    const { from } = this.#parts;
    const isHub = target.kind === "hub";
    const accepted =
      target.process !== undefined &&
      from.welcomes(target.device, target.kind) &&
      // A hub lets any member in, an agent other agents.
      target.welcomes(from.device, isHub ? undefined : "agent");
    if (!accepted) {
      this.#retry();
      return;
    }
    const [own, other] = this.#host.network.open(
      from,
      target,
      remoteOf(target, "outbound"),
      remoteOf(from, "inbound"),
    );
    this.#host.trace(from.id, `connected ${target.id}`);
    this.#keep(own);
    target.deliver(() => {
      target.use(other);
    });
    from.use(own);
  }

  #keep(own: { onOver(listener: () => void): void }): void {
    const { from, to, after } = this.#parts;
    let isStable = false;
    after(STABLE_MS, () => {
      isStable = true;
    });
    own.onOver(() => {
      this.#host.trace(from.id, `disconnected ${to}`);
      if (isStable) this.#failures = 0;
      this.#retry();
    });
  }

  #retry(): void {
    const { after, dice } = this.#parts;
    const limit = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** Math.min(this.#failures, 16));
    this.#failures += 1;
    after(limit * dice.float(), () => {
      this.#dial();
    });
  }
}
