// SPDX-License-Identifier: Apache-2.0
/** What can be told of a base of a hub that lies, and what becomes of one that was changed on its way. */
import { decodeBatch } from "@ctxmesh/codec";
import { encodeFrames } from "@ctxmesh/facts";
import { LIMITS } from "@ctxmesh/model";
import type { BasePiece, Replica } from "@ctxmesh/replica";
import { createMemoryStore } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import {
  decodeHeaders,
  encodeHeaders,
  encodeMarks,
  encodePart,
  encodePieces,
  signManifest,
} from "../src/base-format.ts";
import type { PartKind, SignedManifest } from "../src/base-format.ts";
import { encodeDocument } from "../src/checkpoint-format.ts";
import { decodeSignedHeader, encodeSignedHeader } from "../src/evidence.ts";
import { feed, fillHub, fresh, hub, other, piecesOf, space } from "./base-kit.ts";
import type { Pieces } from "./base-kit.ts";
import type { ForgeOptions } from "./mesh.ts";
import { DOC, START_MS, deviceOf, emptySpace, forge, writer } from "./mesh.ts";
import { readsOf, stateOf } from "./upheaval.ts";

let source: Replica;
let from: Pieces;

beforeAll(async () => {
  source = await fillHub();
  from = await piecesOf(source);
});

/** The base with other parts of some kind, signed by the hub all the same. */
function altered(
  change: Partial<Record<PartKind, readonly Uint8Array[]>>,
  more: Partial<SignedManifest["manifest"]> = {},
): readonly BasePiece[] {
  const pieces: Uint8Array[] = [];
  const refs = (["heads", "void", "marks", "documents", "hashes"] as const).flatMap((kind) => {
    const contents = change[kind];
    if (contents !== undefined) {
      return contents.map((content) => {
        const { ref, bytes } = encodePart(kind, content);
        pieces.push(bytes);
        return ref;
      });
    }
    return from.base.manifest.parts.flatMap((ref, i) => {
      if (ref.kind !== kind) return [];
      pieces.push(from.pieces[i + 1]?.bytes ?? new Uint8Array());
      return [ref];
    });
  });
  const { name, bytes } = signManifest({ ...from.base.manifest, parts: refs, ...more }, hub.signer);
  return [
    { name, part: 0, bytes },
    ...pieces.map((piece, i) => ({ name, part: i + 1, bytes: piece })),
  ];
}

const trueHeads = (): readonly Uint8Array[] =>
  from.base.manifest.parts.flatMap(({ kind }, i) =>
    kind === "heads" ? decodeHeaders(from.pieces[i + 1]?.bytes ?? new Uint8Array()) : [],
  );

const byChain = (a: Uint8Array, b: Uint8Array): number => {
  const [one, two] = [decodeSignedHeader(a).header, decodeSignedHeader(b).header];
  return one.replica + one.incarnation < two.replica + two.incarnation ? -1 : 1;
};

const forged = (options: ForgeOptions): Uint8Array => {
  const { headerBytes, signature } = decodeBatch(forge({ space, ...options }).bytes);
  return encodeSignedHeader({ headerBytes, signature });
};

/** The base with other heads, and as many batches as they say. */
const withHeads = (heads: readonly Uint8Array[]): readonly BasePiece[] =>
  altered(
    { heads: [encodeHeaders(heads)] },
    { batches: heads.reduce((sum, bytes) => sum + decodeSignedHeader(bytes).header.seq, 0) },
  );

/** A document with a fact of a chain that no head is of. */
function foreignFacts(): Uint8Array {
  const { header } = forge({ device: other });
  const chain = { writer: header.replica, incarnation: header.incarnation };
  const record = { key: "x", seq: 1, hlc: header.hlc, valueJson: "1" };
  const facts = encodeFrames([{ chain, frame: { from: 0, to: 1, records: [record] } }]);
  return encodeDocument({ facts, rich: undefined });
}

const outcomeOf = async (pieces: readonly BasePiece[], to?: Replica): Promise<string> =>
  feed(to ?? (await fresh()), pieces).catch((error: unknown) =>
    error instanceof Error ? error.message : String(error),
  );

describe("a base of a hub that lies", () => {
  test("is refused for what can be told, and leaves nothing", async () => {
    const good = trueHeads();
    const unsigned = forged({ device: other, signer: writer.signer });
    const stranger = forged({ device: deviceOf(99) });
    const lying: Readonly<Record<string, readonly BasePiece[]>> = {
      "did not sign": withHeads([...good, unsigned].toSorted(byChain)),
      "does not count": withHeads([...good, stranger].toSorted(byChain)),
      "out of order": withHeads(good.toReversed()),
      "other batches than it says": altered({}, { batches: from.base.manifest.batches + 1 }),
      "other hashes than batches": withHeads(good.slice(1)),
      "other hashes than batches, too": altered(
        { heads: [encodeHeaders([...good, forged({ device: other })].toSorted(byChain))] },
        { batches: from.base.manifest.batches + 1 },
      ),
      "names heads that it has not": altered({
        marks: [encodeMarks({ unnamed: [99], voidParts: [] })],
      }),
      "of a chain without a head": altered({
        documents: [encodePieces([{ doc: DOC, state: foreignFacts(), more: false }])],
      }),
      "can't be read": altered({
        documents: [
          encodePieces([
            {
              doc: DOC,
              state: encodeDocument({ facts: undefined, rich: Uint8Array.of(1, 2, 3) }),
              more: false,
            },
          ]),
        ],
      }),
      "ends within a document": altered({
        documents: [encodePieces([{ doc: DOC, state: Uint8Array.of(1), more: true }])],
      }),
    };
    for (const [problem, pieces] of Object.entries(lying)) {
      const store = createMemoryStore();
      const to = await fresh({ store });
      await to.put(DOC, [{ key: "mine", value: 1 }]);
      const before = readsOf(to);
      expect(await outcomeOf(pieces, to), problem).toContain(problem.split(",")[0]);
      expect(readsOf(to)).toEqual(before);
      expect(await feed(to, from.pieces)).toBe("installed");
    }
  });

  test("another space's, one of a time to come, and one past the limits are refused", async () => {
    const elsewhere = emptySpace(2);
    expect(await outcomeOf(altered({}, { space: elsewhere.id }))).toContain("another space");
    const late = { time: START_MS + 10 * LIMITS.clockAheadMs };
    expect(await outcomeOf(altered({}, late))).toContain("time to come");
    const many = Array.from(
      { length: LIMITS.baseParts + 1 },
      () => from.base.manifest.parts[0] as never,
    );
    expect(await outcomeOf(altered({}, { parts: many }))).toContain("base");
    const large = [
      { ...(from.base.manifest.parts[0] as never as object), length: LIMITS.baseBytes + 1 },
    ];
    expect(await outcomeOf(altered({}, { parts: large as never }))).toContain("larger than any");
  });

  test("with another branch of a chain is refused", async () => {
    const to = await fresh();
    const branch = forge({
      space,
      records: [{ key: "x", seq: 1, hlc: forge().header.hlc, valueJson: "1" }],
    });
    await to.receive(branch.bytes);
    expect(await feed(to, from.pieces)).toContain("another branch");
    expect(to.seqOf(writer.key, branch.header.incarnation)).toBe(1);
  });

  test("any changed byte is noticed", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        async (n, at, flip) => {
          const index = n % from.pieces.length;
          const pieces = from.pieces.map((piece, i) => {
            if (i !== index) return piece;
            const bytes = piece.bytes.slice();
            const place = at % bytes.length;
            bytes[place] = (bytes[place] ?? 0) ^ flip;
            return { ...piece, bytes };
          });
          const to = await fresh();
          const before = stateOf(to);
          expect(await outcomeOf(pieces, to)).not.toBe("installed");
          expect(stateOf(to)).toEqual(before);
        },
      ),
      { numRuns: 40 },
    );
  });
});
