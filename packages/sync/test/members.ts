// SPDX-License-Identifier: Apache-2.0
/** Membership acts and forked chains for tests with real replicas. */
import { encodeSignedRecord } from "@ctxmesh/codec";
import { issueGrant, revokeDevice } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { createSeededRandom } from "@ctxmesh/testing";
import { createNode, creator, deviceOf } from "./mesh.ts";
import type { Node, NodeOptions } from "./mesh.ts";

/** Hands a node the acts of a space that it does not have. */
export const adopt = async ({ replica }: Node, space: Space): Promise<unknown> =>
  replica.addRecords({ acts: space.acts.map(({ record }) => encodeSignedRecord(record)) });

/** The creator revokes device `n` at a node, which keeps what it has of it. */
export async function revokeAt(node: Node, n: number, now: number): Promise<void> {
  const device = deviceOf(n).key;
  const heads = node.replica.heads().filter(({ replica }) => replica === device);
  await adopt(
    node,
    revokeDevice(node.replica.space, creator, { device, heads, reason: "test", now }),
  );
}

/** The creator grants device `n` the right to write at a node. */
export const grantAt = async (node: Node, n: number, now: number): Promise<unknown> =>
  adopt(
    node,
    issueGrant(node.replica.space, creator, {
      device: deviceOf(n).key,
      service: "agent",
      role: "write",
      notBefore: now,
    }),
  );

/** The batches that a node writes. */
export function batchesOf(node: Node): readonly Uint8Array[] {
  const batches: Uint8Array[] = [];
  node.replica.onApplied(({ bytes }) => batches.push(bytes));
  return batches;
}

/**
 * Two processes that run as device `n` from copies of one state: what both wrote is the same for `common`
 * batches, then each goes on alone.
 */
export async function fork(
  n: number,
  options: NodeOptions,
  [common, left, right]: readonly [common: number, left: number, right: number],
): Promise<readonly [readonly Uint8Array[], readonly Uint8Array[]]> {
  const write = async (own: number, name: string): Promise<readonly Uint8Array[]> => {
    const node = await createNode(n, options);
    const batches = batchesOf(node);
    for (let i = 0; i < common; i++) await node.put(`key-${String(i % 5)}`, String(i));
    for (let i = 0; i < own; i++) await node.put(`key-${String(i % 5)}`, `${name} ${String(i)}`);
    await node.replica.close();
    return batches;
  };
  return [await write(left, "left"), await write(right, "right")];
}

/** A process that runs as device `n` from a copy of a state: it begins in the same incarnation as every other copy. */
export async function createCopy(n: number, seed: number, options: NodeOptions): Promise<Node> {
  const own = createSeededRandom(seed);
  let calls = 0;
  const bytes = (length: number): Uint8Array =>
    calls++ === 0 ? new Uint8Array(length).fill(7) : own.bytes(length);
  return createNode(n, { ...options, random: { bytes } });
}

/** A node takes batches in, in order. */
export async function receiveAll(
  { replica }: Node,
  batches: readonly Uint8Array[],
): Promise<readonly string[]> {
  const outcomes = await Promise.all(batches.map(async (batch) => replica.receive(batch)));
  return outcomes.map(({ kind }) => kind);
}
