// SPDX-License-Identifier: Apache-2.0
/** The acceptance suite of the `Channel` port. */
import { hash } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Channel } from "@ctxmesh/model";
import { LIMITS } from "@ctxmesh/model";
import { waitFor } from "./wait.ts";

/** Two connected channels under test. `dispose` releases all that was opened for them. */
export interface ChannelPairUnderTest {
  readonly a: Channel;
  readonly b: Channel;
  dispose(): Promise<void>;
}

const BOUND_MS = 20_000;
/** Far more than the buffers of any sane transport and the kernel's sockets together. */
const FLOOD_BYTES = 100_663_296;
const FLOOD_MESSAGE_BYTES = 262_144;
/** Polls without progress after which a sender counts as held back. */
const STILL_POLLS = 60;

/**
 * Registers the acceptance tests of the `Channel` port with Vitest, under `name`. `makePair` is
 * called before each test and returns two ends of one fresh channel. `shortest` is the length of the shortest message that it carries:
 * 1 where an empty one means something of its own.
 */
export function runChannelTests(
  name: string,
  makePair: () => Promise<ChannelPairUnderTest>,
  shortest: 0 | 1 = 0,
): void {
  describe(`channel port: ${name}`, () => {
    let pair: ChannelPairUnderTest;
    beforeEach(async () => {
      pair = await makePair();
    });
    afterEach(() => pair.dispose());

    describe("messages", () => {
      messageTests(() => pair, shortest);
    });
    describe("backpressure", () => {
      backpressureTests(() => pair);
    });
    describe("closing", () => {
      closeTests(() => pair);
    });
  });
}

function messageTests(pair: () => ChannelPairUnderTest, shortest: number): void {
  test("messages arrive whole, in order, in both directions at once", async () => {
    const { a, b } = pair();
    const fromA = Array.from({ length: 300 }, (_, i) =>
      patterned(i, shortest + ((i * 37) % 5_000)),
    );
    const fromB = Array.from({ length: 300 }, (_, i) =>
      patterned(i + 7, shortest + ((i * 101) % 3_000)),
    );
    const [atB, atA] = await Promise.all([
      take(b, fromA.length),
      take(a, fromB.length),
      sendAll(a, fromA),
      sendAll(b, fromB),
    ]);
    expect(digests(atB)).toEqual(digests(fromA));
    expect(digests(atA)).toEqual(digests(fromB));
  });

  test("sends that do not wait for each other keep their call order", async () => {
    const { a, b } = pair();
    const messages = Array.from({ length: 200 }, (_, i) => patterned(i, shortest + i));
    const sent = Promise.all(messages.map((message) => a.send(message)));
    expect(digests(await take(b, messages.length))).toEqual(digests(messages));
    await sent;
  });

  test("the shortest message and one of the largest size arrive as they are", async () => {
    const { a, b } = pair();
    const messages = [
      patterned(2, shortest),
      patterned(3, LIMITS.syncMessageBytes),
      patterned(2, shortest),
      patterned(4, 1),
    ];
    const sent = sendAll(a, messages);
    expect(digests(await take(b, messages.length))).toEqual(digests(messages));
    await sent;
  });

  test("messages sent before anyone receives are kept", async () => {
    const { a, b } = pair();
    const messages = [patterned(1, 10), patterned(2, 20)];
    await sendAll(a, messages);
    expect(digests(await take(b, messages.length))).toEqual(digests(messages));
  });

  test("a message over the limit is refused and the channel goes on", async () => {
    const { a, b } = pair();
    await expect(a.send(new Uint8Array(LIMITS.syncMessageBytes + 1))).rejects.toMatchObject({
      code: "LIMIT_EXCEEDED",
    });
    const after = patterned(9, 100);
    const sent = a.send(after);
    expect(digests(await take(b, 1))).toEqual(digests([after]));
    await sent;
  });
}

function backpressureTests(pair: () => ChannelPairUnderTest): void {
  test(
    "a reader that stands still holds the sender back, and lets it go on by reading",
    { timeout: 3 * BOUND_MS },
    async () => {
      const { a, b } = pair();
      const flood = startFlood(a);
      await flood.heldBack();
      expect(flood.sent()).toBeLessThan(FLOOD_BYTES / FLOOD_MESSAGE_BYTES);
      expect(a.bufferedBytes).toBeLessThanOrEqual(LIMITS.channelBufferBytes);

      let received = 0;
      for await (const message of b.receive()) {
        expect(message.length).toBe(FLOOD_MESSAGE_BYTES);
        expect(new DataView(message.buffer, message.byteOffset).getUint32(0)).toBe(received);
        received += 1;
        if (received * FLOOD_MESSAGE_BYTES >= FLOOD_BYTES) break;
      }
      await flood.done;
      await waitFor(() => a.bufferedBytes === 0, { timeoutMs: BOUND_MS, what: "empty buffers" });
    },
  );

  test("a send that waits when its channel closes is rejected with CLOSED", async () => {
    const { a } = pair();
    const flood = startFlood(a);
    const outcome = expect(flood.done).rejects.toMatchObject({ code: "CLOSED" });
    await flood.heldBack();
    const closing = a.close("test");
    await outcome;
    await pair().b.close();
    await closing;
  });

  test("a send that waits when the remote closes is rejected with CLOSED", async () => {
    const { a, b } = pair();
    const flood = startFlood(a);
    const outcome = expect(flood.done).rejects.toMatchObject({ code: "CLOSED" });
    await flood.heldBack();
    await b.close("test");
    await outcome;
  });
}

function closeTests(pair: () => ChannelPairUnderTest): void {
  test("what was sent before close still arrives, then receive() ends", async () => {
    const { a, b } = pair();
    const messages = [patterned(1, 1_000), patterned(2, 1), patterned(3, 50_000)];
    const received = takeAll(b);
    await sendAll(a, messages);
    await a.close("done");
    expect(digests(await received)).toEqual(digests(messages));
  });

  test("receive() ends on the side that closes, too", async () => {
    const { a } = pair();
    const received = takeAll(a);
    await a.close();
    expect(await received).toEqual([]);
  });

  test("receive() called after the channel closed ends", async () => {
    const { a, b } = pair();
    await a.close();
    expect(await takeAll(a)).toEqual([]);
    expect(await takeAll(b)).toEqual([]);
  });

  test("after close, send rejects with CLOSED on both sides", async () => {
    const { a, b } = pair();
    const ended = takeAll(b);
    await a.close();
    await expect(a.send(patterned(1, 5))).rejects.toMatchObject({ code: "CLOSED" });
    await ended;
    await expect(b.send(patterned(1, 5))).rejects.toMatchObject({ code: "CLOSED" });
  });

  test("closing again, also from the other side and at the same time, does nothing", async () => {
    const { a, b } = pair();
    await Promise.all([a.close("first"), a.close("second"), b.close("third")]);
    await a.close();
    await b.close();
    expect(await takeAll(a)).toEqual([]);
  });
}

/** Sends numbered messages, each after the one before it was taken, up to `FLOOD_BYTES`. */
function startFlood(channel: Channel): {
  sent(): number;
  /** Resolves when the sender has made no progress for `STILL_POLLS` polls, or has sent all. */
  heldBack(): Promise<void>;
  readonly done: Promise<void>;
} {
  let sent = 0;
  const done = (async () => {
    while (sent * FLOOD_MESSAGE_BYTES < FLOOD_BYTES) {
      const message = new Uint8Array(FLOOD_MESSAGE_BYTES);
      new DataView(message.buffer).setUint32(0, sent);
      await channel.send(message);
      sent += 1;
    }
  })();
  const heldBack = async (): Promise<void> => {
    let seen = -1;
    let still = 0;
    const stands = (): boolean => {
      still = sent === seen ? still + 1 : 0;
      seen = sent;
      return still >= STILL_POLLS;
    };
    await waitFor(stands, { timeoutMs: BOUND_MS, what: "the sender to be held back" });
  };
  return { sent: () => sent, heldBack, done };
}

async function sendAll(channel: Channel, messages: readonly Uint8Array[]): Promise<void> {
  for (const message of messages) await channel.send(message);
}

async function take(channel: Channel, count: number): Promise<Uint8Array[]> {
  const taken: Uint8Array[] = [];
  for await (const message of channel.receive()) {
    taken.push(message);
    if (taken.length === count) break;
  }
  return taken;
}

async function takeAll(channel: Channel): Promise<Uint8Array[]> {
  return await take(channel, Number.POSITIVE_INFINITY);
}

/** Length and hash of each message; comparing megabytes element by element is slow. */
function digests(messages: readonly Uint8Array[]): string[] {
  return messages.map((message) => `${String(message.length)}:${hash("sha256", message)}`);
}

/** `length` bytes that depend on `seed`. */
function patterned(seed: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (seed * 31 + i * 7 + (i >> 8)) & 0xff);
}
