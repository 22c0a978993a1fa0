// SPDX-License-Identifier: Apache-2.0
/** What a cut, a crash or a failed write leaves of a base on its way. */
import { toHex } from "@ctxmesh/model";
import type { BasePiece } from "@ctxmesh/replica";
import { createMemoryStore } from "@ctxmesh/testing";
import { beforeAll, describe, expect, test } from "vitest";
import { DOCS, PRUNED, feed, fillHub, fresh, piecesOf, space } from "./base-kit.ts";
import type { Pieces } from "./base-kit.ts";
import { FullStore } from "./full-store.ts";
import { DOC, forgeChain } from "./mesh.ts";

let from: Pieces;

beforeAll(async () => {
  from = await piecesOf(await fillHub());
});

describe("a base on its way", () => {
  test("is gone on with after a cut or a crash behind any part", async () => {
    for (let cut = 0; cut < from.pieces.length - 1; cut++) {
      const store = createMemoryStore();
      const to = await fresh({ store });
      await to.put(DOC, [{ key: "mine", value: 1 }]);
      let progress = await to.bases.take(from.pieces[0] as BasePiece, PRUNED);
      for (let i = 0; i < cut && progress.kind === "more"; i++) {
        progress = await to.bases.take(from.pieces[progress.part] as BasePiece, PRUNED);
      }
      const again = await fresh({ store: store.crash() });
      let asked = 0;
      progress = await again.bases.take(from.pieces[0] as BasePiece, PRUNED);
      while (progress.kind === "more") {
        asked++;
        progress = await again.bases.take(from.pieces[progress.part] as BasePiece, PRUNED);
      }
      expect(progress.kind).toBe("installed");
      expect(asked).toBe(from.pieces.length - 1 - cut);
      expect(again.get(DOC, "forged")?.value).toBe(12);
      expect(again.get(DOC, "mine")?.value).toBe(1);
    }
  });

  test("is there as a whole or not at all, at whatever write the machine stops", async () => {
    const outcomes = new Set<string>();
    for (let number = 1; !outcomes.has("installed new"); number++) {
      for (const outcome of ["lost", "kept"] as const) {
        const store = new FullStore();
        const to = await fresh({ store });
        await to.put(DOC, [{ key: "mine", value: 1 }]);
        for (const { bytes } of forgeChain(3, { space })) await to.receive(bytes);
        const before = toHex(to.frontierDigest());
        store.failWrite(number, outcome);
        const ended = await feed(to, from.pieces).catch(() => "failed");
        await to.close().catch(() => undefined);
        const again = await fresh({ store: await store.inner.reopen() });
        await again.verify();
        const now = toHex(again.frontierDigest()) === before ? "old" : "new";
        outcomes.add(`${ended} ${now}`);
        expect(again.get(DOC, "mine")?.value).toBe(1);
        expect(again.get(DOC, "forged")?.value).toBe(now === "old" ? 3 : 12);
        expect(again.get(DOCS[0] ?? DOC, "temperature")?.value).toBe(
          now === "old" ? undefined : DOCS[0],
        );
        // And it can be taken once more, or needs not be.
        expect(await feed(again, from.pieces)).toMatch(/installed|brings nothing/u);
        expect(again.get(DOC, "forged")?.value).toBe(12);
      }
    }
    expect([...outcomes].toSorted()).toEqual(["failed new", "failed old", "installed new"]);
  });
});
