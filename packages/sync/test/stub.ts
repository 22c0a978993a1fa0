// SPDX-License-Identifier: Apache-2.0
/** A sync node over a replica of which the test answers for some parts, facing a remote that the test plays. */
import { SyncNode, encodeMessage } from "@ctxmesh/sync";
import type { SyncMessage, SyncReplica } from "@ctxmesh/sync";
import { createRecordingLogger, createSeededRandom, createVirtualClock } from "@ctxmesh/testing";
import { START_MS, createNode, face, settle, spaceOf } from "./mesh.ts";
import type { Sent } from "./mesh.ts";

/** The remote's end, greeted. */
export interface Faced {
  readonly sent: Sent;
  /** Sends a message so many times, and lets follow from it what does without time passing. */
  send(message: SyncMessage, count?: number): Promise<void>;
  /** Passes time at the node. */
  pass(ms: number): Promise<void>;
}

/** Faces a node whose replica is a real one but for `parts`. */
export async function faceStub(parts: Partial<SyncReplica>): Promise<Faced> {
  const clock = createVirtualClock(START_MS);
  const node = await createNode(0, { space: spaceOf([0, 1]), clock });
  const { replica: real } = node;
  const replica: SyncReplica = {
    space: real.space,
    device: real.device,
    incarnations: () => real.incarnations(),
    heads: () => real.heads(),
    frontierDigest: () => real.frontierDigest(),
    limitOf: (device, incarnation) => real.limitOf(device, incarnation),
    hashAt: async (device, incarnation, seq) => real.hashAt(device, incarnation, seq),
    receive: async (batch, source) => real.receive(batch, source),
    read: (spans) => real.read(spans),
    onApplied: (listener) => real.onApplied(listener),
    recordIds: () => real.recordIds(),
    recordsDigest: () => real.recordsDigest(),
    readRecords: (known) => real.readRecords(known),
    addRecords: async (records) => real.addRecords(records),
    onRecords: (listener) => real.onRecords(listener),
    bases: real.bases,
    missing: (olderThanMs) => real.missing(olderThanMs),
    signedHeaders: async (hash, source) => real.signedHeaders(hash, source),
    addHeaders: async (headers) => real.addHeaders(headers),
    subscription: real.subscription,
    omitted: real.omitted,
    ...parts,
  };
  const logger = createRecordingLogger();
  const sync = new SyncNode({
    replica,
    clock,
    logger,
    random: createSeededRandom(3),
    relay: "tell",
    admits: () => true,
  });
  const { channel, sent } = face({ ...node, sync }, 1);
  const send = async (message: SyncMessage, count = 1): Promise<void> => {
    for (let i = 0; i < count; i++) await channel.send(encodeMessage(message));
    await settle();
  };
  const [digest, records] = [
    real.frontierDigest().subarray(0, 16),
    real.recordsDigest().subarray(0, 16),
  ];
  await send({ type: "hello", space: real.space.id, digest, records });
  const pass = async (ms: number): Promise<void> => {
    clock.advance(ms);
    sync.tick();
    await settle();
  };
  return { sent, send, pass };
}
