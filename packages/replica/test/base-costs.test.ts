// SPDX-License-Identifier: Apache-2.0
/** What bases cost those who have them: work for whoever asks, room for what nobody needs any more, and waiting for others. */
import type { BasePiece, Replica } from "@ctxmesh/replica";
import { Replica as Replicas } from "@ctxmesh/replica";
import type { SignatureVerifier, Store } from "@ctxmesh/model";
import { LIMITS } from "@ctxmesh/model";
import { createMemoryStore, createSeededRandom, silentLogger } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import { TAG, baseHashesKey, partRange } from "../src/layout.ts";
import {
  DOCS,
  PRUNED,
  bringBase,
  clock,
  feed,
  fillHub,
  fresh,
  hub,
  piecesOf,
  space,
  withAgent,
} from "./base-kit.ts";
import { DOC, actsSince, deviceOf, forgeChain, open, verifier } from "./mesh.ts";

const countOf = async (store: Store, range: Parameters<Store["scan"]>[0]): Promise<number> => {
  let count = 0;
  for await (const _ of store.scan(range)) count++;
  return count;
};

test("whoever asks for a base again and again makes no more work: acts are judged once for it", async () => {
  let verified = 0;
  const counting: SignatureVerifier = {
    verify: (...args) => {
      verified++;
      return verifier.verify(...args);
    },
  };
  const source = await fillHub();
  const random = createSeededRandom(1);
  const store = createMemoryStore();
  const options = { store, space, signer: deviceOf(21).signer, verifier: counting };
  const at = await Replicas.open({ ...options, clock, random, logger: silentLogger });
  expect(await bringBase(source, at)).toEqual({ kind: "installed" });
  const later = withAgent(at.space, deviceOf(60));
  await at.addRecords({ acts: actsSince(at.space, later) });
  verified = 0;
  const offered = await at.bases.offer();
  expect(offered).toBeDefined();
  const first = verified;
  expect(first).toBeGreaterThan(0);
  for (let i = 0; i < 5; i++) expect(await at.bases.offer()).toEqual(offered);
  expect(verified).toBe(first);
  // Others may be judged otherwise.
  await at.addRecords({ acts: actsSince(at.space, withAgent(at.space, deviceOf(61))) });
  expect(await at.bases.offer()).toEqual(offered);
  expect(verified).toBeGreaterThan(first);
});

test("a base that another one takes the place of on its way leaves no part that nobody needs", async () => {
  const source = await fillHub();
  const old = await piecesOf(source);
  clock.advance(LIMITS.baseEveryMs + 1);
  // Another hub has other parts.
  const other = await open({ device: deviceOf(22), space, clock });
  for (const doc of DOCS) await other.put(doc, [{ key: "other", value: 1 }]);
  const next = await piecesOf(other);
  const store = createMemoryStore();
  const to = await fresh({ store });
  let progress = await to.bases.take(old.pieces[0] as never, PRUNED);
  for (let i = 0; i < 3 && progress.kind === "more"; i++) {
    progress = await to.bases.take(old.pieces[progress.part] as never, {
      batches: 0,
      pruned: true,
    });
  }
  expect(await countOf(store, partRange)).toBe(3);
  expect((await to.bases.take(next.pieces[0] as never, PRUNED)).kind).toBe("more");
  const needed = new Set(next.base.manifest.parts.map(({ hash }) => hash));
  const shared = old.base.manifest.parts.slice(0, 3).filter(({ hash }) => needed.has(hash));
  expect(await countOf(store, partRange)).toBe(shared.length);
  expect(shared.length).toBeLessThan(3);
  expect(await feed(to, next.pieces)).toBe("installed");
});

test("a base whose last part comes twice at the same time is installed once, and handed on", async () => {
  const { pieces } = await piecesOf(await fillHub());
  const to = await fresh();
  const at = (part: number): BasePiece => pieces[part] as BasePiece;
  let progress = await to.bases.take(at(0), PRUNED);
  while (progress.kind === "more" && progress.part < pieces.length - 1) {
    progress = await to.bases.take(at(progress.part), PRUNED);
  }
  const last = at(pieces.length - 1);
  const both = await Promise.all([to.bases.take(last, PRUNED), to.bases.take(last, PRUNED)]);
  expect(both).toEqual([{ kind: "installed" }, { kind: "installed" }]);
  expect(await to.bases.offer()).toEqual(at(0));
});

/** A store whose scans of a range wait until they are let go. */
function gated(store: Store, isGated: (range: Parameters<Store["scan"]>[0]) => boolean) {
  const { promise: opened, resolve: letGo } = Promise.withResolvers<void>();
  const writes: number[] = [];
  const wrapped: Store = {
    get: async (key) => store.get(key),
    write: async (changes) => {
      writes.push(changes.length);
      return store.write(changes);
    },
    scan: async function* (range) {
      if (isGated(range)) await opened;
      yield* store.scan(range);
    },
    close: async () => store.close(),
  };
  return { store: wrapped, letGo, writes };
}

test("what is asked for while the replica closes writes nothing after it", async () => {
  const { store, letGo, writes } = gated(createMemoryStore(), ({ gte }) => gte?.[0] === 13);
  const at = await open({ device: hub, space, clock, store });
  await at.put(DOC, [{ key: "a", value: 1 }]);
  const offered = at.bases.offer().catch(() => undefined);
  await at.close();
  const before = writes.length;
  letGo();
  await offered;
  expect(writes.length).toBe(before);
});

test("a base does not wait until all that is pruned is removed, which goes on behind it", async () => {
  const chain = forgeChain(LIMITS.prunesPerWrite + 50, { space });
  const memory = createMemoryStore();
  const source = await open({ device: hub, space, clock });
  const removing = Promise.withResolvers<void>();
  const queued = Promise.withResolvers<void>();
  let [removed, before] = [0, -1];
  const store: Store = {
    get: async (key) => memory.get(key),
    scan: (range) => memory.scan(range),
    close: async () => memory.close(),
    write: async (changes) => {
      const gone = changes.filter(({ key, value }) => key[0] === TAG.log && value === undefined);
      if (changes.some(({ key }) => Buffer.compare(key, baseHashesKey) === 0)) before = removed;
      if (gone.length > 0) {
        removing.resolve();
        await queued.promise;
      }
      removed += gone.length;
      return memory.write(changes);
    },
  };
  const to = await fresh({ store });
  const received = (at: Replica): Promise<unknown> =>
    Promise.all(chain.map(async ({ bytes }) => at.receive(bytes)));
  await Promise.all([received(source), received(to)]);
  await source.put(DOC, [{ key: "news", value: 1 }]);
  const { pieces } = await piecesOf(source);
  const pruning = to.prune({ upTo: () => Infinity, beforeMs: Infinity });
  await removing.promise;
  const fed = feed(to, pieces);
  // With a store in memory all that can be done without the removal is done within one turn of the event loop.
  await new Promise((resolve) => setImmediate(resolve));
  expect(await countOf(memory, partRange)).toBe(pieces.length - 1);
  queued.resolve();
  expect(await fed).toBe("installed");
  await pruning;
  expect(before).toBe(LIMITS.prunesPerWrite);
  await expect.poll(() => removed).toBe(chain.length);
});
