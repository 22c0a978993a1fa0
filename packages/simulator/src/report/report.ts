// SPDX-License-Identifier: Apache-2.0
/** What a scenario's run came to, as plain data: the answer of `--json`, and what text and page show. Times are simulated milliseconds. */
import type { Candidate, JsonValue } from "@ctxmesh/model";

/** A distribution in short. Absent figures: there was nothing to measure. */
export interface Spread {
  readonly count: number;
  readonly p50Ms?: number;
  readonly p95Ms?: number;
  readonly maxMs?: number;
}

/** How long facts took from one place to another: from being durable at the writer to being visible at a node there. */
export interface PropagationRow extends Spread {
  readonly from: string;
  readonly to: string;
  /** Facts, for each node there, that had not arrived when the run ended. */
  readonly missing: number;
}

/**
 * What a reader saw at one node. Staleness of a key at a look: for how long a newer statement than the newest one here
 * had existed somewhere; 0 when there was none. Each look counts until the next one.
 */
export interface ReaderRow extends Spread {
  readonly name: string;
  readonly node: string;
  readonly looks: number;
  /** Looks at which the node was not running. */
  readonly unanswered: number;
  /** Share of the time in which everything read was the newest there was, 0 to 1. */
  readonly freshShare: number;
  /** Share of the values read that were contested, 0 to 1. */
  readonly contestedShare: number;
}

/** A contested fact at the end. */
export interface ContestedFact {
  readonly doc: string;
  readonly key: string;
  readonly resolver: string;
  readonly value: JsonValue;
  readonly candidates: readonly {
    readonly node: string;
    readonly value?: JsonValue;
    readonly standing: Candidate["standing"];
    readonly ageMs: number;
    readonly confidence?: number;
    readonly source?: string;
  }[];
}

/** Contested facts over the run. */
export interface Contested {
  /** Visible facts at the end, contested ones, and of those the first few with their candidates. */
  readonly facts: number;
  readonly atEnd: number;
  readonly shown: readonly ContestedFact[];
  /** Of the policy's rules: how many visible facts fall under each at the end, and how many of them are contested. */
  readonly byRule: readonly {
    readonly prefix: string;
    readonly resolver: string;
    readonly facts: number;
    readonly contested: number;
  }[];
  /** The most at once, where and when; absent when nothing ever was. */
  readonly most?: { readonly count: number; readonly node: string; readonly atMs: number };
}

/** What went over the lines between two places. */
export interface LinkRow {
  readonly a: string;
  readonly b: string;
  readonly lines: number;
  readonly messages: number;
  readonly bytesToA: number;
  readonly bytesToB: number;
  /** How often a line was cut, over all of them, and for which share of the time, 0 to 1. */
  readonly outages: number;
  readonly downShare: number;
}

/** Writes that reached a level, and how long that took. */
export interface AckRow extends Spread {
  readonly level: "local" | "hub" | "sealed";
  /** Facts that had not reached it when the run ended. */
  readonly waiting: number;
}

/** Something with a number. */
export interface Counted {
  readonly what: string;
  readonly count: number;
}

/** How the mesh came together again. */
export interface Convergence {
  /** When the last outage or event was over; 0 without any. */
  readonly quietMs: number;
  /** From then until every node had what was written before; absent when that did not happen. */
  readonly tookMs?: number;
  /** Whether all nodes had the same frontier, records and content at the end. */
  readonly equal: boolean;
  readonly digest: string;
}

/** Series over equal parts of the run; null where nothing was measured. */
export interface Timeline {
  readonly bucketMs: number;
  /** Share of each part in which the link was down. */
  readonly links: readonly { readonly name: string; readonly down: readonly number[] }[];
  /** Greatest staleness in each part. */
  readonly readers: readonly { readonly name: string; readonly ms: readonly (number | null)[] }[];
  /** Facts that exist and had not arrived; null while the node was down. */
  readonly backlog: readonly {
    readonly name: string;
    readonly facts: readonly (number | null)[];
  }[];
  readonly contested: readonly {
    readonly name: string;
    readonly facts: readonly (number | null)[];
  }[];
  readonly events: readonly { readonly atMs: number; readonly text: string }[];
}

/** The report of a run. */
export interface ScenarioReport {
  readonly name: string;
  readonly description: string;
  readonly seed: number;
  readonly durationMs: number;
  /** With the time that it took to come to rest. */
  readonly simulatedMs: number;
  readonly nodes: readonly {
    readonly name: string;
    readonly place: string;
    readonly service: "agent" | "hub";
  }[];
  readonly writes: {
    /** Facts that became durable. */
    readonly facts: number;
    /** Planned writes that could not be made because the agent was not running. */
    readonly unavailable: number;
    readonly refused: readonly Counted[];
    readonly acknowledged: readonly AckRow[];
  };
  readonly propagation: readonly PropagationRow[];
  readonly readers: readonly ReaderRow[];
  readonly contested: Contested;
  readonly links: readonly LinkRow[];
  /** What became of received batches, over all nodes: `accepted`, `duplicate`, `held: <reason>`, `refused: <reason>`. */
  readonly received: readonly Counted[];
  readonly convergence: Convergence;
  readonly invariants: {
    /** Names of what was watched. */
    readonly checked: readonly string[];
    readonly violations: readonly {
      readonly name: string;
      readonly atMs: number;
      readonly message: string;
    }[];
  };
  /** SHA-256 of the trace, hex: equal for the same scenario, seed and version. */
  readonly traceHash: string;
  readonly timeline: Timeline;
}
