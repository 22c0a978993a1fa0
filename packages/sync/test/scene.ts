// SPDX-License-Identifier: Apache-2.0
/** A real node that faces a remote which the test plays by hand. */
import type { Channel } from "@ctxmesh/model";
import { encodeMessage } from "@ctxmesh/sync";
import type { SyncMessage } from "@ctxmesh/sync";
import { createVirtualClock } from "@ctxmesh/testing";
import type { VirtualClock } from "@ctxmesh/testing";
import { START_MS, createNode, face, settle, spaceOf } from "./mesh.ts";
import type { Node } from "./mesh.ts";

/** The device that the test plays. */
export const PEER = 1;
/** So many zeros. */
export const zeros = (length: number): Uint8Array => new Uint8Array(length);

/** A node, the remote that it faces, and a writer beside. */
export interface Scene {
  readonly node: Node;
  readonly clock: VirtualClock;
  readonly channel: Channel;
  readonly sent: ReturnType<typeof face>["sent"];
  readonly ended: Promise<void>;
  /** A writer that the node is not connected to, and its batches so far. */
  readonly writer: Node;
  readonly batches: readonly Uint8Array[];
  send(message: SyncMessage): Promise<void>;
}

/** The greeting of a remote that has what the node has. */
export const helloOf = ({ replica }: Node): SyncMessage => ({
  type: "hello",
  space: replica.space.id,
  digest: replica.frontierDigest().subarray(0, 16),
  records: replica.recordsDigest().subarray(0, 16),
});

/** A hash that no header has. */
export const HASH = "5a".repeat(16);

/** A node facing a remote that has said hello, unless `greet` is false. */
export async function createScene(greet = true): Promise<Scene> {
  const clock = createVirtualClock(START_MS);
  const space = spaceOf([0, PEER, 2]);
  const node = await createNode(0, { space, clock });
  const writer = await createNode(2, { space, clock });
  const batches: Uint8Array[] = [];
  writer.replica.onApplied(({ bytes }) => batches.push(bytes));
  const { channel, sent, ended } = face(node, PEER);
  const send = async (message: SyncMessage): Promise<void> => channel.send(encodeMessage(message));
  if (greet) await send(helloOf(node));
  await settle();
  return { node, clock, channel, sent, ended, writer, batches, send };
}

/** Events that the node has logged as warnings. */
export const warnings = ({ log }: Node): string[] =>
  log.filter(({ level }) => level === "warn").map(({ event }) => event);

/** Reads a channel to its end. */
export const bytesLeft = async (channel: Channel): Promise<number> => {
  let bytes = 0;
  for await (const message of channel.receive()) bytes += message.length;
  return bytes;
};
