// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a hub takes in whoever has an invite, and nobody who was revoked.
 * Method: a real hub; joins and agents over real WebSockets.
 */
import { join } from "node:path";
import { encodeSignedRecord } from "@ctxmesh/codec";
import { createDeviceSigner } from "@ctxmesh/crypto";
import { createAgent, joinSpace } from "@ctxmesh/edge-agent";
import { createHub } from "@ctxmesh/hub";
import { encodeInvite, issueInvite, parseInvite, revokeDevice } from "@ctxmesh/membership";
import { parseDeviceKey, toHex } from "@ctxmesh/model";
import { systemClock, systemRandom } from "@ctxmesh/service";
import { createRecordingLogger, silentLogger, tempDir, waitFor } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { HUB_SEED, hubDevice, sealKeys, spaceOf, verifier } from "./fixture.ts";

const deps = { clock: systemClock, random: systemRandom, logger: silentLogger };
const now = systemClock.now();
const INVITE_SEED = new Uint8Array(32).fill(9);
const JOINER_SEED = new Uint8Array(32).fill(20);
const keyOf = (seed: Uint8Array): ReturnType<typeof parseDeviceKey> =>
  parseDeviceKey(toHex(createDeviceSigner(seed).publicKey));
const space = issueInvite(spaceOf(1, now - 1_000), hubDevice, {
  key: keyOf(INVITE_SEED),
  service: "agent",
  role: "write",
  now,
  notAfter: now + 3_600_000,
});

let dir: TempDir;
let cleanup: AsyncDisposableStack;
beforeEach(async () => {
  dir = await tempDir();
  cleanup = new AsyncDisposableStack();
  cleanup.defer(async () => dir.remove());
});
afterEach(async () => cleanup.disposeAsync());

test("a token that names a hub makes a member, which the hub cuts off once it is revoked", async () => {
  const logger = createRecordingLogger();
  const hub = await createHub(
    {
      version: "0.0.0",
      space,
      deviceSeed: HUB_SEED,
      storePath: join(dir.path, "hub"),
      socketPath: join(dir.path, "hub.sock"),
      listen: { host: "127.0.0.1", port: 0 },
      seal: sealKeys,
    },
    { ...deps, logger },
  );
  cleanup.defer(async () => hub.stop());
  const device = keyOf(HUB_SEED);
  const contacts = hub.addresses().map((address) => ({ address, device }));
  const token = encodeInvite(space, { seed: INVITE_SEED, contacts });
  const joined = await joinSpace(
    {
      invitation: parseInvite(token, verifier),
      deviceSeed: JOINER_SEED,
      storePath: join(dir.path, "join"),
      timeoutMs: 15_000,
    },
    deps,
  );
  const agent = await createAgent(
    {
      version: "0.0.0",
      space: joined,
      deviceSeed: JOINER_SEED,
      storePath: join(dir.path, "agent"),
      socketPath: join(dir.path, "agent.sock"),
      mesh: { listen: [], peers: [] },
      hubs: hub.addresses(),
      sources: [],
    },
    deps,
  );
  cleanup.defer(async () => agent.stop());
  await agent.service.put("d", [{ key: "k", value: 1 }]);
  const bound = { timeoutMs: 15_000, what: "the fact at the hub" };
  await waitFor(() => hub.service.get("d", "k") !== undefined, bound);

  const revoked = revokeDevice(joined, hubDevice, {
    device: keyOf(JOINER_SEED),
    heads: [],
    reason: "stolen",
    now: systemClock.now(),
  });
  const acts = revoked.acts.filter(({ act }) => act.kind === "revoke");
  const receipt = await hub.service.addActs(acts.map(({ record }) => encodeSignedRecord(record)));
  expect(receipt).toEqual({ added: 1, refused: [] });
  await waitFor(async () => (await hub.service.status()).peers.length === 0, {
    ...bound,
    what: "the cut",
  });
  await waitFor(() => hub.service.get("d", "k") === undefined, {
    ...bound,
    what: "its fact to go",
  });
  await waitFor(
    () =>
      logger.entries.some(
        ({ event, fields }) => event === "peer.refused" && fields["code"] === "AUTH_FAILED",
      ),
    { ...bound, what: "its next attempt to be refused" },
  );
});
