// SPDX-License-Identifier: Apache-2.0
/** Holds a replica against the truth about what it has applied. */
import { parseDocumentName, toHex } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { isSame, msOf, textOf } from "./truth.ts";
import type { Stated, Truth } from "./truth.ts";

/** A replica does not do what the truth says. */
export class Mismatch extends Error {
  override readonly name: string = "Mismatch";
}

/** Throws a {@link Mismatch} that shows both where they differ. */
export function expectSame(what: string, actual: unknown, expected: unknown): void {
  if (isSame(actual, expected)) return;
  throw new Mismatch(`${what}\n  is       ${textOf(actual)}\n  must be  ${textOf(expected)}`);
}

/** What a replica has to be like now. */
export interface Expected {
  readonly truth: Truth;
  /** Length of each chain, by writer and incarnation. */
  readonly heads: Readonly<Record<string, number>>;
  /** The highest clock value of all that was applied. */
  readonly asOf: number;
  /** Unix milliseconds on the replica's clock. */
  readonly nowMs: number;
}

const isFrom = (s: Stated): boolean => s.source?.model === "good";
const isTagged = (s: Stated): boolean => s.tags?.includes("u") === true;
const PATTERN = { pattern: "*/1", matches: /^[^ ]* [^/]*\/1$/u } as const;

/** Compares replicas, and what they say at one time with what any of them said before. */
export class Comparison {
  /** Leaves by frontier, as text. */
  readonly #leaves = new Map<string, string>();
  /** The undominated candidates that each version stands for, and the other way round. */
  readonly #versions = new Map<string, string>();

  /** Every key, the leaves, and the chains. Throws {@link Mismatch}. */
  state(replica: Replica, { truth, heads, asOf, nowMs }: Expected): void {
    const chains = replica.heads().map((head) => [head.replica + head.incarnation, head.seq]);
    expectSame("the applied batches of each chain", Object.fromEntries(chains), heads);
    for (const { doc, key } of truth.keys()) this.#key(replica, truth, { doc, key, nowMs });
    const snapshot = replica.snapshot();
    expectSame("the time of the snapshot", snapshot.asOf, asOf);
    expectSame("the leaves", snapshot.leaves, truth.leaves(msOf(asOf)));
    const frontier = toHex(replica.frontierDigest());
    const leaves = snapshot.leaves.join("\n");
    expectSame("the leaves of one frontier", leaves, this.#leaves.get(frontier) ?? leaves);
    this.#leaves.set(frontier, leaves);
  }

  #key(
    replica: Replica,
    truth: Truth,
    { doc: docName, key, nowMs }: { doc: string; key: string; nowMs: number },
  ): void {
    const doc = parseDocumentName(docName);
    const answer = truth.answer(docName, key, nowMs);
    const what = `of ${key} in ${docName}`;
    const { version, ageMs, ...visible } = replica.get(doc, key) ?? {};
    expectSame(`the fact ${what}`, visible, answer.visible ?? {});
    if (version !== undefined) {
      const age = Math.max(0, nowMs - msOf(answer.winner?.hlc ?? 0));
      expectSame(`the age ${what}`, ageMs, age);
      this.#pair(`the version ${what}`, version, answer.undominated);
      this.#pair(`the version ${what}`, answer.undominated, version);
    }
    expectSame(`the candidates ${what}`, replica.candidates(doc, key), answer.candidates);
  }

  /** The same always goes with the same. */
  #pair(what: string, name: string, meaning: string): void {
    expectSame(what, meaning, this.#versions.get(name) ?? meaning);
    this.#versions.set(name, meaning);
  }

  /** Lists and counts. Throws {@link Mismatch}. */
  lists(replica: Replica, { truth, nowMs }: Expected): void {
    const list = (query: Parameters<Replica["list"]>[0]): string[] =>
      replica
        .list(query)
        .map(({ doc, key }) => `${doc} ${key}`)
        .toSorted();
    const all = truth.keysWith(nowMs, () => true);
    const { pattern, matches } = PATTERN;
    expectSame("the list of all", list({}), all);
    expectSame("the list of a source", list({ source: "good" }), truth.keysWith(nowMs, isFrom));
    expectSame("the list of a tag", list({ tag: "u" }), truth.keysWith(nowMs, isTagged));
    expectSame(
      "the list of a pattern",
      list({ pattern }),
      all.filter((name) => matches.test(name)),
    );
    const isContested = ({ doc, key }: { doc: string; key: string }): boolean =>
      truth.answer(doc, key, nowMs).visible?.["contested"] === true;
    const { documents: _, ...counts } = replica.count();
    const contested = truth.keys().filter(isContested).length;
    expectSame("the counts", counts, { facts: all.length, contested });
  }
}
