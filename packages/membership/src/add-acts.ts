// SPDX-License-Identifier: Apache-2.0
/** The one way in for acts, our own and foreign ones. */
import { actSigningInput, decodeAct } from "@ctxmesh/codec";
import type { Act, SignedRecord } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { LIMITS, fromHex, parseActId, toHex, toMeshError } from "@ctxmesh/model";
import type { ActId, DeviceKey, MeshErrorCode, SignatureVerifier } from "@ctxmesh/model";
import { authorityProblem } from "./authority.ts";
import { deriveSpace } from "./derive.ts";
import { evaluate } from "./evaluate.ts";
import { buildGraph, namedBy } from "./graph.ts";
import { policyOf } from "./policy-record.ts";
import type { KnownAct, Space } from "./space.ts";

/** Why a record was not taken. */
export interface RefusedAct {
  readonly code: MeshErrorCode;
  readonly message: string;
}

/** What adding acts came to. */
export interface AddedActs {
  readonly space: Space;
  /** Those that were not known, in the order of `Space.acts`. */
  readonly added: readonly KnownAct[];
  readonly refused: readonly RefusedAct[];
  /** Number of acts that were left out since a parent is not known yet, or their time is ahead of the clock. */
  readonly waiting: number;
}

interface Candidate {
  readonly id: ActId;
  readonly act: Act;
  readonly record: SignedRecord;
  /** Number of acts that it names and that are not known. */
  missing: number;
}

type Refusal = readonly [code: MeshErrorCode, problem: string];

/** One call of {@link addActs}: takes candidates in, parents first. */
class Intake {
  readonly #space: Space;
  readonly #verifier: SignatureVerifier;
  readonly #known: Map<ActId, Act>;
  readonly #candidates = new Map<ActId, Candidate>();
  readonly #countByAuthor = new Map<DeviceKey, number>();
  #bytes: number;
  readonly accepted: Candidate[] = [];
  readonly refused: RefusedAct[] = [];
  waiting = 0;

  constructor(space: Space, verifier: SignatureVerifier) {
    this.#space = space;
    this.#verifier = verifier;
    this.#known = new Map(space.acts.map(({ id, act }) => [id, act]));
    for (const { act } of space.acts) this.#count(act.author);
    this.#bytes = space.acts.reduce((sum, { record }) => sum + record.body.length, 0);
  }

  /** Parses a record and checks what needs nothing else to be known. */
  offer(record: SignedRecord, nowMs: number): void {
    const id = parseActId(toHex(sha256(record.body)));
    if (this.#known.has(id) || this.#candidates.has(id)) return;
    try {
      const act = decodeAct(record.body);
      if (act.space !== this.#space.id) {
        this.#refuse(id, ["POLICY_REFUSED", "it is of another space"]);
      } else if (act.time > nowMs + LIMITS.clockAheadMs) {
        this.waiting++;
      } else {
        if (act.kind === "policy") policyOf(act);
        this.#candidates.set(id, { id, act, record, missing: 0 });
      }
    } catch (error) {
      const { code, message } = toMeshError(error);
      this.#refuse(id, [code, message]);
    }
  }

  /** Takes in all candidates whose parents are known or get known on the way. */
  settle(): void {
    const ready: Candidate[] = [];
    const children = new Map<ActId, Candidate[]>();
    for (const candidate of this.#candidates.values()) {
      for (const id of namedBy(candidate.act)) {
        if (this.#known.has(id)) continue;
        candidate.missing++;
        const siblings = children.get(id);
        if (siblings === undefined) children.set(id, [candidate]);
        else siblings.push(candidate);
      }
      if (candidate.missing === 0) ready.push(candidate);
    }
    for (let next = ready.pop(); next !== undefined; next = ready.pop()) {
      this.#candidates.delete(next.id);
      const refusal = this.#check(next);
      if (refusal !== undefined) {
        this.#refuse(next.id, refusal);
        continue;
      }
      this.#accept(next);
      for (const child of children.get(next.id) ?? []) {
        child.missing--;
        if (child.missing === 0) ready.push(child);
      }
    }
    this.waiting += this.#candidates.size;
  }

  /** Cheapest first. */
  #check({ act, record }: Candidate): Refusal | undefined {
    if (this.#known.size >= LIMITS.acts) {
      return ["LIMIT_EXCEEDED", `the space has ${String(LIMITS.acts)} acts, which is the limit`];
    }
    const own = this.#countByAuthor.get(act.author) ?? 0;
    if (own >= LIMITS.actsPerAuthor && !this.#space.genesis.creators.includes(act.author)) {
      return [
        "LIMIT_EXCEEDED",
        `its author has ${String(own)} acts, the limit is ${String(LIMITS.actsPerAuthor)}`,
      ];
    }
    if (this.#bytes + record.body.length > LIMITS.actsBytes) {
      return ["LIMIT_EXCEEDED", `the space's acts would exceed ${String(LIMITS.actsBytes)} bytes`];
    }
    const authority = act.authority === null ? undefined : this.#known.get(act.authority);
    const problem = authorityProblem(this.#space.genesis, act, authority);
    if (problem !== undefined) return ["POLICY_REFUSED", problem];
    const input = actSigningInput(record.body);
    if (!this.#verifier.verify(fromHex(act.author), input, record.signature)) {
      return ["SIGNATURE_INVALID", "its signature does not verify"];
    }
    return undefined;
  }

  #accept(candidate: Candidate): void {
    this.#known.set(candidate.id, candidate.act);
    this.#count(candidate.act.author);
    this.#bytes += candidate.record.body.length;
    this.accepted.push(candidate);
  }

  #count(author: DeviceKey): void {
    this.#countByAuthor.set(author, (this.#countByAuthor.get(author) ?? 0) + 1);
  }

  #refuse(id: ActId, [code, problem]: Refusal): void {
    this.refused.push({ code, message: `act ${id.slice(0, 12)}: ${problem}` });
  }
}

interface Placed {
  readonly id: ActId;
  readonly act: Act;
  readonly record: SignedRecord;
  /** As evaluated before; absent for new acts. */
  readonly before?: KnownAct;
}

/** All acts by depth in the graph, then by id: an order that depends on nothing but the set. */
function inOrder(known: readonly KnownAct[], accepted: readonly Candidate[]): readonly Placed[] {
  const depths = new Map<ActId, number>();
  const placed: Placed[] = known.map((before) => ({
    id: before.id,
    act: before.act,
    record: before.record,
    before,
  }));
  for (const { id, act, record } of accepted) placed.push({ id, act, record });
  for (const { id, act } of placed) {
    let depth = 0;
    for (const parent of namedBy(act)) depth = Math.max(depth, (depths.get(parent) ?? 0) + 1);
    depths.set(id, depth);
  }
  const depthOf = ({ id }: Placed): number => depths.get(id) ?? 0;
  return placed.toSorted((a, b) => depthOf(a) - depthOf(b) || (a.id < b.id ? -1 : 1));
}

function judged({ id, act, record, before }: Placed, problem: string | undefined): KnownAct {
  if (before !== undefined && before.problem === problem) return before;
  const valid = problem === undefined;
  return { id, act, record, valid, ...(valid ? {} : { problem }) };
}

/**
 * The space with more acts: those that are well formed, of this space, within the authority that they name,
 * within the limits and signed. An act is left out, without an error, as long as one that it names is not
 * known, or its time is over `LIMITS.clockAheadMs` ahead of `nowMs` (Unix milliseconds). Known ones are
 * passed over. The result is the same for any order and any division into calls.
 *
 * Codes of refusals: `FORMAT_INVALID`, `INPUT_INVALID`, `LIMIT_EXCEEDED`, `POLICY_REFUSED`, `SIGNATURE_INVALID`.
 */
export function addActs(
  space: Space,
  records: readonly SignedRecord[],
  verifier: SignatureVerifier,
  nowMs: number,
): AddedActs {
  const intake = new Intake(space, verifier);
  for (const record of records) intake.offer(record, nowMs);
  intake.settle();
  const { accepted, refused, waiting } = intake;
  if (accepted.length === 0) return { space, added: [], refused, waiting };
  const placed = inOrder(space.acts, accepted);
  const problems = evaluate(buildGraph(placed));
  const acts = placed.map((act, i) => judged(act, problems[i]));
  const { id, genesis, genesisRecord } = space;
  const isNew = new Set(accepted.map((candidate) => candidate.id));
  return {
    space: deriveSpace({ id, genesis, genesisRecord }, acts),
    added: acts.filter((act) => isNew.has(act.id)),
    refused,
    waiting,
  };
}
