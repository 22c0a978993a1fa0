// SPDX-License-Identifier: Apache-2.0
/** Valid batches: what a few replicas write at random, and tell each other some of. */
import { parseDocumentName } from "@ctxmesh/model";
import type { DocumentName, FactInput } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import {
  createMemoryStore,
  createSeededRandom,
  createVirtualClock,
  silentLogger,
} from "@ctxmesh/testing";
import { Dice as EditDice, randomEdit } from "../../packages/rich/test/support.ts";
import { START_MS } from "../../test/attacks/support/forge.ts";
import type { Member, Party } from "./devices.ts";
import type { Dice } from "./dice.ts";

/** The documents of a fuzzed space; small, so that all of their content can be compared after every input. */
export const DOCS: readonly DocumentName[] = ["a", "b/c"].map(parseDocumentName);
/** What the clock of every replica shows. */
export const NOW_MS: number = START_MS + 60_000;

const WRITES = 14;
const VALUES: readonly FactInput["value"][] = [
  null,
  true,
  7,
  -0.5,
  "text",
  [1, { a: [] }],
  { b: 1, a: "é" },
];

/** Opens a replica in memory. */
export const openReplica = (
  { space, verifier }: Party,
  { signer }: Member,
  seed: number,
): Promise<Replica> =>
  Replica.open({
    store: createMemoryStore(),
    space,
    signer,
    verifier,
    clock: createVirtualClock(NOW_MS),
    random: createSeededRandom(seed),
    logger: silentLogger,
  });

const factOf = (dice: Dice): FactInput => ({
  key: `k${String(dice.roll(6))}`,
  value: dice.pick(VALUES),
  ...(dice.chance(30) ? { confidence: dice.roll(5) / 4 } : {}),
  ...(dice.chance(20) ? { source: { model: "m", version: "1" } } : {}),
  ...(dice.chance(20) ? { tags: ["x", "y"] } : {}),
  ...(dice.chance(10) ? { ttlMs: 1 + dice.roll(1e9) } : {}),
});

async function write(dice: Dice, replica: Replica): Promise<void> {
  const doc = dice.pick(DOCS);
  const facts = (): Promise<unknown> =>
    replica.put(
      dice.pick(DOCS),
      Array.from({ length: 1 + dice.roll(3) }, () => factOf(dice)),
    );
  const edit = (): Promise<unknown> =>
    replica.edit(doc, (roots) => randomEdit(new EditDice(dice.word()), roots));
  const way = dice.roll(8);
  if (way < 2) await facts();
  else if (way < 3) await replica.delete(doc, [`k${String(dice.roll(6))}`]);
  else if (way < 6) await edit();
  else await Promise.all([facts(), edit()]);
}

/** Batches in an order in which each comes after what it depends on. */
export async function makeScene(party: Party, dice: Dice): Promise<readonly Uint8Array[]> {
  const batches: Uint8Array[] = [];
  const replicas = await Promise.all(
    party.sources.map((member) => openReplica(party, member, dice.word())),
  );
  const logs = replicas.map((replica) => {
    const log: Uint8Array[] = [];
    replica.onApplied(({ bytes, origin }) => {
      log.push(bytes);
      if (origin === "local") batches.push(bytes);
    });
    return log;
  });
  for (let i = 0; i < WRITES; i++) {
    const writer = dice.roll(replicas.length);
    const replica = replicas[writer];
    const from = logs[dice.roll(logs.length)] ?? [];
    if (replica === undefined) continue;
    for (const bytes of from.slice()) await replica.receive(bytes);
    // An appender may not edit what others wrote: its edit is refused as a whole then.
    await write(dice, replica).catch(() => undefined);
  }
  for (const replica of replicas) await replica.close();
  return batches;
}
