// SPDX-License-Identifier: Apache-2.0
/** Replicas with projections, and pages on them. */
import type { JsonValue } from "@ctxmesh/model";
import type { Space } from "@ctxmesh/membership";
import { createProjections } from "@ctxmesh/replica";
import type { Replica, ReplicaProjections } from "@ctxmesh/replica";
import { createSeededRandom, createVirtualClock, silentLogger } from "@ctxmesh/testing";
import { Browser } from "./browser.ts";
import { DOC, START_MS, open, spaceWith, us, writer } from "./mesh.ts";
import type { OpenOptions } from "./mesh.ts";

/** Both devices may write rich content. */
export const space: Space = spaceWith(
  [
    [us, "write"],
    [writer, "write"],
  ],
  "hub",
);

/** The projections of a replica, whose clock stands still. */
export const projectionsOf = (replica: Replica, seed = 1): ReplicaProjections =>
  createProjections(replica, {
    clock: createVirtualClock(START_MS),
    random: createSeededRandom(seed),
    logger: silentLogger,
  });

/** A replica with projections. */
export async function node(
  options: OpenOptions = {},
): Promise<{ readonly replica: Replica; readonly projections: ReplicaProjections }> {
  const replica = await open({ space, ...options });
  return { replica, projections: projectionsOf(replica) };
}

/** The visible facts by key. */
export const factsOf = (replica: Replica): Record<string, JsonValue> =>
  Object.fromEntries(replica.list({ doc: DOC }).map(({ key, value }) => [key, value]));

/** The text that pages edit, as its replica has it. */
export const notesOf = (replica: Replica): unknown =>
  replica.content(DOC).find(({ root }) => root === "notes")?.value;

/** Hands over what a page made, and shows it what came of that. */
export async function exchange(...browsers: readonly Browser[]): Promise<void> {
  for (const browser of browsers) {
    browser.see();
    browser.send();
    await browser.settle();
  }
  for (const browser of browsers) browser.see();
}

/** A page that shows a document. */
export async function connected(projections: ReplicaProjections, name: string): Promise<Browser> {
  const browser = new Browser(name);
  await browser.connect(projections);
  await exchange(browser);
  return browser;
}
