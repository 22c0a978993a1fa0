// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the lowest fork is found with few batches, and a remote that lies can't make us ask for ever.
 * Method: the search played against every kind of other branch, honest and not.
 */
import { parseDeviceKey, parseIncarnationId } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ChainHead } from "@ctxmesh/sync";
import { MAX_PROBES } from "@ctxmesh/sync";
import { openWalks, planProbes, settleProbes } from "../src/forks.ts";
import type { Settled, Walks } from "../src/forks.ts";

const chain = {
  replica: parseDeviceKey("a".repeat(64)),
  incarnation: parseIncarnationId("b".repeat(32)),
};
const head = (seq: number, branch: string): ChainHead => ({
  ...chain,
  seq,
  hash: branch.repeat(32),
});
const chainName = chain.replica + chain.incarnation;

const otherBranch = (claim: ChainHead): ChainHead => ({ ...claim, hash: "0".repeat(32) });

interface Found {
  readonly probes: number;
  /** The lowest position that was seen to differ. */
  readonly differs: number;
  readonly walks: Walks;
}

/**
 * Searches from a head at `seq` to the end. `answer` says what the remote's batch at a position is; our head
 * goes down with each difference, at once or only at the end.
 */
function search(
  seq: number,
  answer: (seq: number) => boolean | undefined,
  proofsAtOnce = true,
  before: Walks = new Map(),
): Found {
  const claim = head(seq, "f");
  let walks = openWalks(before, [claim]);
  let differs = seq;
  let probes = 0;
  for (;;) {
    const ours = proofsAtOnce ? differs - 1 : seq;
    const planned = planProbes(
      walks,
      () => claim,
      () => (probes === 0 ? head(seq, "0") : ours === 0 ? undefined : head(ours, "0")),
    );
    walks = planned.walks;
    const [probe] = planned.probes;
    if (probe === undefined) return { probes, differs, walks };
    expect(probe.from).toBe(probe.to);
    probes++;
    const same = answer(probe.from);
    const settled: Settled[] = same === undefined ? [] : [{ ...chain, seq: probe.from, same }];
    if (same === false) differs = Math.min(differs, probe.from);
    walks = settleProbes(walks, planned.probes, settled);
  }
}

const position = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 2 ** 40 }));

describe("the search for a fork", () => {
  test("finds the lowest difference with two probes for each bit of its depth, however late proofs take effect", () => {
    fc.assert(
      fc.property(position, position, fc.boolean(), (a, b, proofsAtOnce) => {
        const [forkAt, seq] = [Math.min(a, b), Math.max(a, b)];
        const { probes, differs } = search(seq, (at) => at < forkAt, proofsAtOnce);
        expect(differs).toBe(forkAt);
        expect(probes).toBeLessThanOrEqual(2 * Math.ceil(Math.log2(seq - forkAt + 2)) + 3);
      }),
      { numRuns: 2_000 },
    );
  });

  test("goes on where it was when the remote's head goes down meanwhile, as it does with each proof", () => {
    fc.assert(
      fc.property(position, position, (a, b) => {
        const [forkAt, seq] = [Math.min(a, b), Math.max(a, b)];
        let walks = openWalks(new Map(), [head(seq, "f")]);
        let [differs, probes] = [seq + 1, 0];
        for (;;) {
          const ours = head(Math.max(1, Math.min(seq, differs - 1)), "0");
          const planned = planProbes(
            walks,
            () => undefined,
            () => ours,
          );
          const [probe] = planned.probes;
          if (probe === undefined) break;
          probes++;
          const same = probe.from < forkAt;
          walks = settleProbes(planned.walks, planned.probes, [
            { ...chain, seq: probe.from, same },
          ]);
          if (!same) differs = Math.min(differs, probe.from);
          const word = differs - 1;
          if (word >= forkAt) walks = openWalks(walks, [head(word, "f")]);
        }
        expect(differs).toBe(forkAt);
        expect(probes).toBeLessThanOrEqual(2 * Math.ceil(Math.log2(seq - forkAt + 2)) + 3);
      }),
      { numRuns: 2_000 },
    );
  });

  test("goes on from our head when another session has lowered it", () => {
    const walks = openWalks(new Map(), [head(1_000, "f")]);
    const planned = planProbes(
      walks,
      () => undefined,
      () => head(40, "0"),
    );
    expect(planned.probes).toEqual([{ ...chain, from: 40, to: 40 }]);
  });

  test("asks for a bounded number of chains at a time, and for the others after", () => {
    const claims = Array.from({ length: 100 }, (_, n) => ({
      ...head(9, "f"),
      incarnation: parseIncarnationId(n.toString(16).padStart(32, "0")),
    }));
    const first = planProbes(openWalks(new Map(), claims), () => undefined, otherBranch);
    expect(first.probes).toHaveLength(64);
    const settled = first.probes.map(({ from, ...of }) => ({ ...of, seq: from, same: true }));
    const next = planProbes(
      settleProbes(first.walks, first.probes, settled),
      () => undefined,
      otherBranch,
    );
    expect(next.probes).toHaveLength(36);
  });

  test("is over at the first answer that says nothing", () => {
    const { probes, walks } = search(1_000, () => undefined);
    expect(probes).toBe(1);
    expect(walks.get(chainName)?.over).toBe(true);
  });

  test("of the same head is not begun again, of another one it is", () => {
    const { walks } = search(10, (at) => at < 4);
    expect(search(10, (at) => at < 4, true, walks).probes).toBe(0);
    expect(search(11, (at) => at < 4, true, walks).probes).toBeGreaterThan(0);
  });

  test("ends when the remote's word agrees with ours", () => {
    const walks = openWalks(new Map(), [head(10, "f")]);
    const planned = planProbes(
      walks,
      () => head(3, "0"),
      () => head(3, "0"),
    );
    expect(planned.probes).toEqual([]);
    expect(planned.walks.get(chainName)?.over).toBe(true);
  });

  test("takes a bounded number of probes from a remote that lies, over all the heads that it claims", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(position, fc.array(fc.boolean(), { minLength: 1 })), { maxLength: 300 }),
        (claims) => {
          let walks: Walks = new Map();
          let total = 0;
          for (const [seq, lies] of claims) {
            let i = 0;
            const found = search(seq, () => lies[i++ % lies.length], true, walks);
            total += found.probes;
            walks = found.walks;
          }
          expect(total).toBeLessThanOrEqual(MAX_PROBES);
          expect(walks.size).toBeLessThanOrEqual(1);
        },
      ),
    );
  });
});
