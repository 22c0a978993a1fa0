// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the decoder reads what Yjs reads, and Yjs never gets bytes that it could stumble over.
 * Method: its output beside `Y.decodeUpdate` for random edits; then random damage to valid updates.
 */
import { RichDocument } from "@ctxmesh/rich";
import type { RichVerdict } from "@ctxmesh/rich";
import { MeshError } from "@ctxmesh/model";
import { expect, test } from "vitest";
import * as Y from "yjs";
import { decodeUpdate } from "../src/update-decoder.ts";
import { Dice, Mesh } from "./support.ts";
import type { Sent } from "./support.ts";

/** An update, and the state of a replica that is ready for it. */
interface Case {
  readonly state: Uint8Array;
  readonly sent: Sent;
}

/** Updates of random histories. */
function cases(seeds: number, steps: number): Case[] {
  const found: Case[] = [];
  for (let seed = 1; seed <= seeds; seed++) {
    const dice = new Dice(seed);
    const mesh = new Mesh(3);
    for (let step = 0; step < steps; step++) {
      const replica = dice.roll(3);
      mesh.deliver(replica, dice.roll(3));
      const state = mesh.docs[replica]?.encodeState();
      const sent = mesh.write(replica, dice);
      if (state !== undefined && sent !== undefined) found.push({ state, sent });
    }
  }
  return found;
}

/** What Yjs makes of the bytes, in our terms. */
function decodeByYjs(bytes: Uint8Array): unknown {
  const { structs, ds } = Y.decodeUpdate(bytes);
  return {
    structs: structs.map((struct) => {
      if (!(struct instanceof Y.Item)) throw new Error("no item");
      return {
        client: struct.id.client,
        clock: struct.id.clock,
        length: struct.length,
        origin: struct.origin,
        rightOrigin: struct.rightOrigin,
        parent: struct.parent,
        key: struct.parentSub,
      };
    }),
    deletes: [...ds.clients].flatMap(([client, ranges]) =>
      ranges.map(({ clock, len }) => ({ client, clock, length: len })),
    ),
  };
}

function decodeByUs(bytes: Uint8Array): unknown {
  const { client, structs, deletes } = decodeUpdate(bytes);
  return {
    structs: structs.map(({ clock, length, origin, rightOrigin, parent, key }) => ({
      client,
      clock,
      length,
      origin: origin ?? null,
      rightOrigin: rightOrigin ?? null,
      parent: parent ?? null,
      key: key ?? null,
    })),
    deletes,
  };
}

test("an update decodes to what Yjs decodes it to", () => {
  for (const { sent } of cases(20, 40)) {
    expect(decodeByUs(sent.bytes)).toMatchObject(decodeByYjs(sent.bytes) as object);
  }
});

/** One to three bytes changed, or a part cut out, doubled, or moved in from another update. */
function damage(dice: Dice, bytes: Uint8Array, other: Uint8Array): Uint8Array {
  const at = dice.roll(bytes.length);
  const end = at + dice.roll(Math.min(8, bytes.length - at) + 1);
  const way = dice.roll(6);
  if (way === 0) return bytes.slice(0, at);
  if (way === 1) return Uint8Array.from([...bytes.slice(0, at), ...bytes.slice(end)]);
  if (way === 2) return Uint8Array.from([...bytes.slice(0, end), ...bytes.slice(at)]);
  if (way === 3)
    return Uint8Array.from([...bytes.slice(0, at), ...other.slice(dice.roll(other.length))]);
  const changed = bytes.slice();
  for (let i = dice.roll(3); i >= 0; i--) {
    const place = dice.roll(bytes.length);
    // Small steps hit neighbours, clocks and types that exist.
    changed[place] = dice.roll(2) === 0 ? dice.roll(256) : (changed[place] ?? 0) + dice.roll(5) - 2;
  }
  return changed;
}

function verdictOn(doc: RichDocument, sent: Sent): RichVerdict | { readonly kind: "refused" } {
  try {
    return doc.check(sent.bytes, sent);
  } catch (error) {
    const codes: readonly string[] = ["FORMAT_INVALID", "LIMIT_EXCEEDED"];
    if (error instanceof MeshError && codes.includes(error.code)) return { kind: "refused" };
    throw error;
  }
}

/** Checks, and if it passes applies; sees to it that the document changes as a whole or not at all. */
function judge(doc: RichDocument, sent: Sent): RichVerdict["kind"] | "refused" {
  const before = doc.encodeState();
  const verdict = verdictOn(doc, sent);
  expect(doc.encodeState()).toEqual(before);
  if (verdict.kind !== "ready") return verdict.kind;
  expect(decodeByUs(sent.bytes)).toMatchObject(decodeByYjs(sent.bytes) as object);
  // Throws when Yjs does, or has anything pending.
  doc.stage(verdict.update);
  doc.apply(verdict.update);
  expect(doc.clockOf(sent.client)).toBe(sent.to);
  expect(RichDocument.fromState(doc.encodeState()).content()).toEqual(doc.content());
  return "ready";
}

test("of 20,000 damaged updates none is applied in part, and none that passes leaves anything pending", () => {
  const dice = new Dice(42);
  const pool = cases(10, 40);
  const counts = { ready: 0, missing: 0, refused: 0, forked: 0 };
  for (let i = 0; i < 20_000; i++) {
    const { state, sent } = dice.pick(pool);
    const bytes = damage(dice, sent.bytes, dice.pick(pool).sent.bytes);
    // The header is signed, but its signer may be the one who did the damage.
    const to = dice.roll(3) === 0 ? sent.to + dice.roll(5) - 2 : sent.to;
    counts[judge(RichDocument.fromState(state), { ...sent, to, bytes })]++;
  }
  expect(Math.min(counts.ready, counts.missing, counts.refused)).toBeGreaterThan(100);
});
