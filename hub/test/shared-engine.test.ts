// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: several hubs on one engine are one: what one acknowledges all have, one of them seals, and nothing is acknowledged that the engine has not.
 * Method: real hubs and agents, with LevelDB and WebSockets; the engine is the model of the port, which can be switched off. The
 * same on PostgreSQL, with processes that are killed, is in test/e2e.
 */
import { envelopeHash, parseBundle, verifyBundle } from "@ctxmesh/ledger";
import { systemClock } from "@ctxmesh/service";
import { expect, test } from "vitest";
import { rootFor } from "./fixture.ts";
import {
  eachTest,
  ACTS,
  DOC,
  WAIT_MS,
  connect,
  now,
  put,
  space,
  startAgent,
  startHub,
  until,
  valueAt,
  mesh,
} from "./shared-kit.ts";

eachTest();

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
  mesh.isAway = true;
  await expect(put(writer, "meanwhile", 2, 300)).rejects.toMatchObject({ code: "ACK_TIMEOUT" });
  await until(
    "the hub to notice",
    async () => (await one.service.status()).engine?.reachable === false,
  );
  expect(valueAt(one, "before")).toBe(1);
  expect(valueAt(writer, "meanwhile")).toBe(2);
  const { engine } = await one.service.status();
  expect(engine?.failure).toBe("it is away");
  mesh.isAway = false;
  await put(writer, "after", 3);
  await until(
    "both at the other agent",
    () => valueAt(reader, "meanwhile") === 2 && valueAt(reader, "after") === 3,
  );
});

test("a hub stops while the engine is away", async () => {
  const one = await startHub(0, connect());
  const writer = await startAgent(0, one);
  mesh.isAway = true;
  await expect(put(writer, "meanwhile", 2, 200)).rejects.toMatchObject({ code: "ACK_TIMEOUT" });
  await one.stop();
  mesh.isAway = false;
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
