// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what was taken on the word of a void header does not count while that batch counts again and is not here, however it
 * depends on it, and counts as soon as it is; until then the replica neither stops nor goes on without it.
 * Method: a manager revokes a writer, batches of whom nobody here has the bodies; then a creator removes the manager.
 */
import { decodeBatch, encodeBatch, encodeHeader, headerSigningInput } from "@ctxmesh/codec";
import { issueGrant, revokeDevice } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import type { Replica } from "@ctxmesh/replica";
import { createMemoryStore } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import {
  DAY_MS,
  DOC,
  START_MS,
  actsSince,
  applied,
  creator,
  deviceOf,
  forge,
  hlcAt,
  incarnationOf,
  open,
  spaceWith,
  us,
  writer,
} from "./mesh.ts";
import type { Device, Forged } from "./mesh.ts";

const manager = deviceOf(10);
const other = deviceOf(11);
const third = deviceOf(12);
const fourth = deviceOf(13);
const space = spaceWith([
  [us, "write"],
  [other, "write"],
  [third, "write"],
  [fourth, "write"],
  [writer, "write"],
  [manager, "manage"],
]);

const revoke = (author: Device, device: Device, from: Space = space): Space =>
  revokeDevice(from, author.signer, {
    device: device.key,
    heads: [],
    reason: "x",
    now: START_MS,
  });

const byManager = actsSince(space, revoke(manager, writer));
const managerOut = actsSince(space, revoke(creator, manager));

const at = (n: number, device: Device, deps: readonly Forged[] = [], prev?: Forged): Forged =>
  forge({
    space,
    device,
    incarnation: incarnationOf(n),
    deps: deps.map(({ hash }) => hash),
    seq: (prev?.header.seq ?? 0) + 1,
    prev: prev?.hash ?? null,
    hlc: hlcAt(n + (prev?.header.seq ?? 0)),
  });

/** What a replica has of a device's chain. */
const chainOf = (replica: Replica, device: Device): unknown =>
  replica.chains().find((chain) => chain.replica === device.key);

async function takeHeadersFrom(replica: Replica, source: Replica): Promise<void> {
  for (let round = 0; round < 3; round++) {
    for (const hash of replica.missing(0)) {
      await replica.addHeaders(await source.signedHeaders(hash));
    }
  }
}

describe("a batch that names a void one, which names one that counts again and is not here", () => {
  const deep = at(1, writer);
  const middle = at(2, third, [deep]);
  const top = at(3, us, [middle]);
  const next = at(3, us, [], top);

  async function setUp(): Promise<{ replica: Replica; reopen: () => Promise<Replica> }> {
    const source = await open({ space, device: other });
    for (const { bytes } of [deep, middle]) await source.receive(bytes);
    const acts = [...byManager, ...actsSince(space, revoke(creator, third))];
    await source.addRecords({ acts });
    const store = createMemoryStore();
    const replica = await open({ space, device: other, store });
    await replica.addRecords({ acts });
    expect(await replica.receive(top.bytes)).toMatchObject({ kind: "held" });
    await takeHeadersFrom(replica, source);
    await replica.put(DOC, [{ key: "own", value: 1 }]);
    expect(chainOf(replica, us)).toMatchObject({ seq: 1, void: 0 });
    await replica.addRecords({ acts: managerOut });
    const reopen = async (): Promise<Replica> => {
      await replica.close();
      return open({ space, device: other, store: await store.reopen() });
    };
    return { replica, reopen };
  }

  test("waits for it, and so does what comes next in its chain", async () => {
    const { replica } = await setUp();
    expect(chainOf(replica, us)).toMatchObject({ seq: 0, void: 1, reason: "waiting" });
    expect(await replica.receive(next.bytes)).toEqual({ kind: "held", reason: "missing" });
    await replica.receive(deep.bytes);
    await replica.addRecords({ acts: managerOut });
    await replica.put(DOC, [{ key: "own", value: 2 }]);
    await replica.put(DOC, [{ key: "own", value: 3 }]);
    expect(chainOf(replica, us)).toMatchObject({ seq: 2, void: 0 });
    expect(replica.counters().held).toBe(0);
  });

  test("is waited for by what has it behind other void ones alone", async () => {
    const { replica } = await setUp();
    const voids = at(5, third, [top]);
    const behind = at(6, fourth, [voids]);
    const source = await open({ space, device: other });
    for (const { bytes } of [deep, middle, top, voids]) await source.receive(bytes);
    await source.addRecords({ acts: actsSince(space, revoke(creator, third)) });
    await replica.receive(behind.bytes);
    await takeHeadersFrom(replica, source);
    await replica.put(DOC, [{ key: "own", value: 2 }]);
    expect(chainOf(replica, fourth)).toBeUndefined();
    await replica.receive(deep.bytes);
    for (let n = 0; n < 3; n++) await replica.put(DOC, [{ key: "own", value: n }]);
    expect(chainOf(replica, fourth)).toMatchObject({ seq: 1 });
  });

  test("waits as well after a restart, and not any more once that is void for another reason", async () => {
    const { reopen } = await setUp();
    const replica = await reopen();
    expect(chainOf(replica, us)).toMatchObject({ seq: 0, reason: "waiting" });
    const again = revoke(creator, writer, replica.space);
    await replica.addRecords({ acts: actsSince(replica.space, again) });
    expect(chainOf(replica, us)).toMatchObject({ seq: 1, void: 0 });
  });

  test("of this device itself has it go on in another chain", async () => {
    const source = await open({ space, device: other });
    for (const { bytes } of [deep, middle]) await source.receive(bytes);
    const acts = [...byManager, ...actsSince(space, revoke(creator, third))];
    await source.addRecords({ acts });
    const store = createMemoryStore();
    const replica = await open({ space, store });
    await replica.addRecords({ acts });
    const theirs = at(4, other, [middle]);
    await replica.receive(theirs.bytes);
    await takeHeadersFrom(replica, source);
    await replica.put(DOC, [{ key: "first", value: 1 }]);
    const before = replica.incarnation;
    await replica.addRecords({ acts: managerOut });
    expect(replica.incarnation).not.toBe(before);
    await replica.put(DOC, [{ key: "second", value: 2 }]);
    await replica.receive(deep.bytes);
    await replica.put(DOC, [{ key: "third", value: 3 }]);
    await replica.put(DOC, [{ key: "fourth", value: 4 }]);
    expect(replica.list({ doc: DOC, pattern: "f*" })).toHaveLength(3);
    expect(replica.evidence()).toEqual([]);
    await replica.verify();
  });
});

test("a batch that names one without a right waits for it once a new grant covers that", async () => {
  const granted = issueGrant(
    spaceWith([
      [us, "write"],
      [manager, "manage"],
    ]),
    manager.signer,
    {
      device: writer.key,
      service: "agent",
      role: "append",
      notBefore: START_MS - DAY_MS,
      now: START_MS,
    },
  );
  const base = spaceWith([
    [us, "write"],
    [manager, "manage"],
  ]);
  const removed = revoke(creator, manager, base);
  const [one, two] = [at(1, writer), at(2, us)];
  const named = at(
    3,
    us,
    [one, two].toSorted((a, b) => (a.hash < b.hash ? -1 : 1)),
  );
  const source = await open({ space: granted, device: us });
  await source.receive(one.bytes);
  const replica = await open({ space: removed, device: us });
  for (const each of [source, replica]) {
    await each.addRecords({ acts: [...actsSince(base, granted), ...actsSince(base, removed)] });
  }
  for (const { bytes } of [two, named]) await replica.receive(bytes);
  await takeHeadersFrom(replica, source);
  await replica.put(DOC, [{ key: "own", value: 1 }]);
  expect(replica.chains().map((chain) => chain.void)).toEqual([0, 0, 0]);
  const again = issueGrant(replica.space, creator.signer, {
    device: writer.key,
    service: "agent",
    role: "append",
    notBefore: START_MS - DAY_MS,
    now: START_MS,
  });
  await replica.addRecords({ acts: actsSince(replica.space, again) });
  expect(replica.chains().filter(({ reason }) => reason === "waiting")).not.toEqual([]);
  await replica.receive(one.bytes);
  await replica.put(DOC, [{ key: "own", value: 2 }]);
  await replica.put(DOC, [{ key: "own", value: 3 }]);
  expect(replica.chains().filter(({ reason }) => reason === "waiting")).toEqual([]);
});

test("a rich update that builds on what it does not name waits for that, too, and stops nobody", async () => {
  const author = await open({ space, device: writer });
  const builder = await open({ space, device: us });
  const [fromAuthor, fromBuilder] = [applied(author, "local"), applied(builder, "local")];
  await author.edit(DOC, (roots) => roots.text("notes").insert(0, "hello"));
  for (const bytes of fromAuthor) await builder.receive(bytes);
  await builder.edit(DOC, (roots) => roots.text("notes").insert(2, "XX"));
  const [honest] = fromBuilder;
  const unnamed = withoutDeps(us, honest ?? new Uint8Array());
  const named = forge({ space, device: third, deps: decodeBatch(honest ?? unnamed).header.deps });
  const replica = await open({ space, device: other });
  await replica.addRecords({ acts: byManager });
  await replica.receive(named.bytes);
  await takeHeadersFrom(replica, author);
  await replica.put(DOC, [{ key: "own", value: 1 }]);
  expect((await replica.receive(unnamed)).kind).toBe("accepted");
  expect(replica.content(DOC)).toEqual([]);
  const acts = [...managerOut, ...actsSince(space, revoke(creator, third))];
  await replica.addRecords({ acts });
  expect(replica.failure).toBeUndefined();
  expect(chainOf(replica, us)).toMatchObject({ seq: 0, void: 1, reason: "waiting" });
  for (const bytes of fromAuthor) await replica.receive(bytes);
  await replica.put(DOC, [{ key: "own", value: 2 }]);
  await replica.put(DOC, [{ key: "own", value: 3 }]);
  expect(chainOf(replica, us)).toMatchObject({ seq: 1, void: 0 });
  expect(replica.content(DOC)).toMatchObject([{ value: [{ insert: "heXXllo" }] }]);
});

/** The same batch, signed again, but that it names nothing. */
function withoutDeps(device: Device, bytes: Uint8Array): Uint8Array {
  const { header, bodies } = decodeBatch(bytes);
  const headerBytes = encodeHeader({ ...header, deps: [] });
  const signature = device.signer.sign(headerSigningInput(headerBytes));
  return encodeBatch({ headerBytes, signature, bodies });
}
