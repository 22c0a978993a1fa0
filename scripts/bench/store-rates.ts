// SPDX-License-Identifier: Apache-2.0
/** Facts per second that one agent acknowledges as signed and durable, encrypted and not, beside `level` with the same bytes. */
import { open } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { aimed } from "./figure.ts";
import type { BenchOptions, Figure, Report } from "./figure.ts";
import { foundSpace } from "./space.ts";
import { median } from "./stats.ts";
import { RowSource, openAgent, openRaw } from "./store-rows.ts";
import type { Put } from "./store-rows.ts";

/** Documents and keys in each that the writes take in turn. */
const DOCS = 16;
const KEYS = 1_000;
const BATCH = 50;
const WRITERS = 16;
/** Of `level`'s rows, in batches. */
const BATCH_SHARE = 0.5;
/** Of `level`'s rows, one at a time. */
const SERIAL_SHARE = 1;
/** What encryption leaves of the rate without it. */
const ENCRYPTED_SHARE = 0.85;
const SYNCS = 200;

interface Load {
  readonly name: string;
  /** Rows of each put. */
  readonly size: number;
  /** Puts under way at any time. */
  readonly writers: number;
  /** The target, as a share of the baseline. */
  readonly share: number | undefined;
}

const LOADS: readonly Load[] = [
  { name: "16 writers, puts of 50", size: BATCH, writers: WRITERS, share: BATCH_SHARE },
  { name: "1 writer, puts of 50", size: BATCH, writers: 1, share: BATCH_SHARE },
  { name: "16 writers, puts of 1", size: 1, writers: WRITERS, share: undefined },
  { name: "1 writer, puts of 1", size: 1, writers: 1, share: SERIAL_SHARE },
];

/** What one round of one target gave. */
interface Round {
  /** Acknowledged rows per second. */
  readonly rate: number;
  /** Processor time for each of them, of all threads of this process, in microseconds. */
  readonly cpu: number;
}

/** Writes for `ms`, always as many at a time as there are writers. */
async function measureRound(
  put: Put,
  source: RowSource,
  { size, writers }: Load,
  ms: number,
): Promise<Round> {
  const [started, before] = [performance.now(), process.cpuUsage()];
  let acknowledged = 0;
  const write = async (): Promise<void> => {
    while (performance.now() - started < ms) {
      const { doc, rows } = source.take(size);
      await put(doc, rows);
      acknowledged += rows.length;
    }
  };
  await Promise.all(Array.from({ length: writers }, write));
  const { user, system } = process.cpuUsage(before);
  return {
    rate: (acknowledged * 1000) / (performance.now() - started),
    cpu: (user + system) / acknowledged,
  };
}

/** What a sync of four kilobytes takes here, in microseconds: the median. */
async function syncMicros(folder: string): Promise<number> {
  const samples: number[] = [];
  const file = await open(join(folder, "sync"), "w");
  try {
    for (let i = 0; i < SYNCS; i++) {
      await file.write(Buffer.alloc(4_096, i));
      const started = performance.now();
      await file.datasync();
      samples.push((performance.now() - started) * 1000);
    }
  } finally {
    await file.close();
  }
  return median(samples);
}

interface Rounds {
  readonly raw: Round[];
  readonly plain: Round[];
  readonly encrypted: Round[];
}

const rate = (rounds: readonly Round[]): number => median(rounds.map((round) => round.rate));
const cpu = (rounds: readonly Round[]): number => median(rounds.map((round) => round.cpu));

function figuresOf({ name, share }: Load, { raw, plain, encrypted }: Rounds): readonly Figure[] {
  const baseline = rate(raw);
  const target = share === undefined ? null : baseline * share;
  const [ours, unencrypted] = [rate(encrypted), rate(plain)];
  const facts = `durable facts, ${name}`;
  return [
    aimed(`${facts}, to level`, { value: ours, baseline }, "facts/s", "higher", target),
    aimed(
      `${facts}, not encrypted, to level`,
      { value: unencrypted, baseline },
      "facts/s",
      "higher",
      target,
    ),
    aimed(
      `${facts}, to not encrypted`,
      { value: ours, baseline: unencrypted },
      "facts/s",
      "higher",
      unencrypted * ENCRYPTED_SHARE,
    ),
    aimed(
      `processor time, ${name}, to not encrypted`,
      { value: cpu(encrypted), baseline: cpu(plain) },
      "us/fact",
      "lower",
      cpu(plain) / ENCRYPTED_SHARE,
    ),
  ];
}

/** Part one of `store`. Writes into `folder`. */
export async function measureRates(
  folder: string,
  { quick, signal, progress }: BenchOptions,
): Promise<Report> {
  const [rounds, ms] = quick ? [7, 120] : [15, 300];
  await using stack = new AsyncDisposableStack();
  const space = foundSpace(1);
  const targets = {
    raw: stack.use(await openRaw(join(folder, "raw"), true)),
    plain: stack.use(await openAgent(space, join(folder, "plain"))),
    encrypted: stack.use(await openAgent(space, join(folder, "encrypted"), join(folder, "key"))),
  };
  const names = ["raw", "plain", "encrypted"] as const;
  const sources = names.map(() => new RowSource(DOCS, KEYS));
  const measured = LOADS.map((): Rounds => ({ raw: [], plain: [], encrypted: [] }));
  // Round 0 warms up.
  for (let round = 0; round <= rounds; round++) {
    progress(round === 0 ? "warming up" : `rates, round ${String(round)} of ${String(rounds)}`);
    for (const [place, load] of LOADS.entries()) {
      // Another one begins each round, and every other round goes the other way: what one leaves to the disk must
      // not always be a burden on the same next one.
      const step = round % 2 === 0 ? 1 : names.length - 1;
      for (let turn = 0; turn < names.length; turn++) {
        signal.throwIfAborted();
        const which = (turn * step + round) % names.length;
        const [name, source] = [names[which], sources[which]];
        if (name === undefined || source === undefined) continue;
        const found = await measureRound(targets[name].put, source, load, ms);
        if (round > 0) measured[place]?.[name].push(found);
      }
    }
  }
  const sync = await syncMicros(folder);
  return {
    figures: LOADS.flatMap((load, place) => {
      const found = measured[place];
      return found === undefined ? [] : figuresOf(load, found);
    }),
    notes: [
      "Baseline of durable facts: the same rows (key and JSON text, made beforehand) written to level directly, as many puts of the same size under way, every write synced to disk.",
      "The agent also validates, canonicalises, stamps, compresses, signs and applies each fact to memory, and can prove it afterwards.",
      `A sync of 4 KiB takes ${sync.toFixed(0)} us here (median). The shorter it is, the more of one fact at a time is the signature, which level does not make.`,
      "What encryption costs is told by the processor time: it bends less than the rates where others use the machine. A rate above the one without encryption is noise.",
      `Medians of ${String(rounds)} rounds of ${String(ms)} ms, taken in turn.`,
    ],
  };
}
