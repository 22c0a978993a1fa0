// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: whatever makes a batch void, honest batches that name it go through everywhere, also where it never was.
 * Method: a manager whom a creator removed without knowing what it had granted; replicas that had applied what came under that
 * grant, and replicas that never did, must agree.
 */
import {
  decodeBatch,
  decodeBody,
  encodeBatch,
  encodeBody,
  encodeHeader,
  headerSigningInput,
} from "@ctxmesh/codec";
import type { Header, Role } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { issueGrant, revokeDevice } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { toHex } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { createMemoryStore, createVirtualClock } from "@ctxmesh/testing";
import type { VirtualClock } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import { clientOf } from "../src/parts.ts";
import {
  actsSince,
  DAY_MS,
  DOC,
  START_MS,
  applied,
  creator,
  deviceOf,
  forge,
  hlcAt,
  open,
  spaceWith,
  us,
  writer,
} from "./mesh.ts";
import type { Device, Forged } from "./mesh.ts";

const HOUR = 3_600_000;
const manager = deviceOf(10);
const other = deviceOf(11);

const grantTo = (
  from: Space,
  author: Device,
  role: Role,
  [notBefore, notAfter]: readonly [number, number],
): Space =>
  issueGrant(from, author.signer, {
    device: writer.key,
    service: "agent",
    role,
    notBefore: START_MS + notBefore,
    notAfter: START_MS + notAfter,
    now: START_MS,
  });

const removeManager = (from: Space): Space =>
  revokeDevice(from, creator.signer, {
    device: manager.key,
    heads: [],
    reason: "left",
    now: START_MS,
  });

const insert = (replica: Replica, text: string): Promise<unknown> =>
  replica.edit(DOC, (roots) => roots.text("notes").insert(0, text));

const stateOf = (replica: Replica): unknown => ({
  frontier: toHex(replica.frontierDigest()),
  records: toHex(replica.recordsDigest()),
  leaves: replica.snapshot().leaves,
});

async function receiveAll(replica: Replica, batches: readonly Uint8Array[]): Promise<void> {
  for (const bytes of batches) await replica.receive(bytes);
}

/** Gives a replica everything that there is, and what it asks for. */
async function catchUp(
  replica: Replica,
  from: readonly Replica[],
  batches: readonly Uint8Array[],
  clock: VirtualClock,
): Promise<void> {
  for (let round = 0; round < 4; round++) {
    await receiveAll(replica, batches);
    clock.advance(2_000);
    for (const one of from) {
      for (const hash of replica.missing(0)) {
        await replica.addHeaders(await one.signedHeaders(hash));
      }
    }
    replica.retryTimed();
  }
  await replica.put(DOC, [{ key: `caught up ${replica.device}`, value: 1 }]);
}

async function expectSameAfterRestart(
  replica: Replica,
  reopen: () => Promise<Replica>,
): Promise<void> {
  const before = stateOf(replica);
  await replica.close();
  expect(stateOf(await reopen())).toEqual(before);
}

describe("a batch with a part that its device had no right to", () => {
  const roles = [
    [us, "write"],
    [other, "write"],
    [manager, "manage"],
    [writer, "append"],
  ] as const;
  const base = spaceWith(roles);
  const raised = grantTo(base, manager, "write", [-DAY_MS, DAY_MS]);
  const removed = removeManager(base);

  test("is void where it was applied and where it comes later, and what names it goes through", async () => {
    const clock = createVirtualClock(START_MS);
    const store = createMemoryStore();
    const had = await open({ space: raised, clock });
    const author = await open({ device: writer, space: raised, clock });
    const never = await open({ device: other, space: removed, clock, store });
    const [fromHad, fromAuthor] = [applied(had, "local"), applied(author, "local")];
    await insert(had, "abc");
    await receiveAll(author, fromHad);
    await author.edit(DOC, (roots) => roots.text("notes").delete(0, 1));
    await author.put(DOC, [{ key: "behind", value: 1 }]);
    await receiveAll(had, fromAuthor);
    await had.edit(DOC, (roots) => roots.text("notes").insert(1, "on what is left "));
    await had.put(DOC, [{ key: "k", value: "acknowledged" }]);
    for (const replica of [had, author, never]) {
      await replica.addRecords({ acts: [...actsSince(base, removed), ...actsSince(base, raised)] });
    }
    expect(had.chains().find(({ replica }) => replica === writer.key)).toMatchObject({
      void: 2,
      reason: "grant",
    });
    const outcome = await never.receive(fromAuthor[0] ?? new Uint8Array());
    expect(outcome).toMatchObject({ kind: "held" });
    await catchUp(never, [had], fromHad, clock);
    expect(never.get(DOC, "k")?.value).toBe("acknowledged");
    expect(never.content(DOC)).toEqual(had.content(DOC));
    expect(never.counters().held).toBe(0);
    // Its author states again, under the right that it still has, what stood behind.
    expect(author.get(DOC, "behind")?.value).toBe(1);
    const all = [...fromHad, ...fromAuthor];
    await catchUp(had, [never, author], all, clock);
    await catchUp(never, [had, author], all, clock);
    expect(had.get(DOC, "behind")?.value).toBe(1);
    expect(never.get(DOC, "behind")?.value).toBe(1);
    await expectSameAfterRestart(never, async () =>
      open({ device: other, space: removed, clock, store: await store.reopen() }),
    );
  });

  test("counts again, wherever it is kept, once the right is there", async () => {
    const clock = createVirtualClock(START_MS);
    const had = await open({ space: raised, clock });
    const author = await open({ device: writer, space: raised, clock });
    const never = await open({ device: other, space: removed, clock });
    const [fromHad, fromAuthor] = [applied(had, "local"), applied(author, "local")];
    await insert(had, "abc");
    await receiveAll(author, fromHad);
    await author.edit(DOC, (roots) => roots.text("notes").delete(0, 1));
    await receiveAll(had, fromAuthor);
    await had.put(DOC, [{ key: "k", value: 1 }]);
    for (const replica of [had, never]) {
      await replica.addRecords({ acts: [...actsSince(base, removed), ...actsSince(base, raised)] });
    }
    await catchUp(never, [had], [...fromHad, ...fromAuthor], clock);
    expect(never.content(DOC)).toMatchObject([{ value: [{ insert: "abc" }] }]);
    const again = grantTo(never.space, creator, "write", [-DAY_MS, DAY_MS]);
    for (const replica of [had, never]) {
      await replica.addRecords({ acts: actsSince(never.space, again) });
    }
    expect(never.content(DOC)).toMatchObject([{ value: [{ insert: "bc" }] }]);
    expect(had.content(DOC)).toEqual(never.content(DOC));
  });

  test("is not kept when nobody asked for it", async () => {
    const author = await open({ device: writer, space: raised });
    const had = await open({ space: raised });
    const [fromHad, fromAuthor] = [applied(had, "local"), applied(author, "local")];
    await insert(had, "abc");
    await receiveAll(author, fromHad);
    await author.edit(DOC, (roots) => roots.text("notes").delete(0, 1));
    const never = await open({ device: other, space: removed });
    await receiveAll(never, [...fromHad, ...fromAuthor]);
    expect(never.counters().refused.grant).toBe(1);
    await never.put(DOC, [{ key: "own", value: 1 }]);
    expect(never.chains().map(({ replica }) => replica)).not.toContain(writer.key);
  });
});

describe("a batch behind a void one", () => {
  const base = spaceWith([
    [us, "write"],
    [other, "write"],
    [manager, "manage"],
  ]);
  const early = grantTo(base, manager, "append", [-DAY_MS, HOUR]);
  const late = grantTo(removeManager(base), creator, "append", [2 * HOUR, 9 * HOUR]);
  const acts = [...actsSince(base, late), ...actsSince(base, early)];

  test("is void, too, and what names it goes through where neither is", async () => {
    const clock = createVirtualClock(START_MS + 3 * HOUR);
    const had = await open({ space: early, clock });
    await had.addRecords({
      acts: actsSince(early, grantTo(early, creator, "append", [2 * HOUR, 9 * HOUR])),
    });
    const fromHad = applied(had, "local");
    const chain: Forged[] = [];
    for (const [i, ms] of [0, 2.5 * HOUR, 2.6 * HOUR].entries()) {
      const prev = chain.at(-1)?.hash ?? null;
      chain.push(forge({ space: base, seq: i + 1, prev, hlc: hlcAt(ms) }));
    }
    await receiveAll(
      had,
      chain.map(({ bytes }) => bytes),
    );
    await had.put(DOC, [{ key: "k", value: "acknowledged" }]);
    await had.addRecords({ acts });
    expect(had.get(DOC, "forged")).toBeUndefined();
    const store = createMemoryStore();
    const never = await open({ device: other, space: late, clock, store });
    await never.addRecords({ acts: had.readRecords(never.recordIds()).acts });
    await catchUp(never, [had], [...fromHad, ...chain.map(({ bytes }) => bytes)], clock);
    expect(never.get(DOC, "k")?.value).toBe("acknowledged");
    expect(never.missing(0)).toEqual([]);
    // What comes of the chain is void, and its sender not to blame.
    expect(await never.receive(chain[2]?.bytes ?? new Uint8Array())).toMatchObject({
      kind: "refused",
      reason: "grant",
    });
    await expectSameAfterRestart(never, async () =>
      open({ device: other, space: late, clock, store: await store.reopen() }),
    );
  });

  test("of this device is stated again in a new chain, as far as a grant that stands covers it", async () => {
    const clock = createVirtualClock(START_MS);
    const store = createMemoryStore();
    const device = writer;
    const author = await open({ device, space: early, clock, store });
    const never = await open({ device: other, space: late, clock });
    await never.addRecords({ acts });
    const written = applied(author, "local");
    await author.put(DOC, [{ key: "old", value: 1 }]);
    await author.addRecords({ acts });
    expect(author.get(DOC, "old")).toBeUndefined();
    clock.advance(3 * HOUR);
    await author.put(DOC, [{ key: "new", value: "acknowledged" }]);
    await author.close();
    const again = await open({ device, space: late, clock, store: await store.reopen() });
    written.push(...(await writtenBy(again, [{ key: "newer", value: "acknowledged" }])));
    await catchUp(never, [again], written, clock);
    expect(never.get(DOC, "new")?.value).toBe("acknowledged");
    expect(never.get(DOC, "newer")?.value).toBe("acknowledged");
    expect(never.counters().held).toBe(0);
  });
});

async function writtenBy(
  replica: Replica,
  facts: readonly { readonly key: string; readonly value: string }[],
): Promise<Uint8Array[]> {
  const written = applied(replica, "local");
  await replica.put(DOC, facts);
  return written;
}

describe("what turns out to be no edit once what it builds on counts again", () => {
  const misuser = deviceOf(12);
  const space = spaceWith([
    [us, "write"],
    [other, "write"],
    [manager, "manage"],
    [writer, "write"],
    [misuser, "write"],
  ]);

  test("is void from then on, on who had taken it and on who hears of it through others", async () => {
    const clock = createVirtualClock(START_MS);
    const author = await open({ device: writer, space, clock });
    const builder = await open({ device: misuser, space, clock });
    const [fromAuthor, fromBuilder] = [applied(author, "local"), applied(builder, "local")];
    await insert(author, "hello");
    await receiveAll(builder, fromAuthor);
    await builder.edit(DOC, (roots) => roots.text("notes").insert(2, "x"));
    const good = decodeBatch(fromBuilder[0] ?? new Uint8Array());
    // Its neighbours the wrong way round, which nobody can tell where they are not.
    const client = clientOf(author.device, author.incarnation);
    const bad = forgeRich(
      misuser,
      good.header,
      swapClocks(good.bodies[0] ?? undefined, client, [1, 2]),
    );
    const byManager = revokeDevice(space, manager.signer, {
      device: writer.key,
      heads: [],
      reason: "spite",
      now: START_MS,
    });
    const store = createMemoryStore();
    const had = await open({ space: byManager, clock, store });
    const fromHad = applied(had, "local");
    await receiveAll(had, [...fromAuthor, bad]);
    for (const hash of had.missing(0)) await had.addHeaders(await author.signedHeaders(hash));
    await had.put(DOC, [{ key: "k", value: "acknowledged" }]);
    expect(had.counters().held).toBe(0);
    await had.addRecords({ acts: actsSince(space, removeManager(space)) });
    await receiveAll(had, fromAuthor);
    await had.put(DOC, [{ key: "k2", value: 1 }]);
    expect(had.failure).toBeUndefined();
    expect(had.get(DOC, "k")?.value).toBe("acknowledged");
    expect(had.content(DOC)).toMatchObject([{ value: [{ insert: "hello" }] }]);
    expect(had.chains().find(({ replica }) => replica === misuser.key)).toMatchObject({
      void: 1,
      reason: "content",
    });
    const never = await open({ device: other, space, clock });
    await never.addRecords(had.readRecords(never.recordIds()));
    await catchUp(never, [had], [...fromAuthor, ...fromHad], clock);
    expect(never.get(DOC, "k2")?.value).toBe(1);
    expect(never.counters().held).toBe(0);
    await expectSameAfterRestart(had, async () =>
      open({ space: byManager, clock, store: await store.reopen() }),
    );
  });
});

/** An unsigned integer as Yjs writes it: 7 bits at a time, the lowest first. */
function varUint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push(128 + (rest % 128));
  return [...bytes, rest];
}

/** A body with a rich update, in which two operations of a client change places. */
function swapClocks(
  body: Uint8Array | undefined,
  client: number,
  [one, two]: readonly [number, number],
): Uint8Array {
  const update = Buffer.from(decodeBody(body ?? new Uint8Array()));
  const at = [one, two].map((clock) => {
    const name = Buffer.from([...varUint(client), ...varUint(clock)]);
    const found = update.indexOf(name);
    if (found < 0) throw new Error("not in the update");
    return found + name.length - 1;
  });
  update[at[0] ?? 0] = two;
  update[at[1] ?? 0] = one;
  return encodeBody(new Uint8Array(update));
}

/** A batch like one that somebody wrote, with another body. */
function forgeRich(device: Device, like: Header, body: Uint8Array): Uint8Array {
  const [section] = like.sections;
  if (section === undefined) throw new Error("no section");
  const sections = [{ ...section, bodyHash: sha256(body), bodyLen: body.length }];
  const headerBytes = encodeHeader({ ...like, sections });
  const signature = device.signer.sign(headerSigningInput(headerBytes));
  return encodeBatch({ headerBytes, signature, bodies: [body] });
}
