// SPDX-License-Identifier: Apache-2.0
/** Nodes with a real replica in memory, behind a real socket; for the tests of what is built on the SDK, too. */
import { join } from "node:path";
import { createControlServer } from "@ctxmesh/api";
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import { createSpace, issueGrant } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { parseDeviceKey, toHex } from "@ctxmesh/model";
import type { Clock, DeviceKey, RandomSource } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import { connect } from "@ctxmesh/sdk";
import type { ContextClient } from "@ctxmesh/sdk";
import { NodeService, systemClock, systemRandom } from "@ctxmesh/service";
import { createMemoryStore, silentLogger, tempDir } from "@ctxmesh/testing";

type Signer = ReturnType<typeof createDeviceSigner>;

/** The key of the n-th device. */
export const signerOf = (n: number): Signer => createDeviceSigner(new Uint8Array(32).fill(n));

/** A device as others name it. */
export const deviceOf = (signer: Signer): DeviceKey => parseDeviceKey(toHex(signer.publicKey));

/** What a node is made of. */
export interface MemoryNodeOptions {
  readonly signer: Signer;
  readonly space: Space;
  readonly clock: Clock;
  readonly random: RandomSource;
}

/** Starts a node; `stack` ends it, and the client. */
export async function startMemoryNode(
  stack: AsyncDisposableStack,
  options: MemoryNodeOptions,
): Promise<{ readonly client: ContextClient; readonly replica: Replica }> {
  const dir = await tempDir();
  stack.defer(() => dir.remove());
  const replica = await Replica.open({
    ...options,
    store: createMemoryStore(),
    verifier: createDeviceVerifier(),
    logger: silentLogger,
  });
  const service = new NodeService({
    service: "agent",
    version: "0.0.0",
    replica,
    clock: options.clock,
    peers: () => [],
    addresses: () => [],
  });
  const server = createControlServer({ service, version: "0.0.0", logger: silentLogger });
  const socketPath = join(dir.path, "node.sock");
  await server.listenUnix(socketPath);
  stack.defer(() => server.close());
  const client = connect({ socketPath });
  stack.defer(() => {
    client.close();
  });
  return { client, replica };
}

/** Starts the one node of a space of its own, which may write; returns a client of it. */
export async function startNode(stack: AsyncDisposableStack): Promise<ContextClient> {
  const signer = signerOf(1);
  const now = systemClock.now() - 1_000;
  const founded = createSpace({ name: "plant", creator: signer, now, random: systemRandom });
  const grant = { service: "agent", role: "write", notBefore: now } as const;
  const space = issueGrant(founded, signer, { ...grant, device: deviceOf(signer) });
  const options = { signer, space, clock: systemClock, random: systemRandom };
  return (await startMemoryNode(stack, options)).client;
}
