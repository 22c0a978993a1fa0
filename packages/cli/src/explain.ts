// SPDX-License-Identifier: Apache-2.0
/** Why a key shows what it shows, in words. */
import type { Candidate, VisibleFact } from "@ctxmesh/model";
import type { KeyCandidates } from "@ctxmesh/sdk";
import { counted, printable, shortId } from "./output.ts";

/** What the resolvers that pick one statement go by; any other name is that of an expression. */
const PICKS: Readonly<Record<string, string>> = {
  latest: "the newest statement is shown",
  confidence: "the surest statement is shown",
  priority: "the statement of the best source is shown",
  max: "the largest number is shown",
  min: "the smallest number is shown",
};
const BY_SCORE = "the statement with the highest score is shown";
/** Numbers of a sum that are written out. */
const MAX_ADDENDS = 8;

const confidenceOf = ({ confidence }: Candidate): number => confidence ?? 1;

const isLive = ({ standing }: Candidate): boolean =>
  standing === "shown" || standing === "undominated" || standing === "dominated";

/** As replicas order them: by clock, then by writer. */
const isNewer = (a: Candidate, b: Candidate): boolean =>
  a.hlc === b.hlc ? a.writer > b.writer : a.hlc > b.hlc;

/** Where a candidate stands, in words. */
export function describeStanding(candidate: Candidate, fact: VisibleFact | undefined): string {
  const { standing, retraction, deleted } = candidate;
  if (retraction !== undefined) {
    return `retracted by ${shortId(retraction.by)}: ${printable(retraction.reason)}`;
  }
  // Beside a value that is merged from several writers, a delete is one that adds nothing.
  return deleted && standing === "shown" && fact !== undefined ? "adds nothing" : standing;
}

/** Why `other`, which says something else than the winner, still stands. */
function holdsBecause(resolver: string, winner: Candidate, other: Candidate): string {
  const noun = other.deleted ? "delete" : "one";
  const [mine, its] = [confidenceOf(winner), confidenceOf(other)];
  if (isNewer(winner, other)) {
    return resolver === "latest" && its > mine
      ? `older ${noun} is surer (${String(its)} > ${String(mine)})`
      : `older ${noun} lives longer`;
  }
  switch (resolver) {
    case "confidence":
      return `newer ${noun} is less sure (${String(its)} < ${String(mine)})`;
    case "priority":
      return `newer ${noun} is from a lesser source`;
    case "max":
    case "min":
      return typeof other.value === "number"
        ? `newer ${noun} is ${resolver === "max" ? "smaller" : "larger"}`
        : `newer ${noun} is no number`;
    default:
      return `newer ${noun} has a lower score`;
  }
}

function explainPick(fact: VisibleFact, candidates: readonly Candidate[]): string {
  const { resolver, contested } = fact;
  const live = candidates.filter(isLive);
  const winner = live.find(({ writer, hlc }) => writer === fact.writer && hlc === fact.hlc);
  if (winner === undefined || live.length === 1) return "the only statement that counts is shown";
  const sure = confidenceOf(winner);
  const rule =
    resolver === "confidence" && live.every((other) => confidenceOf(other) === sure)
      ? "all are equally sure, so the newest statement is shown"
      : (PICKS[resolver] ?? BY_SCORE);
  if (!contested) return `${rule}; no other one that still stands disagrees`;
  const said = JSON.stringify(winner.value);
  const rivals = live.filter(
    ({ standing, value }) => standing === "undominated" && JSON.stringify(value) !== said,
  );
  // Deletes do not compete for the largest or smallest number.
  const [rival, ...more] =
    resolver === "max" || resolver === "min" ? rivals.filter(({ deleted }) => !deleted) : rivals;
  if (rival === undefined) return `${rule}; the key is contested`;
  const others = more.length === 0 ? "" : ` (and ${counted(more.length, "more statement")} differ)`;
  return `${rule}; ${shortId(rival.writer)}'s ${holdsBecause(resolver, winner, rival)}${others}, so the key is contested`;
}

function explainMerge(fact: VisibleFact, candidates: readonly Candidate[]): string {
  const parts = candidates.filter(({ standing, deleted }) => standing === "shown" && !deleted);
  const writers = counted(parts.length, "writer");
  switch (fact.resolver) {
    case "sum": {
      const numbers = parts.map(({ value }) => value).filter((value) => typeof value === "number");
      const others = parts.length - numbers.length;
      const ignored = others === 0 ? "" : ` (${counted(others, "value")} that is no number adds 0)`;
      const sum =
        numbers.length > MAX_ADDENDS
          ? ""
          : `: ${numbers.map(String).join(" + ")} = ${JSON.stringify(fact.value)}`;
      return `the numbers of ${writers} are added${sum}${ignored}`;
    }
    case "union":
      return `the values of ${writers} are merged into one set`;
    default:
      return `no winner: the values of ${writers} are listed, newest first; they ${fact.contested ? "differ, so the key is contested" : "agree"}`;
  }
}

function explainModule(fact: VisibleFact, candidates: readonly Candidate[]): string {
  const live = candidates.filter(isLive);
  const shown = live.filter(({ standing }) => standing === "shown");
  const [winner] = shown;
  const isPick = shown.length === 1 && JSON.stringify(winner?.value) === JSON.stringify(fact.value);
  if (!isPick) return `the module makes it of the statements of ${counted(live.length, "writer")}`;
  const rest = fact.contested ? "; others say something else, so the key is contested" : "";
  return `the module picks ${shortId(fact.writer)}'s statement${rest}`;
}

function explainNothing(candidates: readonly Candidate[]): string {
  const winner = candidates.find(({ standing }) => standing === "shown");
  if (winner !== undefined) return `nothing is shown: ${shortId(winner.writer)}'s delete wins`;
  const why = new Set(
    candidates.map(({ standing, deleted }) =>
      ["expired", "retracted", "invalid"].includes(standing) ? standing : deleted ? "deleted" : "",
    ),
  );
  const reasons = [...why].filter((reason) => reason !== "").join(" or ");
  // Only a module may pick none of statements that count.
  if (reasons === "") return "nothing is shown: the module picks none";
  return `nothing is shown: every statement is ${reasons}`;
}

/** One line that explains the pick among a key's candidates under its resolver. */
export function explain({ fact, candidates }: KeyCandidates): string {
  if (fact === undefined) return explainNothing(candidates);
  const merges = ["sum", "union", "all"].includes(fact.resolver);
  const byModule = fact.resolver.startsWith("wasm:");
  const words = (byModule ? explainModule : merges ? explainMerge : explainPick)(fact, candidates);
  return `${printable(fact.resolver)}: ${words}`;
}
