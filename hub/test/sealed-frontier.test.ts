// SPDX-License-Identifier: Apache-2.0
/** Goal: what the hub says is sealed is what its newest seal covers, also after a restart. */
import type { FrontierHead } from "@ctxmesh/ledger";
import { parseDocumentName } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import {
  createMemoryStore,
  createSeededRandom,
  createVirtualClock,
  silentLogger,
} from "@ctxmesh/testing";
import type { MemoryStore } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import { Sealer } from "../src/sealer.ts";
import { START_MS, sealKeys, spaceOf, verifier, writerDevice } from "./fixture.ts";

const DOC = parseDocumentName("line-2/press-7");

/** One process life on a store. */
async function live(
  store: MemoryStore,
): Promise<{ readonly replica: Replica; readonly sealer: Sealer }> {
  const clock = createVirtualClock(START_MS);
  const parts = { store, clock, random: createSeededRandom(5), logger: silentLogger };
  const space = spaceOf();
  const replica = await Replica.open({ ...parts, space, signer: writerDevice, verifier });
  return { replica, sealer: await Sealer.open({ ...parts, ...sealKeys, replica }) };
}

test("whoever follows hears the frontier of the newest seal: now, after each one, and in the next life", async () => {
  const store = createMemoryStore();
  const { replica, sealer } = await live(store);
  const heard: (readonly FrontierHead[])[] = [];
  sealer.onSealed((frontier) => heard.push(frontier));
  expect(heard).toEqual([[]]);
  await replica.put(DOC, [{ key: "temperature", value: 1 }]);
  await sealer.seal();
  await replica.put(DOC, [{ key: "temperature", value: 2 }]);
  expect(heard).toHaveLength(2);
  const [sealed] = heard[1] ?? [];
  expect(sealed).toMatchObject({ replica: replica.device, seq: 1 });
  const again = await live(await store.reopen());
  again.sealer.onSealed((frontier) => heard.push(frontier));
  expect(heard[2]).toHaveLength(1);
  expect(sealed).toMatchObject(heard[2]?.[0] ?? {});
});
