// SPDX-License-Identifier: Apache-2.0
/**
 * Notices a peer that is gone without a word: a cable pulled, a machine asleep, a path that swallows packets. TCP itself
 * takes minutes. Whatever is received is a sign of life; only where there is none for a while is one asked for (a ping of
 * yamux, 12 bytes each way), so that connections in use cost nothing, and idle ones some 200 bytes every twenty seconds, TCP included.
 */
import type { Logger } from "@ctxmesh/model";
import type { MessageStream, StreamMuxer } from "@libp2p/interface";

/** Silence on an idle connection before it is asked for a sign of life. */
const IDLE_MS = 20_000;
/** The same after something was sent: an answer may be due. */
const WAITING_MS = 2_000;
/** Time for the sign of life to come. */
const ANSWER_MS = 4_000;
/** What was sent must arrive before it: so many bytes in a millisecond (128 kbit/s), but a minute at most. */
const SLOW_BYTES_PER_MS = 16;
const LONGEST_ANSWER_MS = 60_000;
/** A look that comes later than this found the process busy, or the machine asleep: nobody could have been heard. */
const STALL_MS = 2_500;

/** One connection, on the clock of `performance.now()`. */
interface Pulse {
  readonly stream: MessageStream;
  readonly ping: () => Promise<unknown>;
  /** When something was received last. */
  receivedAt: number;
  /** Bytes sent since. */
  sentBytes: number;
  /** When it was asked; undefined while it is not. */
  askedAt: number | undefined;
}

/** The connections of one node. */
export class KeepAlive {
  readonly #pulses = new Set<Pulse>();
  readonly #logger: Logger;
  #lookedAt = performance.now();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Watches a connection from now until it closes. */
  watch(muxer: StreamMuxer, stream: MessageStream): void {
    const ping = pingOf(muxer);
    if (ping === undefined) return;
    const pulse: Pulse = {
      stream,
      ping,
      receivedAt: performance.now(),
      sentBytes: 0,
      askedAt: undefined,
    };
    this.#pulses.add(pulse);
    stream.addEventListener("message", () => {
      pulse.receivedAt = performance.now();
      pulse.sentBytes = 0;
      pulse.askedAt = undefined;
    });
    const send = stream.send.bind(stream);
    stream.send = (data) => {
      pulse.sentBytes += data.byteLength;
      return send(data);
    };
    stream.addEventListener("close", () => {
      this.#pulses.delete(pulse);
    });
  }

  /** Asks all of them now, since something has happened to the links. */
  probe(): void {
    for (const pulse of this.#pulses) this.#ask(pulse, performance.now());
  }

  /** Looks at all of them; to be called about every second. */
  tick(): void {
    const now = performance.now();
    const stalledMs = now - this.#lookedAt > STALL_MS ? now - this.#lookedAt : 0;
    this.#lookedAt = now;
    for (const pulse of this.#pulses) {
      if (pulse.askedAt !== undefined) pulse.askedAt += stalledMs;
      this.#look(pulse, now);
    }
  }

  #look(pulse: Pulse, now: number): void {
    const { askedAt, sentBytes } = pulse;
    if (askedAt === undefined) {
      const silentMs = now - pulse.receivedAt;
      if (silentMs >= (sentBytes > 0 ? WAITING_MS : IDLE_MS)) this.#ask(pulse, now);
      return;
    }
    const answerMs = Math.min(LONGEST_ANSWER_MS, ANSWER_MS + sentBytes / SLOW_BYTES_PER_MS);
    if (now - askedAt < answerMs) return;
    const silentMs = Math.round(now - pulse.receivedAt);
    this.#logger.info("connection.silent", { silentMs, ...addressOf(pulse.stream) });
    pulse.stream.abort(new Error("the peer has fallen silent"));
  }

  #ask(pulse: Pulse, now: number): void {
    if (pulse.askedAt !== undefined) return;
    pulse.askedAt = now;
    // Whatever comes in answers it; a failure is a connection that is closing.
    pulse.ping().catch(() => undefined);
  }
}

/** What asks the other end of a yamux connection, and nothing for other muxers. */
function pingOf(muxer: StreamMuxer): (() => Promise<unknown>) | undefined {
  if (!("ping" in muxer) || typeof muxer.ping !== "function") return undefined;
  const ping = muxer.ping.bind(muxer) as () => Promise<unknown>;
  return ping;
}

const addressOf = (stream: object): { readonly address?: string } =>
  "remoteAddr" in stream ? { address: String(stream.remoteAddr) } : {};
