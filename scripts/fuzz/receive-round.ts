// SPDX-License-Identifier: Apache-2.0
/** One replica that is fuzzed, from its opening to its end, and two that have to agree with it. */
import { decodeBatch, encodeSignedRecord } from "@ctxmesh/codec";
import type { Header } from "@ctxmesh/codec";
import { MeshError, toHex } from "@ctxmesh/model";
import type { DeviceKey, HeaderHash, IncarnationId, ReceiveOutcome } from "@ctxmesh/model";
import { verdictOf } from "../../test/attacks/support/attack.ts";
import type { Party } from "./devices.ts";
import type { Dice } from "./dice.ts";
import { hashOf, openDraft } from "./draft.ts";
import { Forger } from "./fresh.ts";
import {
  mutateBody,
  mutateContent,
  mutateFields,
  mutateFrame,
  mutateHeader,
  mutateRaw,
} from "./mutate.ts";
import type { Material } from "./mutate.ts";
import { mutateAct, mutateAny, validAct, validProof } from "./records.ts";
import type { Round, Wrap } from "./round.ts";
import { makeScene, openReplica } from "./scene.ts";
import { Subject, isFork } from "./subject.ts";
import { readUpdate } from "./v1.ts";
import type { Id } from "./v1.ts";

const MOST_IDS = 300;
const MOST_CLOCKS = 40;

type Mutation = (dice: Dice, base: Uint8Array, material: Material) => Uint8Array;

/** Kinds of inputs, and how many of 100 are of each. */
const MUTATIONS: readonly (readonly [percent: number, Mutation])[] = [
  [14, mutateRaw],
  [8, mutateFrame],
  [14, mutateHeader],
  [16, mutateFields],
  [6, mutateBody],
  [37, mutateContent],
  [5, (_, base) => base],
];

function pickMutation(dice: Dice): Mutation {
  let rest = dice.roll(100);
  for (const [percent, mutation] of MUTATIONS) {
    if (rest < percent) return mutation;
    rest -= percent;
  }
  return mutateRaw;
}

const haveSameFrontier = (one: Subject, other: Subject): boolean =>
  toHex(one.replica.frontierDigest()) === toHex(other.replica.frontierDigest());

/** What counts of each chain. */
const chainsOf = ({ replica }: Subject): readonly string[] =>
  replica
    .chains()
    .filter(({ seq }) => seq > 0)
    .map(
      (chain) =>
        `${chain.replica.slice(0, 6)}/${chain.incarnation.slice(0, 6)}:${String(chain.seq)}`,
    );

const onlyIn = (these: readonly string[], those: readonly string[]): string =>
  these.filter((chain) => !those.includes(chain)).join(" ") || "nothing more";

/** How two replicas that got the same batches and records in another order differ. */
function differenceOf(one: Subject, other: Subject): string {
  if (haveSameFrontier(one, other)) return "two replicas with the same frontier have other content";
  const [a, b] = [chainsOf(one), chainsOf(other)];
  return (
    `batches in another order come to another frontier: first ${onlyIn(a, b)}, then ${onlyIn(b, a)}, ` +
    `and ${String(other.replica.counters().held)} are held`
  );
}

/** A round against `Replica.receive`. */
export class ReceiveRound implements Round {
  readonly #party: Party;
  readonly #target: Subject;
  /** Is given what was accepted or held, and nothing that was refused. */
  readonly #mirror: Subject;
  readonly #scene: readonly { readonly bytes: Uint8Array; readonly header: Header }[];
  readonly #material: Material;
  readonly #heads = new Map<string, { readonly seq: number; readonly hash: HeaderHash }>();
  readonly #forgers: Forger[];
  readonly #applied: Uint8Array[] = [];
  readonly #hashes: HeaderHash[] = [];
  readonly #ids: Id[] = [];
  #digest = "";
  #forks = 0;
  /** What the next input is. */
  #next: "batch" | "act" | "proof" = "batch";

  private constructor(
    party: Party,
    scene: readonly Uint8Array[],
    target: Subject,
    mirror: Subject,
    dice: Dice,
  ) {
    this.#party = party;
    this.#scene = scene.map((bytes) => ({ bytes, header: decodeBatch(bytes).header }));
    this.#material = { party, batches: scene, hashes: this.#hashes, ids: this.#ids };
    this.#target = target;
    this.#mirror = mirror;
    this.#forgers = party.forgers.map((member) => new Forger(party, member, dice));
    target.replica.onApplied(({ bytes }) => {
      this.#noteApplied(bytes);
    });
  }

  /** Writes a scene, and gives the fuzzed replica the beginning of it. */
  static async open(party: Party, dice: Dice, wrap: Wrap): Promise<ReceiveRound> {
    const scene = await makeScene(party, dice);
    const target = new Subject(wrap(await openReplica(party, party.target, 1)));
    const mirror = new Subject(await openReplica(party, party.target, 2));
    const round = new ReceiveRound(party, scene, target, mirror, dice);
    const known = dice.roll(scene.length);
    for (const bytes of scene.slice(0, known)) {
      await target.receive(bytes);
      await mirror.receive(bytes);
    }
    round.#digest = target.digest();
    return round;
  }

  #noteApplied(bytes: Uint8Array): void {
    this.#applied.push(bytes);
    const hash = hashOf(bytes);
    this.#hashes.push(hash);
    const draft = openDraft(bytes);
    this.#heads.set(draft.replica + draft.incarnation, { seq: draft.seq, hash });
    for (const section of draft.sections) {
      if (section.kind !== "rich" || this.#ids.length > MOST_IDS) continue;
      const client = readUpdate(section.payload)?.client ?? 0;
      const to = Math.min(section.to, section.from + MOST_CLOCKS);
      for (let clock = section.from; clock < to; clock++) this.#ids.push([client, clock]);
    }
    for (const forger of this.#forgers) {
      if (forger.incarnation === draft.incarnation && forger.replica === draft.replica) {
        forger.advance(draft, hash);
      }
    }
  }

  #isForked(replica: DeviceKey, incarnation: IncarnationId): boolean {
    return Number.isFinite(this.#target.replica.limitOf(replica, incarnation));
  }

  /** A chain made by hand; a new one in the place of one that is void. */
  #forger(dice: Dice): Forger {
    const at = dice.roll(this.#forgers.length);
    const [forger, member] = [this.#forgers[at], this.#party.forgers[at]];
    if (forger === undefined || member === undefined) throw new Error("no forger");
    if (!this.#isForked(forger.replica, forger.incarnation)) return forger;
    const fresh = new Forger(this.#party, member, dice);
    this.#forgers[at] = fresh;
    return fresh;
  }

  /** Batches of the scene that come next in their chain. */
  #ahead(): readonly Uint8Array[] {
    return this.#scene
      .filter(({ header: { replica, incarnation, seq, prev } }) => {
        const head = this.#heads.get(replica + incarnation);
        if (this.#isForked(replica, incarnation)) return false;
        return seq === (head?.seq ?? 0) + 1 && prev === (head?.hash ?? null);
      })
      .map(({ bytes }) => bytes);
  }

  /** The next input: mostly a mutation of a batch that could be accepted as it stands. */
  next(dice: Dice): Uint8Array {
    this.#next = dice.chance(97) ? "batch" : dice.chance(80) ? "act" : "proof";
    if (this.#next !== "batch") return this.#record(dice);
    const ahead = dice.chance(90) ? this.#ahead() : [];
    const valid = ahead.length > 0 ? ahead : this.#material.batches;
    const base = dice.chance(45)
      ? this.#forger(dice).make(dice, this.#hashes, this.#ids)
      : dice.pick(valid);
    const mutate = pickMutation(dice);
    try {
      return mutate(dice, base, this.#material);
    } catch (error) {
      // What forgers make need not be well-formed, and can then not be taken apart.
      if (!(error instanceof MeshError)) throw error;
      return mutateRaw(dice, base, this.#material);
    }
  }

  /** A membership act or a proof, valid or not. */
  #record(dice: Dice): Uint8Array {
    if (this.#next === "proof") {
      const proof = validProof(dice, this.#party);
      return dice.chance(50) ? proof : mutateAny(dice, proof);
    }
    const { space } = this.#target.replica;
    const [known] = space.acts;
    const act = validAct(dice, space, this.#party);
    if (act !== undefined && dice.chance(30)) return act;
    if (known === undefined) throw new Error("a space without acts");
    return mutateAct(dice, act ?? encodeSignedRecord(known.record), this.#party);
  }

  /** Hands an input in. Returns the verdict, or throws what is wrong. */
  async play(bytes: Uint8Array): Promise<string> {
    if (this.#next !== "batch") return this.#playRecord(bytes);
    const outcome = await this.#target.receive(bytes);
    await this.#compare(bytes, outcome);
    return `receive: ${verdictOf(outcome)}`;
  }

  async #playRecord(bytes: Uint8Array): Promise<string> {
    const records = this.#next === "act" ? { acts: [bytes] } : { proofs: [bytes] };
    const { added } = await this.#target.replica.addRecords(records);
    await this.#target.rest();
    const digest = this.#target.digest();
    if (added === 0 && digest !== this.#digest) {
      throw new Error(`a ${this.#next} that was not taken changed the content`);
    }
    this.#digest = digest;
    await this.#mirror.replica.addRecords(added === 0 ? {} : records);
    await this.#mirror.rest();
    if (this.#mirror.digest() !== digest) throw new Error("a second replica has other content");
    return `${this.#next}: ${added === 0 ? "not taken" : "taken"}`;
  }

  async #compare(bytes: Uint8Array, outcome: ReceiveOutcome): Promise<void> {
    const digest = this.#target.digest();
    const forked = isFork(outcome);
    // Whatever is handed in, one that is held may be looked at again and stand at a taken position: then the chain forks there.
    const isProven = this.#target.replica.evidence().length > this.#forks;
    if (outcome.kind === "accepted") {
      if (digest === this.#digest && !isProven) {
        throw new Error("an accepted batch left the frontier as it was");
      }
    } else if (digest !== this.#digest && !forked && !isProven) {
      throw new Error(`a batch was partly applied, though it was ${verdictOf(outcome)}`);
    }
    this.#digest = digest;
    this.#forks = this.#target.replica.evidence().length;
    // Of a batch that lacks a body the header is remembered: with another one it proves a fork.
    const isForgotten = outcome.kind === "refused" && !forked && outcome.reason !== "omitted";
    if (outcome.kind === "duplicate" || isForgotten) return;
    const mirrored = await this.#mirror.receive(bytes);
    if (verdictOf(mirrored) !== verdictOf(outcome)) {
      throw new Error(`${verdictOf(outcome)} here, and ${verdictOf(mirrored)} at a second replica`);
    }
    if (this.#mirror.digest() !== digest) throw new Error("a second replica has other content");
  }

  /**
   * What was accepted has the same effect in any order, with the records anywhere in between. What is refused at
   * first, since what voids it or what it builds on has not arrived, comes again, as anti-entropy would bring it.
   */
  async end(dice: Dice): Promise<string> {
    const third = new Subject(await openReplica(this.#party, this.#party.target, 3));
    const order = [...this.#applied];
    for (let i = order.length; i > 0; i--) order.push(...order.splice(dice.roll(i), 1));
    const turn = dice.roll(order.length + 1);
    for (const bytes of order.slice(turn)) await third.receive(bytes);
    await this.#bringRecords(third);
    for (let before = ""; before !== third.digest();) {
      before = third.digest();
      for (const bytes of order) await third.receive(bytes);
      await this.#bringHeaders(third);
    }
    const verdict = this.#judge(third);
    for (const { replica } of [this.#target, this.#mirror, third]) await replica.close();
    return verdict;
  }

  /**
   * The honest name every batch that they build on. Who does not, and builds on content that was void before it
   * was everywhere, may be held elsewhere; the content of the same frontier is the same all the same.
   */
  #judge(third: Subject): string {
    if (third.digest() === this.#digest) return "order: the same";
    const { replica } = third;
    // Held for content: no header is missing that was not brought.
    const brought = replica.missing(0).every((hash) => this.#hashes.includes(hash));
    if (replica.counters().held > 0 && brought && !haveSameFrontier(this.#target, third))
      return "order: apart, held";
    throw new Error(differenceOf(this.#target, third));
  }

  async #bringRecords({ replica }: Subject): Promise<void> {
    await replica.addRecords(this.#target.replica.readRecords(replica.recordIds()));
  }

  /** Brings the headers of void batches that held ones wait for, until nothing changes. */
  async #bringHeaders(subject: Subject): Promise<void> {
    const { replica } = subject;
    const waits = (): string => [replica.counters().held, ...replica.missing(0)].join();
    for (let before = ""; before !== waits();) {
      before = waits();
      for (const hash of replica.missing(0)) {
        await replica.addHeaders(await this.#target.replica.signedHeaders(hash));
      }
      await subject.retry();
    }
  }
}
