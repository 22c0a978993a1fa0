// SPDX-License-Identifier: Apache-2.0
/** Goal: hubs on one engine stay one when they, their stores or the engine change beneath them. Method: as in shared-engine.test.ts. */
import { envelopeHash, parseBundle, verifyBundle } from "@ctxmesh/ledger";
import { revokeDevice } from "@ctxmesh/membership";
import { MeshError } from "@ctxmesh/model";
import type { Engine, HintBus } from "@ctxmesh/model";
import { systemClock } from "@ctxmesh/service";
import { MemoryEngineData } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import { TERM_MS } from "../src/shared-sealer.ts";
import { hubDevice, rootFor } from "./fixture.ts";
import {
  eachTest,
  ACTS,
  AGENT,
  DOC,
  connect,
  deviceOf,
  now,
  put,
  space,
  startAgent,
  startHub,
  until,
  valueAt,
  mesh,
} from "./shared-kit.ts";

/** So long that three of it are more than the term of a lease. */
const STUCK_MS = 1_500;

eachTest();

test("the seals that a hub made before it was given an engine are there for all hubs, and the log goes on from them", async () => {
  const alone = await startHub(0);
  await alone.sealing.seal();
  await alone.sealing.seal();
  const second = await alone.sealing.bundle(2);
  await alone.stop();
  const one = await startHub(0, connect());
  const third = await one.sealing.seal();
  expect([third.sequence, third.logSize]).toEqual([3, 3]);
  const two = await startHub(1, connect());
  expect(await two.sealing.bundle(2)).toEqual(second);
  const { statement, valid } = verifyBundle(
    await two.sealing.bundle(3),
    rootFor(space, now + 86_400_000),
    { now: systemClock.now() },
  );
  expect([valid, statement?.previous]).toEqual([true, envelopeHash(parseBundle(second).envelope)]);
});

test("a hub that has sealed with an engine does not seal without it, nor when the engine has lost the seal", async () => {
  const shared = await startHub(0, connect());
  await shared.sealing.seal();
  await shared.stop();
  const alone = await startHub(0);
  await expect(alone.sealing.seal()).rejects.toMatchObject({ code: "SEALING_UNSAFE" });
  await alone.stop();
  mesh.data = new MemoryEngineData();
  const again = await startHub(0, connect());
  await expect(again.sealing.seal()).rejects.toMatchObject({
    code: "SEALING_UNSAFE",
    message: expect.stringContaining("seal 1") as string,
  });
  expect((await again.sealing.seal({ after: 0 })).sequence).toBe(1);
});

test("what a hub took in while it ran without the engine is there afterwards", async () => {
  const shared = await startHub(0, connect());
  await shared.stop();
  const alone = await startHub(0);
  const writer = await startAgent(0, alone);
  await put(writer, "meanwhile", 1);
  await writer.stop();
  await alone.stop();
  await startHub(0, connect());
  const other = await startHub(1, connect());
  expect(valueAt(other, "meanwhile")).toBe(1);
});

test.each(["while the hub runs", "while the hub is stopped"])(
  "an engine that lost records %s gets them back from the hub that had read them",
  async (when) => {
    const one = await startHub(0, connect());
    const writer = await startAgent(0, one);
    for (let i = 0; i < 5; i++) await put(writer, `reading/${String(i)}`, i);
    if (when === "while the hub is stopped") await one.stop();
    mesh.data.lose(space.id, ACTS + 2);
    if (when === "while the hub is stopped") await startHub(0, connect());
    await until(
      "all records in the engine",
      async () => (await connect().head(space.id)) === ACTS + 5,
    );
    const late = await startHub(1, connect());
    expect(valueAt(late, "reading/4")).toBe(4);
  },
);

test("neither a seal of little nor one that failed after a long wait makes a lease longer", async () => {
  const terms: number[] = [];
  let isStuck = false;
  const engine = new Proxy(connect(), {
    get(target, name) {
      if (name === "write" && isStuck) {
        return async (): Promise<void> => {
          await new Promise((resolve) => setTimeout(resolve, STUCK_MS));
          throw new MeshError("ENGINE_UNAVAILABLE", "it is stuck");
        };
      }
      const member = Reflect.get(target, name, target) as (...args: unknown[]) => unknown;
      return (...args: unknown[]): unknown => {
        if (name === "acquire" && args[0] === space.id) terms.push(args[2] as number);
        return member(...args);
      };
    },
  });
  const hub = await startHub(0, engine);
  await hub.sealing.seal();
  isStuck = true;
  await expect(hub.sealing.seal()).rejects.toMatchObject({ code: "ENGINE_UNAVAILABLE" });
  isStuck = false;
  await until(
    "the hub to lead again",
    async () => (await hub.service.status()).engine?.sealingEpoch !== undefined,
  );
  await hub.sealing.seal();
  expect(Math.max(...terms)).toBe(TERM_MS);
});

test("a hub that knew of a revocation first takes in what builds on what the others had counted before", async () => {
  const one = await startHub(0, connect());
  const revoked = await startAgent(1, one);
  await put(revoked, "cut off", 2);
  const writer = await startAgent(0, one);
  await until("what is cut off at the writer", () => valueAt(writer, "cut off") === 2);
  await put(writer, "built on it", 3);
  const revocation = {
    device: deviceOf(AGENT + 1),
    reason: "stolen",
    heads: [],
    now: systemClock.now(),
  };
  const two = await startHub(1, connect(), revokeDevice(space, hubDevice, revocation));
  await until("what builds on it", () => valueAt(two, "built on it") === 3);
  await until("both the same", async () => {
    const [a, b] = await Promise.all(
      [one, two].map(async (hub) => hub.service.status({ digest: true })),
    );
    return a?.digest === b?.digest && valueAt(one, "cut off") === undefined;
  });
  const { engine } = await two.service.status();
  await until("nothing that waits", async () => {
    const { head, applied } = (await two.service.status()).engine ?? {};
    return head === applied;
  });
  expect(engine?.reachable).toBe(true);
});

test("a read with the token of a write at another hub's agent waits until it is there", async () => {
  const [one, two] = [await startHub(0, connect()), await startHub(1, connect())];
  const [writer, reader] = [await startAgent(0, one), await startAgent(1, two)];
  for (let i = 0; i < 20; i++) {
    const { token = "" } = await writer.service.put(DOC, [{ key: "count", value: i }]);
    for (const node of [two, reader, one]) {
      await node.service.covered(token);
      expect(valueAt(node, "count")).toBe(i);
    }
  }
});

test("a read with the token of a write that does not come ends when the node does, or its caller has had enough", async () => {
  const one = await startHub(0, connect());
  const away = `${deviceOf(AGENT)}.${"0".repeat(32)}.1`;
  const enough = new AbortController();
  const [called, ended] = [
    one.service.covered(away, { signal: enough.signal }),
    one.service.covered(away),
  ].map(async (wait) =>
    wait.then(
      () => "covered",
      (error: unknown) => error,
    ),
  );
  enough.abort(new MeshError("ABORTED", "enough"));
  expect(await called).toMatchObject({ code: "ABORTED" });
  await one.stop();
  expect(await ended).toMatchObject({ code: "CLOSED" });
});

test.each([
  ["loses every hint", 0],
  ["invents positions all the time", Number.MAX_SAFE_INTEGER],
])("a bus that %s is in nobody's way", async (_, invented) => {
  let looks = 0;
  const counted = (): Engine => {
    const engine = connect();
    return new Proxy(engine, {
      get(target, name) {
        if (name === "read") looks++;
        return Reflect.get(target, name, target) as unknown;
      },
    });
  };
  const bus = (): HintBus => {
    let timer: NodeJS.Timeout | undefined;
    return {
      tell: () => undefined,
      listen: (_space, listener) => {
        let position = invented;
        if (invented > 0) timer = setInterval(() => listener(position--), 1);
        return () => {
          clearInterval(timer);
        };
      },
      close: async () => {
        clearInterval(timer);
        await Promise.resolve();
      },
    };
  };
  const one = await startHub(0, counted(), space, bus());
  const two = await startHub(1, counted(), space, bus());
  const writer = await startAgent(0, one);
  const since = performance.now();
  looks = 0;
  for (let i = 0; i < 20; i++) {
    const { token = "" } = await writer.service.put(DOC, [{ key: "count", value: i }]);
    await two.service.covered(token);
  }
  // No more than two hubs may look, each some 5 ms after its last look.
  expect(looks).toBeLessThan(100 + (performance.now() - since) / 2);
});

test("an act that a hub has from its space file comes to the others, whenever the file was changed", async () => {
  const one = await startHub(0, connect());
  const two = await startHub(1, connect());
  await two.stop();
  const revocation = { device: deviceOf(AGENT), reason: "sold", heads: [], now: systemClock.now() };
  await startHub(1, connect(), revokeDevice(space, hubDevice, revocation));
  await until("the revocation", () =>
    one.service.membership().members.some(({ state }) => state === "revoked"),
  );
  expect(await connect().head(space.id)).toBe(ACTS + 1);
});
