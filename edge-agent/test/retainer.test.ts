// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: an agent lets go of what is sealed and old, of nothing else, and says the same facts as before.
 * Method: the retainer over a real replica, with what is sealed said by the test.
 */
import { Retainer } from "@ctxmesh/edge-agent";
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import { createSpace, issueGrant } from "@ctxmesh/membership";
import { parseDeviceKey, parseDocumentName, toHex } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import {
  createMemoryStore,
  createSeededRandom,
  createVirtualClock,
  silentLogger,
} from "@ctxmesh/testing";
import { expect, test } from "vitest";

const START_MS = Date.UTC(2026, 0, 1);
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const DOC = parseDocumentName("line-1/press-1");

/** A replica with four batches, a day apart, and a retainer for what is older than 36 hours of what the test says is sealed. */
async function build(sealed: () => number): Promise<{
  readonly replica: Replica;
  readonly hour: () => Promise<void>;
  readonly retainer: Retainer;
}> {
  const clock = createVirtualClock(START_MS);
  const random = createSeededRandom(5);
  const creator = createDeviceSigner(new Uint8Array(32).fill(1));
  const replica = await Replica.open({
    store: createMemoryStore(),
    space: issueGrant(createSpace({ name: "plant", creator, now: START_MS, random }), creator, {
      device: parseDeviceKey(toHex(creator.publicKey)),
      service: "agent",
      role: "write",
      notBefore: START_MS,
    }),
    signer: creator,
    verifier: createDeviceVerifier(),
    clock,
    random,
    logger: silentLogger,
  });
  for (let day = 1; day <= 4; day++) {
    await replica.put(DOC, [
      { key: "pressure", value: day },
      { key: `day-${String(day)}`, value: true },
    ]);
    clock.advance(DAY_MS);
  }
  let wake: (() => void) | undefined;
  let waits = 0;
  const retainer = new Retainer({
    replica,
    confirmations: {
      sealedFrontier: () => {
        const seq = sealed();
        const { device, incarnation } = replica;
        return seq === 0 ? [] : [{ replica: device, incarnation, seq }];
      },
    },
    sealedForMs: 36 * HOUR_MS,
    clock,
    logger: silentLogger,
    wait: async (_ms, signal) => {
      waits++;
      await new Promise<void>((resolve, reject) => {
        wake = resolve;
        signal.addEventListener("abort", () => {
          reject(signal.reason as Error);
        });
      });
    },
  });
  retainer.start();
  return {
    replica,
    retainer,
    hour: async () => {
      const before = waits;
      wake?.();
      await expect.poll(() => waits).toBe(before + 1);
    },
  };
}

test("what is sealed and old enough goes, and the facts stay", async () => {
  let sealed = 0;
  const { replica, retainer, hour } = await build(() => sealed);
  const { leaves } = replica.snapshot();

  await hour();
  expect(replica.retention().prunedBatches, "nothing is sealed").toBe(0);
  sealed = 2;
  await hour();
  expect(replica.retention().prunedBatches, "the seal covers two").toBe(2);
  sealed = 4;
  await hour();
  expect(replica.retention().prunedBatches, "the fourth is a day old").toBe(3);
  await hour();
  expect(replica.retention().prunedBatches).toBe(3);

  expect(replica.snapshot().leaves).toEqual(leaves);
  expect(replica.get(DOC, "pressure")?.value).toBe(4);
  await retainer.stop();
  await replica.close();
});

test("it ends with its agent, and a replica that is closed is no trouble", async () => {
  const { replica, retainer, hour } = await build(() => 4);
  await replica.close();
  await hour();
  await retainer.stop();
  expect(replica.retention().prunedBatches).toBe(0);
});
