// SPDX-License-Identifier: Apache-2.0
/** Random walks of the session machine: events of every kind over views of every kind. */
import { MAX_ROUNDS, initialState, step } from "@ctxmesh/sync";
import type { LocalView, SessionEvent, SessionState, Step, SyncMessage } from "@ctxmesh/sync";
import * as fc from "fast-check";
import { BATCH, HASH, NOW_MS, SPACE, digestOf, head, idsOf, recordsOf, viewOf } from "./kit.ts";
import type { ViewOptions } from "./kit.ts";

/** What a step was made of, and what it did. */
export interface Taken extends Step {
  readonly before: SessionState;
  readonly event: SessionEvent;
  readonly view: LocalView;
}

const small = fc.integer({ min: 1, max: 5 });
/** Our own chain is number 5. */
const OWN = 5;
const anyHead = fc
  .tuple(small, fc.constantFrom(1, 2, 3, 4, 5, 6, 1_000_000), fc.constantFrom(1, 1, 2))
  .map(([n, seq, branch]) => head(n, seq, branch));
const someHeads = fc.array(anyHead, { maxLength: 4 });
const sorted = someHeads.map((all) => {
  const byChain = new Map(all.map((one) => [one.replica, one]));
  return [...byChain.values()].toSorted((a, b) => (a.replica < b.replica ? -1 : 1));
});
const chains = fc.oneof(
  fc.constant<Record<string, number>>({ 1: 1 }),
  fc.dictionary(fc.constantFrom("1", "2", "3", "4", "5"), small),
);
const digest = chains.map(digestOf);
const acts = fc.constantFrom([], [], [], [1], [1, 2]);
const recordDigests = acts.map(recordsOf);
const fingerprint = fc.constant("ab".repeat(16));
const range = fc.oneof(
  sorted.chain((heads) =>
    fc.constantFrom("list", "listed").map((mode) => ({ upper: "", mode, heads }) as const),
  ),
  fingerprint.chain((text) =>
    fc
      .constantFrom("fingerprint", "equal")
      .map((mode) => ({ upper: "", mode, fingerprint: text }) as const),
  ),
);
const NAME = "cd".repeat(32);
const ref = { hash: HASH, section: 0 };

/** Messages of every type; a type that is not here does not compile. */
const MESSAGES: { readonly [Type in SyncMessage["type"]]: fc.Arbitrary<SyncMessage> } = {
  hello: fc.tuple(digest, recordDigests, fc.boolean()).map(([of, recs, ours]) => ({
    type: "hello",
    space: ours ? SPACE : (HASH as unknown as typeof SPACE),
    digest: of,
    records: recs,
    subscription: undefined,
  })),
  have: someHeads.map((heads) => ({ type: "have", heads })),
  pull: fc.constant({ type: "pull", spans: [] }),
  batches: fc.constant({ type: "batches", batches: [BATCH] }),
  push: fc.constant({ type: "push", batch: BATCH }),
  digest: fc
    .tuple(digest, recordDigests, fc.boolean())
    .map(([of, recs, asks]) => ({ type: "digest", digest: of, records: recs, asks })),
  records: acts.map((all) => ({ type: "records", ...idsOf(all) })),
  acts: fc
    .tuple(recordDigests, fc.boolean())
    .map(([recs, more]) => ({ type: "acts", acts: [BATCH], proofs: [], more, records: recs })),
  want: fc.constant({ type: "want", hashes: [HASH] }),
  headers: fc.constant({ type: "headers", headers: [BATCH] }),
  stored: someHeads.map((heads) => ({ type: "stored", heads })),
  sealed: someHeads.map((heads) => ({ type: "sealed", heads })),
  routes: fc.constant({ type: "routes", here: new Set(), elsewhere: new Set() }),
  ranges: fc
    .tuple(fc.integer({ min: 1, max: MAX_ROUNDS }), range)
    .map(([round, one]) => ({ type: "ranges", round, ranges: [one] })),
  wanted: fc.constant({ type: "wanted", wanted: [ref], only: undefined }),
  bodies: fc
    .constantFrom([], [{ ...ref, body: BATCH }])
    .map((bodies) => ({ type: "bodies", bodies })),
  ask: fc.constant({ type: "ask", id: 1, question: BATCH }),
  answer: fc.constant({ type: "answer", id: 1, answer: BATCH }),
  "base-pull": fc.constant({ type: "base-pull", base: undefined, part: 0 }),
  "base-part": fc.constantFrom(
    { type: "base-part", base: undefined, part: 0, bytes: new Uint8Array(0) },
    { type: "base-part", base: NAME, part: 0, bytes: BATCH },
    { type: "base-part", base: NAME, part: 1, bytes: BATCH },
  ),
};

const nowMs = fc.nat(400_000).map((ms) => NOW_MS + ms);

/** Events of every type but messages. */
const OTHERS: {
  readonly [Type in Exclude<SessionEvent["type"], "message">]: fc.Arbitrary<SessionEvent>;
} = {
  opened: fc.constant({ type: "opened" }),
  applied: fc
    .tuple(anyHead, fc.constantFrom("brought", "push", "tell", "late"))
    .map(([at, how]) => ({ type: "applied", head: at, batch: BATCH, how })),
  routes: fc.constant({ type: "routes", routes: initialState.routes }),
  served: someHeads.map((heads) => ({ type: "served", heads })),
  delivered: fc
    .tuple(
      fc.boolean(),
      fc.array(fc.tuple(anyHead, fc.constantFrom(true, false, undefined)), { maxLength: 2 }),
    )
    .map(([accepted, all]) => ({
      type: "delivered",
      accepted,
      settled: all.map(([at, same]) => ({ ...at, same })),
    })),
  held: nowMs.map((ms) => ({ type: "held", nowMs: ms })),
  "records-changed": nowMs.map((ms) => ({
    type: "records-changed",
    records: { acts: [BATCH], proofs: [] },
    nowMs: ms,
  })),
  "records-added": fc
    .tuple(fc.nat(1), fc.boolean())
    .map(([added, more]) => ({ type: "records-added", added, more })),
  compare: nowMs.map((ms) => ({ type: "compare", nowMs: ms })),
  missing: nowMs.map((ms) => ({ type: "missing", hashes: [HASH], nowMs: ms })),
  ask: fc.constant({ type: "ask", id: 1, question: BATCH }),
  fetch: fc.constant({ type: "fetch", wanted: [ref], only: undefined }),
  sealed: someHeads.map((heads) => ({ type: "sealed", heads })),
  vouched: fc.constant({ type: "vouched" }),
  "base-taken": fc.constantFrom(
    { type: "base-taken", progress: { kind: "more", name: NAME, part: 1 } },
    { type: "base-taken", progress: { kind: "installed", heads: 1 } },
  ),
  "base-served": fc.constant({ type: "base-served" }),
  freed: fc.constant({ type: "freed" }),
  "base-elsewhere": fc.boolean().map((elsewhere) => ({ type: "base-elsewhere", elsewhere })),
  tick: nowMs.map((ms) => ({ type: "tick", nowMs: ms })),
};

/** Events of every kind by their names in `SPEC.md`. */
export const EVENTS: Readonly<Record<string, fc.Arbitrary<SessionEvent>>> = {
  ...Object.fromEntries(
    Object.entries(MESSAGES).map(([type, of]) => [
      `message ${type}`,
      of.map((message): SessionEvent => ({ type: "message", message })),
    ]),
  ),
  ...OTHERS,
};
const anyView: fc.Arbitrary<WalkView> = fc
  .record({
    chains,
    limits: fc.dictionary(fc.constantFrom("1", "2"), fc.nat(4)),
    acts,
    branch: fc.constantFrom(1, 1, 1, 2),
    heldAt: fc.dictionary(fc.constantFrom("3"), small),
    claimed: fc.subarray([2, 4], { minLength: 0 }),
  })
  .map(({ chains: of, ...options }) => ({ of, options: { ...options, own: OWN } }));

/** A walk: events in an order that often makes sense, and views that often go on from each other. */
const anyEvent = fc.oneof(...Object.values(EVENTS).map((arbitrary) => ({ arbitrary, weight: 2 })));
const GREETING: readonly SessionEvent[] = [
  { type: "opened" },
  {
    type: "message",
    message: {
      type: "hello",
      space: SPACE,
      digest: digestOf({ 1: 1 }),
      records: recordsOf([]),
      subscription: undefined,
    },
  },
];
const greeting = fc.constantFrom<readonly SessionEvent[]>([], GREETING);
/** A walk: where it starts, and what happens; who the remote is, and who we are. */
export interface Walk {
  readonly believes: boolean;
  readonly isHub: boolean;
  readonly start: readonly SessionEvent[];
  readonly view: WalkView;
  readonly steps: readonly {
    readonly event: SessionEvent;
    /** The view from here on, if it changes. */
    readonly view: WalkView | undefined;
    /** Else what would close the session is left out. */
    readonly mayClose: boolean;
  }[];
}

/** Chains, and the rest of a view. */
interface WalkView {
  readonly of: Readonly<Record<string, number>>;
  readonly options: ViewOptions;
}

/** Any walk. */
export const walk: fc.Arbitrary<Walk> = fc.record({
  believes: fc.boolean(),
  isHub: fc.boolean(),
  start: greeting,
  view: anyView,
  steps: fc.array(
    fc.record({
      event: anyEvent,
      view: fc.option(anyView, { nil: undefined, freq: 2 }),
      mayClose: fc.nat(15).map((n) => n === 0),
    }),
    { minLength: 40, maxLength: 60, size: "max" },
  ),
});

/** Takes each step of a walk; those that would close the session only now and then, or walks would be short. */
export function follow(
  { believes, isHub, start, view, steps }: Walk,
  look: (taken: Taken) => void,
): void {
  let state: SessionState = { ...initialState, believes };
  let local = view;
  const first = start.map((event) => ({ event, view: undefined, mayClose: true }));
  for (const { event, view: next, mayClose } of [...first, ...steps]) {
    local = next ?? local;
    const before = state;
    const at = viewOf(local.of, { ...local.options, ...(isHub ? { sealed: local.of } : {}) });
    const taken = step(before, event, at);
    if (taken.state.phase === "closed" && before.phase === "open" && !mayClose) continue;
    look({ ...taken, before, event, view: at });
    state = taken.state;
  }
}

/** A view of one chain. */
const plainView = (limits: Record<string, number>): Walk["view"] => ({
  of: { 1: 1 },
  options: { limits, acts: [], branch: 1, heldAt: {}, own: OWN },
});
/** The same while another session brings that chain. */
const claimedView: Walk["view"] = {
  ...plainView({}),
  options: { ...plainView({}).options, claimed: [1] },
};
const elsewhere = (is: boolean): SessionEvent => ({ type: "base-elsewhere", elsewhere: is });

/** Walks to what is too rare to be met by chance. */
export function rareWalks(): readonly Walk[] {
  const huge: SessionEvent = {
    type: "message",
    message: { type: "have", heads: [head(1, 1_000_000)] },
  };
  const records = { acts: [], proofs: [] };
  const somePart: SessionEvent = {
    type: "message",
    message: { type: "base-part", base: NAME, part: 0, bytes: BATCH },
  };
  const more: SessionEvent = {
    type: "base-taken",
    progress: { kind: "more", name: NAME, part: 1 },
  };
  const lastRound: SessionEvent = {
    type: "message",
    message: {
      type: "ranges",
      round: MAX_ROUNDS,
      ranges: [{ upper: "", mode: "list", heads: [head(3, 1)] }],
    },
  };
  const otherRecords: SessionEvent = {
    type: "message",
    message: { type: "digest", digest: digestOf({}), records: recordsOf([1]), asks: false },
  };
  const sameRecords: SessionEvent = {
    type: "message",
    message: { type: "acts", acts: [], proofs: [], more: false, records: recordsOf([]) },
  };
  const hugeList: SessionEvent = {
    type: "message",
    message: {
      type: "ranges",
      round: 2,
      ranges: [{ upper: "", mode: "listed", heads: [head(1, 1_000_000)] }],
    },
  };
  // A clock that jumps does not count against the remote, so time passes in small steps.
  const ticks = Array.from({ length: 400 }, (_, i): SessionEvent => {
    return { type: "tick", nowMs: NOW_MS + i * 1_000 };
  });
  const noBase = { type: "base-part", base: undefined, part: 0, bytes: new Uint8Array(0) } as const;
  const walkOf = (first: Walk["view"], ...events: SessionEvent[]): Walk => ({
    believes: false,
    isHub: false,
    start: GREETING,
    view: first,
    steps: events.map((event, i) => {
      const isLast = i === events.length - 1;
      return { event, view: isLast ? plainView({}) : undefined, mayClose: true };
    }),
  });
  return [
    walkOf(plainView({}), elsewhere(true), huge, elsewhere(false)),
    walkOf(plainView({}), huge, { type: "message", message: noBase }),
    walkOf(plainView({}), huge, somePart, more, { type: "message", message: noBase }),
    walkOf(plainView({}), huge, ...ticks),
    walkOf(plainView({}), lastRound),
    walkOf(plainView({}), hugeList),
    walkOf(plainView({}), otherRecords, huge, sameRecords, {
      type: "records-added",
      added: 0,
      more: false,
    }),
    walkOf(claimedView, huge, { type: "freed" }),
    walkOf(plainView({ 1: 1 }), huge, { type: "records-changed", records, nowMs: NOW_MS }),
  ];
}

/** The name of an event in `SPEC.md`. */
export const nameOf = (event: SessionEvent): string =>
  event.type === "message" ? `message ${event.message.type}` : event.type;
