// SPDX-License-Identifier: Apache-2.0
/** A node with a real replica in memory, behind a real socket. */
import { join } from "node:path";
import { createControlServer } from "@ctxmesh/api";
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import { createSpace, issueGrant } from "@ctxmesh/membership";
import { parseDeviceKey, toHex } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import { NodeService, systemClock, systemRandom } from "@ctxmesh/service";
import { connect } from "@ctxmesh/sdk";
import type { ContextClient } from "@ctxmesh/sdk";
import { createMemoryStore, silentLogger, tempDir } from "@ctxmesh/testing";

/** Starts a node; returns a client of it. */
export async function startNode(stack: AsyncDisposableStack): Promise<ContextClient> {
  const dir = await tempDir();
  stack.defer(() => dir.remove());
  const signer = createDeviceSigner(new Uint8Array(32).fill(1));
  const now = systemClock.now() - 1_000;
  const founded = createSpace({ name: "plant", creator: signer, now, random: systemRandom });
  const device = parseDeviceKey(toHex(signer.publicKey));
  const space = issueGrant(founded, signer, {
    device,
    service: "agent",
    role: "write",
    notBefore: now,
  });
  const replica = await Replica.open({
    signer,
    space,
    clock: systemClock,
    store: createMemoryStore(),
    verifier: createDeviceVerifier(),
    random: systemRandom,
    logger: silentLogger,
  });
  const service = new NodeService({
    service: "agent",
    version: "0.0.0",
    replica,
    clock: systemClock,
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
  return client;
}
