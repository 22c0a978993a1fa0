// SPDX-License-Identifier: Apache-2.0
/** Formats that are parsed outside the receive pipeline: messages of the sync protocol, and space files. */
import { MeshError, fromHex, parseHeaderHash, parseIncarnationId, toHex } from "@ctxmesh/model";
import { decodeMessage, encodeMessage } from "@ctxmesh/sync";
import type { SyncMessage } from "@ctxmesh/sync";
import type { Party } from "./devices.ts";
import type { Dice } from "./dice.ts";
import { RECORD_FORMATS, mutateAny } from "./records.ts";
import type { Format } from "./records.ts";
import type { Round } from "./round.ts";

function message(dice: Dice, { space, everybody }: Party): SyncMessage {
  const replica = dice.pick(everybody).key;
  const incarnation = parseIncarnationId(toHex(dice.bytes(16)));
  const chains = Array.from({ length: dice.roll(4) }, () => ({
    replica,
    incarnation,
    seq: 1 + dice.roll(1000),
  }));
  const heads = chains.map((chain) => ({ ...chain, hash: toHex(dice.bytes(16)) }));
  const some = (): Uint8Array[] => chains.map(() => dice.bytes(dice.roll(40)));
  const [digest, records] = [dice.bytes(16), dice.bytes(16)];
  const hashes = chains.map(() => toHex(dice.bytes(32)));
  const all: readonly SyncMessage[] = [
    { type: "hello", space: space.id, digest, records },
    { type: "have", heads },
    { type: "pull", spans: chains.map(({ seq, ...of }) => ({ ...of, from: seq, to: seq + 9 })) },
    { type: "batches", batches: some() },
    { type: "push", batch: fromHex(replica) },
    { type: "digest", digest, records, asks: dice.chance(50) },
    {
      type: "records",
      acts: dice.chance(70) ? hashes.toSorted() : undefined,
      forks: dice.chance(70) ? chains : undefined,
    },
    { type: "acts", acts: some(), proofs: some(), more: dice.chance(50), records },
    { type: "want", hashes: hashes.map(parseHeaderHash) },
    { type: "headers", headers: some() },
  ];
  return dice.pick(all);
}

const MESSAGE: Format = {
  name: "message",
  make: (dice, party) => encodeMessage(message(dice, party)),
  mutate: mutateAny,
  read(bytes) {
    const again = encodeMessage(decodeMessage(bytes));
    if (Buffer.compare(again, bytes) !== 0) throw new Error("a message has a second form");
  },
};

const FORMATS: readonly Format[] = [MESSAGE, MESSAGE, MESSAGE, ...RECORD_FORMATS];

/** A round against parsers. */
export class FormatRound implements Round {
  readonly #party: Party;
  #format: Format = MESSAGE;

  constructor(party: Party) {
    this.#party = party;
  }

  next(dice: Dice): Uint8Array {
    this.#format = dice.pick(FORMATS);
    const bytes = this.#format.make(dice, this.#party);
    return dice.chance(3) ? bytes : this.#format.mutate(dice, bytes, this.#party);
  }

  play(bytes: Uint8Array): string {
    const { name } = this.#format;
    try {
      this.#format.read(bytes, this.#party);
      return `${name}: accepted`;
    } catch (error) {
      if (!(error instanceof MeshError) || error.code === "INTERNAL") throw error;
      return `${name}: refused`;
    }
  }

  end(): string {
    return "formats: the same";
  }
}
