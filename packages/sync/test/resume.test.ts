// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a transfer that is cut goes on where it was: what arrived is not sent again, whenever the cut comes.
 * Method: real replicas; a catch-up is cut after its first message, its second, and so on to its last, and then connected again.
 */
import { decodeBatch } from "@ctxmesh/codec";
import { LIMITS } from "@ctxmesh/model";
import type { Channel } from "@ctxmesh/model";
import { decodeMessage } from "@ctxmesh/sync";
import { createChannelPair, createSeededRandom, waitFor } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import { DOC, contentOf, converged, createNodes, remoteOf, settle } from "./mesh.ts";
import type { Node } from "./mesh.ts";

const BATCHES = 26;
const VALUE_BYTES = 40_000;

/** What went over a connection in both directions. */
interface Traffic {
  messages: number;
  /** Of each batch that was sent: how often, and how long it is. */
  readonly batches: Map<string, { times: number; readonly bytes: number }>;
}

/** Connects two nodes until `most` messages were sent, by either; the next one is lost with the connection. */
function connect(a: Node, b: Node, traffic: Traffic, most: number): Promise<unknown> {
  const pair = createChannelPair({ a: remoteOf(b, "outbound"), b: remoteOf(a, "inbound") });
  let left = most;
  const counted = (channel: Channel): Channel => ({
    remote: channel.remote,
    get bufferedBytes() {
      return channel.bufferedBytes;
    },
    send: async (message) => {
      if (left-- <= 0) {
        pair.cut();
        return;
      }
      traffic.messages++;
      const decoded = decodeMessage(message);
      for (const batch of decoded.type === "batches" ? decoded.batches : []) {
        const { replica, incarnation, seq } = decodeBatch(batch).header;
        const name = `${replica} ${incarnation} ${String(seq)}`;
        const known = traffic.batches.get(name) ?? { times: 0, bytes: batch.length };
        known.times++;
        traffic.batches.set(name, known);
      }
      await channel.send(message);
    },
    receive: () => channel.receive(),
    close: async (reason) => channel.close(reason),
  });
  return Promise.all([a.sync.run(counted(pair.a)), b.sync.run(counted(pair.b))]);
}

const traffic = (): Traffic => ({ messages: 0, batches: new Map() });
const noise = (seed: number): string =>
  Buffer.from(createSeededRandom(seed).bytes(VALUE_BYTES / 2)).toString("base64");

/** A node that has some megabyte for another, and one that has a little for it. */
async function createPair(): Promise<readonly [Node, Node]> {
  const { nodes } = await createNodes(2);
  const [a, b] = nodes as [Node, Node];
  for (let i = 0; i < BATCHES; i++)
    await a.replica.put(DOC, [{ key: `key-${String(i)}`, value: noise(i) }]);
  await b.put("key", "b");
  return [a, b];
}

test("a catch-up that is cut at any message costs one answer at most, and ends as if it had not been", async () => {
  const whole = traffic();
  const [first, second] = await createPair();
  void connect(first, second, whole, Number.POSITIVE_INFINITY);
  await waitFor(() => converged([first, second]), { timeoutMs: 10_000, what: "the catch-up" });
  await settle();
  const answers = [...whole.batches.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  expect(answers).toBeGreaterThan(2 * LIMITS.syncChunkBytes);

  for (let cutAfter = 0; cutAfter < whole.messages; cutAfter++) {
    const sent = traffic();
    const [a, b] = await createPair();
    await connect(a, b, sent, cutAfter);
    void connect(a, b, sent, Number.POSITIVE_INFINITY);
    await waitFor(() => converged([a, b]), { timeoutMs: 10_000, what: "the rest" });
    expect(contentOf(b)).toEqual(contentOf(a));
    const again = [...sent.batches.values()].reduce(
      (sum, { times, bytes }) => sum + (times - 1) * bytes,
      0,
    );
    expect(again).toBeLessThanOrEqual(LIMITS.syncChunkBytes);
    for (const { replica } of [a, b]) {
      const { received, accepted, duplicate } = replica.counters();
      expect(accepted + duplicate).toBe(received);
    }
  }
});
