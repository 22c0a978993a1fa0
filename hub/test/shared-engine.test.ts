// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: several hubs on one engine are one: what one acknowledges all have, one of them seals, and nothing is acknowledged that the engine has not.
 * Method: real hubs and agents, with LevelDB and WebSockets; the engine is the model of the port, which can be switched off. The
 * same on PostgreSQL, with processes that are killed, is in test/e2e.
 */
import { join } from "node:path";
import { createDeviceSigner } from "@ctxmesh/crypto";
import { createAgent } from "@ctxmesh/edge-agent";
import type { Agent } from "@ctxmesh/edge-agent";
import { createHub } from "@ctxmesh/hub";
import type { Hub } from "@ctxmesh/hub";
import { envelopeHash, parseBundle, verifyBundle } from "@ctxmesh/ledger";
import { issueGrant, revokeDevice } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { MeshError, parseDeviceKey, toHex } from "@ctxmesh/model";
import type { DeviceKey, Engine, HintBus } from "@ctxmesh/model";
import { systemClock, systemRandom } from "@ctxmesh/service";
import {
  MemoryEngineData,
  createMemoryEngine,
  silentLogger,
  tempDir,
  waitFor,
} from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { hubDevice, rootFor, sealKeys, spaceOf } from "./fixture.ts";

const deps = { clock: systemClock, random: systemRandom, logger: silentLogger };
const DOC = "line-2/press-7";
const WAIT_MS = 15_000;
const now = systemClock.now();
const seedOf = (index: number): Uint8Array => new Uint8Array(32).fill(40 + index);
const deviceOf = (index: number): DeviceKey =>
  parseDeviceKey(toHex(createDeviceSigner(seedOf(index)).publicKey));
const HUB = 0;
const AGENT = 10;

/** Three hubs and three agents. */
const space = [
  ...[0, 1, 2].map((i) => ["hub", HUB + i] as const),
  ...[0, 1, 2].map((i) => ["agent", AGENT + i] as const),
].reduce(
  (known, [service, index]) =>
    issueGrant(known, hubDevice, {
      device: deviceOf(index),
      service,
      role: "write",
      notBefore: now - 86_400_000,
    }),
  spaceOf(1, now - 1_000),
);

/** Every hub's acts are in the shared log, too. */
const ACTS = space.acts.length;

let dir: TempDir;
let cleanup: AsyncDisposableStack;
let data: MemoryEngineData;
let isAway: boolean;
beforeEach(async () => {
  dir = await tempDir();
  cleanup = new AsyncDisposableStack();
  cleanup.defer(async () => dir.remove());
  data = new MemoryEngineData();
  isAway = false;
});
afterEach(async () => {
  isAway = false;
  await cleanup.disposeAsync();
});

/** An engine that fails while it is away. */
function connect(): Engine {
  const engine = createMemoryEngine(data, systemClock);
  return new Proxy(engine, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== "function") return member;
      return (...args: unknown[]): unknown => {
        if (isAway && name !== "close") {
          return Promise.reject(new MeshError("ENGINE_UNAVAILABLE", "it is away"));
        }
        return Reflect.apply(member, target, args) as unknown;
      };
    },
  });
}

async function startHub(
  index: number,
  engine?: Engine,
  as: Space = space,
  hints?: HintBus,
): Promise<Hub> {
  const hub = await createHub(
    {
      version: "0.0.0",
      space: as,
      deviceSeed: seedOf(HUB + index),
      storePath: join(dir.path, `hub-${String(index)}`),
      socketPath: join(dir.path, `hub-${String(index)}.sock`),
      listen: { host: "127.0.0.1", port: 0 },
      seal: sealKeys,
      ...(engine === undefined ? {} : { engine }),
      ...(hints === undefined ? {} : { hints }),
    },
    deps,
  );
  cleanup.defer(async () => hub.stop());
  return hub;
}

async function startAgent(index: number, hub: Hub): Promise<Agent> {
  const agent = await createAgent(
    {
      version: "0.0.0",
      space,
      deviceSeed: seedOf(AGENT + index),
      storePath: join(dir.path, `agent-${String(index)}`),
      socketPath: join(dir.path, `agent-${String(index)}.sock`),
      mesh: { listen: [], peers: [] },
      hubs: hub.addresses(),
      sources: [],
    },
    deps,
  );
  cleanup.defer(async () => agent.stop());
  return agent;
}

const valueAt = (node: Agent | Hub, key: string): unknown => node.service.get(DOC, key)?.value;
const until = async (what: string, holds: () => boolean | Promise<boolean>): Promise<void> =>
  waitFor(holds, { timeoutMs: WAIT_MS, what });
const put = async (
  agent: Agent,
  key: string,
  value: number,
  timeoutMs = WAIT_MS,
): Promise<unknown> => agent.service.put(DOC, [{ key, value }], { ack: "hub", timeoutMs });

test("what an agent gives to one hub, agents of another get, and it is in the engine when it is acknowledged", async () => {
  const [one, two] = [await startHub(0, connect()), await startHub(1, connect())];
  const [writer, reader] = [await startAgent(0, one), await startAgent(1, two)];
  await put(writer, "temperature", 21);
  expect(await connect().head(space.id)).toBe(ACTS + 1);
  await until("the fact at the other hub's agent", () => valueAt(reader, "temperature") === 21);
  await put(reader, "pressure", 3);
  await until("the way back", () => valueAt(writer, "pressure") === 3);
  const [a, b] = await Promise.all(
    [one, two].map(async (hub) => hub.service.status({ digest: true })),
  );
  expect(a?.digest).toBe(b?.digest);
  expect(a?.engine).toMatchObject({ reachable: true, head: ACTS + 2, applied: ACTS + 2 });
});

test("a hub that comes later has everything before it is ready", async () => {
  const one = await startHub(0, connect());
  const writer = await startAgent(0, one);
  for (let i = 0; i < 20; i++) await put(writer, `reading/${String(i)}`, i);
  const late = await startHub(2, connect());
  expect(valueAt(late, "reading/19")).toBe(19);
  const status = await late.service.status();
  expect(status.engine).toMatchObject({ head: ACTS + 20, applied: ACTS + 20 });
});

test("what a hub had before it was given an engine is in it afterwards", async () => {
  const alone = await startHub(0);
  const writer = await startAgent(0, alone);
  for (let i = 0; i < 5; i++) await put(writer, `reading/${String(i)}`, i);
  await alone.stop();
  await startHub(0, connect());
  const other = await startHub(1, connect());
  expect(valueAt(other, "reading/4")).toBe(4);
});

test("while the engine is away nothing is acknowledged as at a hub, reads go on, and it all comes through afterwards", async () => {
  const [one, two] = [await startHub(0, connect()), await startHub(1, connect())];
  const [writer, reader] = [await startAgent(0, one), await startAgent(1, two)];
  await put(writer, "before", 1);
  isAway = true;
  await expect(put(writer, "meanwhile", 2, 300)).rejects.toMatchObject({ code: "ACK_TIMEOUT" });
  await until(
    "the hub to notice",
    async () => (await one.service.status()).engine?.reachable === false,
  );
  expect(valueAt(one, "before")).toBe(1);
  expect(valueAt(writer, "meanwhile")).toBe(2);
  const { engine } = await one.service.status();
  expect(engine?.failure).toBe("it is away");
  isAway = false;
  await put(writer, "after", 3);
  await until(
    "both at the other agent",
    () => valueAt(reader, "meanwhile") === 2 && valueAt(reader, "after") === 3,
  );
});

test("a hub stops while the engine is away", async () => {
  const one = await startHub(0, connect());
  const writer = await startAgent(0, one);
  isAway = true;
  await expect(put(writer, "meanwhile", 2, 200)).rejects.toMatchObject({ code: "ACK_TIMEOUT" });
  await one.stop();
  isAway = false;
  const again = await startHub(0, connect());
  expect(valueAt(again, "meanwhile")).toBeUndefined();
});

test("one hub seals; when it goes another takes over, and the log has no fork", async () => {
  const [one, two] = [await startHub(0, connect()), await startHub(1, connect())];
  const writer = await startAgent(0, two);
  await put(writer, "temperature", 21);
  await until("the fact at the hub that seals", () => valueAt(one, "temperature") === 21);
  expect((await one.service.status()).engine?.sealingEpoch).toBe(1);
  await expect(two.sealing.seal()).rejects.toMatchObject({ code: "ENGINE_FENCED" });
  await one.sealing.seal();
  await until("the other hub to hear of it", async () => (await two.service.status()).seals === 1);
  const fact = await writer.service.put(DOC, [{ key: "temperature", value: 22 }], {
    ack: "hub",
    timeoutMs: WAIT_MS,
  });
  expect(fact).toBeDefined();
  await one.stop();
  await until(
    "the other hub to take over",
    async () => (await two.service.status()).engine?.sealingEpoch === 2,
  );
  await two.sealing.seal();
  const root = rootFor(space, now + 86_400_000);
  const [first, second] = [await two.sealing.bundle(1), await two.sealing.bundle(2)];
  const verdicts = [first, second].map((bundle) =>
    verifyBundle(bundle, root, { now: systemClock.now() }),
  );
  expect(verdicts.map(({ valid, failed }) => [valid, failed])).toEqual([
    [true, undefined],
    [true, undefined],
  ]);
  expect(verdicts[1]?.statement?.previous).toBe(envelopeHash(parseBundle(first).envelope));
});

test("an agent hears as sealed what another hub than its own has sealed", async () => {
  const [one, two] = [await startHub(0, connect()), await startHub(1, connect())];
  const writer = await startAgent(0, two);
  await put(writer, "temperature", 21);
  await until("the fact at the hub that seals", () => valueAt(one, "temperature") === 21);
  const sealed = writer.service.put(DOC, [{ key: "late", value: 1 }], {
    ack: "sealed",
    timeoutMs: WAIT_MS,
  });
  await until("the fact at the hub that seals", () => valueAt(one, "late") === 1);
  await one.sealing.seal();
  await sealed;
  expect((await two.service.status()).seals).toBe(1);
});

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
  data = new MemoryEngineData();
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
    data.lose(space.id, ACTS + 2);
    if (when === "while the hub is stopped") await startHub(0, connect());
    await until(
      "all records in the engine",
      async () => (await connect().head(space.id)) === ACTS + 5,
    );
    const late = await startHub(1, connect());
    expect(valueAt(late, "reading/4")).toBe(4);
  },
);

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
