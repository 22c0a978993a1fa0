// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: whatever a hostile member sends, nothing of it is applied, and the honest go on.
 * Method: a table of attacks (table.ts), each made by hand and signed with a real key, against a replica
 * with honest content. What they cost is measured by `npm run bench -- receive`, not asserted here.
 */
import { toHex } from "@ctxmesh/model";
import type { ReceiveCounters } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { beforeAll, describe, expect, test } from "vitest";
import * as Y from "yjs";
import {
  KNOWN_ATTACKS,
  OMITTED,
  accept,
  expectedOf,
  tally,
  unaccounted,
  verdictOf,
} from "./support/attack.ts";
import type { Attack, Verdict } from "./support/attack.ts";
import { DOC, OTHER_DOC } from "./support/forge.ts";
import { honest, mallory, openReplica, prepareGround, us } from "./support/ground.ts";
import type { Ground } from "./support/ground.ts";
import { bombV2 } from "./support/v2.ts";
import { ATTACKS } from "./table.ts";

let ground: Ground;
beforeAll(async () => {
  ground = await prepareGround();
});

/** What an attack that fails leaves alone. */
const stateOf = (replica: Replica): unknown => ({
  frontier: toHex(replica.frontierDigest()),
  heads: replica.heads(),
  leaves: replica.snapshot().leaves,
  contents: [replica.content(DOC), replica.content(OTHER_DOC)],
});

/** The canonical leaves without what the attacker wrote as facts. */
const othersLeaves = (replica: Replica): readonly string[] =>
  replica.snapshot().leaves.filter((leaf) => !leaf.includes(mallory.key));

/** What the attack needs to be there. */
async function prepare(replica: Replica, { before, acts }: Attack): Promise<void> {
  await accept(replica, before?.(ground) ?? []);
  if (acts === undefined) return;
  const { added, refused } = await replica.addRecords({ acts: acts(ground) });
  expect({ added, refused }).toEqual({ added: acts(ground).length, refused: [] });
}

/** Counters by verdict. */
function countsOf({ refused, ...counters }: ReceiveCounters): Record<string, number> {
  const counts: Record<string, number> = { ...counters };
  for (const [reason, count] of Object.entries(refused)) counts[`refused ${reason}`] = count;
  return counts;
}

/** The counters after outcomes that came to these verdicts. */
function moved(
  before: Record<string, number>,
  verdicts: readonly Verdict[],
): Record<string, number> {
  const after = { ...before };
  for (const verdict of verdicts) {
    const counter = verdict.startsWith("held ") ? "held" : verdict;
    after[counter] = (after[counter] ?? 0) + 1;
    after["received"] = (after["received"] ?? 0) + 1;
  }
  return after;
}

test("the table has every known attack, or says why not, and no name twice", () => {
  const known = new Set(ATTACKS.map(({ known: which }) => which));
  for (const attack of KNOWN_ATTACKS) {
    expect([attack, known.has(attack)]).toEqual([attack, OMITTED[attack] === undefined]);
  }
  expect(new Set(ATTACKS.map(({ name }) => name)).size).toBe(ATTACKS.length);
});

test("the V2 bomb is one: Yjs makes as many structs of it as it says, whatever its size", () => {
  const doc = new Y.Doc();
  Y.applyUpdateV2(doc, bombV2(100_000));
  expect(Y.getState(doc.store, 7)).toBe(100_000);
  expect(bombV2(20_000_000).length).toBeLessThan(30);
});

describe("an attack changes nothing and is counted", () => {
  test.each(ATTACKS)("$name", async (attack) => {
    const replica = await openReplica(ground.space, us);
    await accept(replica, ground.base);
    await prepare(replica, attack);
    const bytes = attack.build(ground);
    const applied: Uint8Array[] = [];
    replica.onApplied((batch) => applied.push(batch.bytes));
    const before = stateOf(replica);
    const others = othersLeaves(replica);
    const counters = countsOf(replica.counters());

    const verdicts: Verdict[] = [];
    for (const each of bytes) {
      verdicts.push(verdictOf(await replica.receive(each)));
      expect(unaccounted(replica.counters())).toBe(0);
    }

    expect(tally(verdicts)).toMatchObject(expectedOf(attack, bytes.length));
    const { forksAt } = attack;
    expect(forksAt === undefined ? stateOf(replica) : before).toEqual(before);
    // A proof takes effect behind the group that found it.
    await replica.addRecords({});
    expect(replica.evidence().map(({ seq }) => seq)).toEqual(
      forksAt === undefined ? [] : [forksAt],
    );
    const forkers = replica.evidence().map(({ replica: device }) => device);
    const unforked = others.filter((leaf) => !forkers.some((device) => leaf.includes(device)));
    expect(othersLeaves(replica)).toEqual(unforked);
    expect(applied).toEqual([]);
    expect(countsOf(replica.counters())).toEqual(moved(counters, verdicts));
    // The honest go on, in every document and root, and what of theirs has to wait finds room to. Yjs
    // would fail here if anything were pending in it.
    for (const each of ground.next.toReversed()) {
      expect(verdictOf(await replica.receive(each))).toMatch(/^(?:held missing|accepted)$/u);
    }
    await replica.close();
    expect(applied).toEqual(ground.next);
    const untouched = await openReplica(ground.space, honest, { seed: 2 });
    await accept(untouched, ground.base);
    await prepare(untouched, attack);
    await accept(untouched, ground.next);
    await untouched.addRecords({ proofs: replica.evidence().map(({ proof }) => proof) });
    expect(stateOf(replica)).toEqual(stateOf(untouched));
    expect(replica.failure).toBeUndefined();
  });
});
