// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: `SPEC.md` and the machine say the same.
 * Method: the table and the list of invariants are read from there; random walks of the machine are held to both, and what
 * the table allows has to be seen.
 */
import { readFileSync } from "node:fs";
import { step } from "@ctxmesh/sync";
import type { SessionState } from "@ctxmesh/sync";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { INVARIANTS } from "./invariants.ts";
import { names } from "./kit.ts";
import { EVENTS, follow, nameOf, rareWalks, walk } from "./walks.ts";
import type { Taken } from "./walks.ts";

const SPEC = readFileSync(new URL("../SPEC.md", import.meta.url), "utf8");

/** The cells of the rows of the table under a heading. */
function tableUnder(heading: string): string[][] {
  const section = SPEC.split(/^## /mu).find((part) => part.startsWith(heading)) ?? "";
  const rows = section.split("\n").filter((line) => line.startsWith("|"));
  return rows.slice(2).map((row) =>
    row
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

const listOf = (cell: string | undefined): string[] =>
  (cell ?? "").split(", ").filter((item) => item !== "");

/** What the table says may come of an event in a phase. */
interface Row {
  readonly next: string;
  readonly effects: ReadonlySet<string>;
}

const PULLS = ["send pull", "send base-pull"];

function readTable(events: readonly string[]): ReadonlyMap<string, readonly Row[]> {
  const table = new Map<string, Row[]>();
  for (const [phase = "", cell, , next = "", does] of tableUnder("Transitions")) {
    const effects = new Set(listOf(does).flatMap((item) => (item === "Pulls" ? PULLS : [item])));
    for (const event of cell === "every" ? events : listOf(cell)) {
      const pair = `${phase} ${event}`;
      table.set(pair, [...(table.get(pair) ?? []), { next, effects }]);
    }
  }
  return table;
}

const TABLE = readTable(Object.keys(EVENTS));

const problemOf = ({ before, event, state, effects }: Taken): string | undefined => {
  const rows = TABLE.get(`${before.phase} ${nameOf(event)}`) ?? [];
  const done = names(effects);
  const fits = rows.some(
    (row) => row.next === state.phase && done.every((name) => row.effects.has(name)),
  );
  return fits
    ? undefined
    : `${before.phase} ${nameOf(event)} -> ${state.phase}: ${done.join(", ")}`;
};

describe("the table of SPEC.md", () => {
  test("has each event in each phase, and nothing else", () => {
    const pairs = ["greeting", "open", "closed"].flatMap((phase) =>
      Object.keys(EVENTS).map((event) => `${phase} ${event}`),
    );
    expect([...TABLE.keys()].toSorted()).toEqual(pairs.toSorted());
  });

  test("allows all that the machine does, and what it allows is done", () => {
    const seen = new Set<string>();
    const problems = new Set<string>();
    const walks = fc.sample(walk, { numRuns: 1_500, seed: 7 });
    for (const one of [...walks, ...rareWalks()]) {
      follow(one, (taken) => {
        const problem = problemOf(taken);
        if (problem !== undefined) problems.add(problem);
        for (const name of names(taken.effects)) {
          seen.add(`${taken.before.phase} ${nameOf(taken.event)}: ${name}`);
        }
      });
    }
    expect([...problems]).toEqual([]);
    const allowed = [...TABLE].flatMap(([pair, rows]) =>
      rows.flatMap(({ effects }) => [...effects].map((name) => `${pair}: ${name}`)),
    );
    expect(allowed.filter((name) => !seen.has(name))).toEqual([]);
  });
});

describe("the invariants of SPEC.md", () => {
  const listed = [...SPEC.matchAll(/^- \*\*(S\d+)\*\*/gmu)].map(([, name]) => name);

  test("are S1 to S15, of which the first twelve are about one step", () => {
    expect(listed).toEqual(Array.from({ length: 15 }, (_, i) => `S${String(i + 1)}`));
    expect(Object.keys(INVARIANTS)).toEqual(listed.slice(0, 12));
  });

  test.each(Object.entries(INVARIANTS))("%s holds at each step of any walk", (_, holds) => {
    fc.assert(
      fc.property(walk, (one) => {
        const broken: string[] = [];
        follow(one, (taken) => {
          if (!holds(taken))
            broken.push(`${nameOf(taken.event)}: ${names(taken.effects).join(", ")}`);
        });
        expect(broken).toEqual([]);
      }),
      { numRuns: 100 },
    );
  });

  test("no step changes the state that it began with", () => {
    fc.assert(
      fc.property(walk, (one) => {
        follow(one, ({ before, event, view }) => {
          const copy = structuredClone(
            Object.fromEntries(
              Object.entries(before).filter(
                ([name]) => !["said", "sent", "told", "owed"].includes(name),
              ),
            ),
          );
          step(before, event, view);
          for (const [name, value] of Object.entries(copy)) {
            expect(before[name as keyof SessionState]).toEqual(value);
          }
        });
      }),
      { numRuns: 100 },
    );
  });
});
