// SPDX-License-Identifier: Apache-2.0
import type { Replica } from "@ctxmesh/replica";
import { createProjections } from "@ctxmesh/replica";
import { createSeededRandom, createVirtualClock, silentLogger } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import * as Y from "yjs";
import { Browser } from "./browser.ts";
import { START_MS, open as openReplica } from "./mesh.ts";
import { DOC, open, us, writer } from "./rich-support.ts";

const deps = {
  clock: createVirtualClock(START_MS),
  random: createSeededRandom(5),
  logger: silentLogger,
};
const textOf = (replica: Replica): string =>
  JSON.stringify(replica.content(DOC).find(({ root }) => root === "notes")?.value);

test("one", async () => {
  const { replica } = await open({ device: us });
  await replica.put(DOC, [{ key: "temp", value: 1 }]);
  await replica.edit(DOC, (roots) => roots.text("notes").insert(0, "native "));
  const projections = createProjections(replica, deps);
  const a = new Browser("a");
  const b = new Browser("b");
  await a.connect(projections);
  await b.connect(projections);
  a.see();
  b.see();
  a.send();
  b.send();
  await a.settle();
  await b.settle();
  console.log(JSON.stringify(a.content()), a.errors);
  a.text.insert(0, "from a ");
  b.text.insert(0, "from b ");
  a.facts.set("temp", 2);
  a.text.insert(3, "xx");
  a.facts.set("other", { x: [1, null] });
  b.facts.delete("temp");
  a.send();
  b.send();
  await a.settle();
  await b.settle();
  a.see();
  b.see();
  console.log(JSON.stringify(a.content()), a.errors, b.errors);
  console.log(
    JSON.stringify(b.content()),
    textOf(replica),
    replica.list({ doc: DOC }).map(({ key, value }) => [key, value]),
  );
  a.text.format(0, 4, { bold: true });
  const m = new Y.Map();
  a.doc.getArray("list:steps").insert(0, [m, "x"]);
  m.set("k", 1);
  a.doc.getMap("map:plan").set("p", 5);
  a.doc.getMap("map:plan").set("p", 6);
  a.text.delete(1, 3);
  a.send();
  await a.settle();
  b.see();
  b.doc.getArray("list:steps").delete(0, 1);
  b.send();
  await b.settle();
  a.see();
  b.see();
  console.log(JSON.stringify(a.content()), a.errors, b.errors);
  console.log(JSON.stringify(b.content()), JSON.stringify(replica.content(DOC)));
});
