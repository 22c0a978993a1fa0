// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a peer that hangs can't keep a node from stopping.
 * Method: a session whose remote reads nothing, with more queued than its channel takes.
 */
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import { createSpace, issueGrant } from "@ctxmesh/membership";
import { parseDeviceKey, parseDocumentName, toHex } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import { startSync, systemClock, systemRandom } from "@ctxmesh/service";
import { encodeMessage } from "@ctxmesh/sync";
import { createChannelPair, createMemoryStore, silentLogger, waitFor } from "@ctxmesh/testing";
import { expect, test } from "vitest";

const signer = createDeviceSigner(new Uint8Array(32).fill(1));
const deps = { clock: systemClock, random: systemRandom, logger: silentLogger };

test("stopping does not wait for ever for a peer that takes nothing", async () => {
  const now = systemClock.now();
  const founded = createSpace({ name: "plant", creator: signer, now, random: systemRandom });
  const device = parseDeviceKey(toHex(signer.publicKey));
  const space = issueGrant(founded, signer, {
    device,
    service: "agent",
    role: "write",
    notBefore: now - 1_000,
  });
  const store = createMemoryStore();
  const verifier = createDeviceVerifier();
  const replica = await Replica.open({ ...deps, store, space, signer, verifier });
  const { sync, stop } = startSync(replica, deps, { relay: "tell", admits: () => true });
  const remote = { device, address: "memory", direction: "inbound", role: "agent" } as const;
  const pair = createChannelPair({ a: remote, b: remote });
  const ended = sync.run(pair.a);
  for (let i = 0; i < 20; i++) {
    const value = Buffer.from(systemRandom.bytes(30_000)).toString("hex");
    await replica.put(parseDocumentName("d"), [{ key: String(i), value }]);
  }
  const { incarnation } = replica;
  const hello = {
    type: "hello",
    space: space.id,
    digest: new Uint8Array(16),
    records: replica.recordsDigest().subarray(0, 16),
  } as const;
  await pair.b.send(encodeMessage(hello));
  const spans = [{ replica: device, incarnation, from: 1, to: 20 }];
  for (let i = 0; i < 4; i++) await pair.b.send(encodeMessage({ type: "pull", spans }));
  await waitFor(() => pair.a.bufferedBytes > 262_144, { timeoutMs: 5_000, what: "a full channel" });
  await stop();
  expect(sync.peers()).toHaveLength(1);
  pair.cut();
  await ended;
  expect(sync.peers()).toEqual([]);
});
