// SPDX-License-Identifier: Apache-2.0
/** What a base has to say of what is void, for those who begin with it to judge what comes as those who saw it all. */
import { revokeDevice } from "@ctxmesh/membership";
import type { Replica } from "@ctxmesh/replica";
import { createMemoryStore } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import { bringBase, clock, fresh, hub, hub2, other, space } from "./base-kit.ts";
import { DOC, START_MS, actsSince, applied, creator, open, us, writer } from "./mesh.ts";
import type { Device } from "./mesh.ts";
import { stateOf } from "./upheaval.ts";

const member = async (
  device: Device,
): Promise<{ readonly at: Replica; readonly said: readonly Uint8Array[] }> => {
  const at = await open({ device, space, clock });
  return { at, said: applied(at, "local") };
};

const write = async (at: Replica, text: string): Promise<unknown> =>
  at.edit(DOC, (roots) => roots.text("notes").insert(roots.text("notes").length, text));

/** The acts after which nothing of a device stands. */
const against = (device: Device, author = creator): readonly Uint8Array[] =>
  actsSince(
    space,
    revokeDevice(space, author.signer, {
      device: device.key,
      heads: [],
      reason: "x",
      now: START_MS,
    }),
  );

/** A hub that has the batches and then hears that nothing of a device stands, and a newcomer that begins with its base. */
async function begin(
  batches: readonly Uint8Array[],
  revoked: Device,
): Promise<readonly [Replica, Replica]> {
  const store = createMemoryStore();
  const [at, to] = [await open({ device: hub, space, clock }), await fresh({ store })];
  for (const bytes of batches) expect(await at.receive(bytes)).toEqual({ kind: "accepted" });
  await at.addRecords({ acts: against(revoked) });
  await to.addRecords({ acts: against(revoked) });
  expect(await bringBase(at, to)).toEqual({ kind: "installed" });
  await to.close();
  const again = await fresh({ store: await store.reopen() });
  expect(stateOf(again)).toEqual(stateOf(at));
  return [at, again];
}

test("what follows a void edit of its own writer is void, and its batch counts", async () => {
  const [one, two] = [await member(us), await member(writer)];
  await write(one.at, "of one ");
  await two.at.receive(one.said[0] ?? new Uint8Array());
  await two.at.edit(DOC, (roots) => roots.text("notes").insert(3, "upon it "));
  const [at, to] = await begin([...one.said, ...two.said], us);
  await two.at.edit(DOC, (roots) => roots.text("notes").insert(0, "and on "));
  const later = two.said[1] ?? new Uint8Array();
  expect(await at.receive(later)).toEqual({ kind: "accepted" });
  expect(await to.receive(later)).toEqual({ kind: "accepted" });
  expect(stateOf(to)).toEqual(stateOf(at));
});

test("an edit of what is void is void, though it names no void batch", async () => {
  const [void1, between, upon] = [await member(us), await member(writer), await member(other)];
  await write(void1.at, "to go ");
  await between.at.receive(void1.said[0] ?? new Uint8Array());
  await between.at.put(DOC, [{ key: "a", value: 1 }]);
  for (const bytes of [...void1.said, ...between.said]) await upon.at.receive(bytes);
  await upon.at.edit(DOC, (roots) => roots.text("notes").insert(3, "upon it "));
  const [at, to] = await begin([...void1.said, ...between.said], us);
  const later = upon.said[0] ?? new Uint8Array();
  expect(await at.receive(later)).toEqual({ kind: "accepted" });
  expect(await to.receive(later)).toEqual({ kind: "accepted" });
  expect(stateOf(to)).toEqual(stateOf(at));
});

test("a header that was void alone is no reason to wait once its batch has come with a base, also after a restart", async () => {
  const [one, two, third] = [await member(us), await member(writer), await member(hub2)];
  await one.at.put(DOC, [{ key: "a", value: 1 }]);
  const [first] = one.said;
  for (const at of [two.at, third.at]) await at.receive(first ?? new Uint8Array());
  await two.at.put(DOC, [{ key: "b", value: 1 }]);
  await third.at.put(DOC, [{ key: "c", value: 1 }]);
  const at = await open({ device: hub, space, clock });
  for (const bytes of [...one.said, ...two.said]) await at.receive(bytes);

  const store = createMemoryStore();
  let to = await fresh({ store });
  // A manager says that the first does not count, and who takes the second needs only its header.
  await to.addRecords({ acts: against(us, other) });
  expect(await to.receive(two.said[0] ?? new Uint8Array())).toMatchObject({ kind: "held" });
  await to.addHeaders(await one.at.signedHeaders(one.at.heads()[0]?.hash ?? ("" as never)));
  await to.addRecords({});
  expect(to.heads()).toHaveLength(1);
  // The manager had been removed, so it counts; and now its batch is missing.
  const acts = [...against(us, other), ...against(other)];
  for (const each of [to, at]) await each.addRecords({ acts });
  expect(to.heads()).toEqual([]);
  expect(await bringBase(at, to)).toEqual({ kind: "installed" });
  expect(stateOf(to)).toEqual(stateOf(at));
  for (const each of [to, at]) {
    expect(await each.receive(third.said[0] ?? new Uint8Array())).toEqual({ kind: "accepted" });
  }
  await to.close();
  to = await fresh({ store: await store.reopen() });
  expect(stateOf(to)).toEqual(stateOf(at));
});
