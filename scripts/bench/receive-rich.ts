// SPDX-License-Identifier: Apache-2.0
/** Rich batches checked and applied beside plain Yjs on the same updates, and what signatures cost. */
import { decodeBatch, headerSigningInput } from "@ctxmesh/codec";
import { createDeviceVerifier } from "@ctxmesh/crypto";
import { MeshError } from "@ctxmesh/model";
import type { HeaderHash, SignatureVerifier } from "@ctxmesh/model";
import { RichDocument } from "@ctxmesh/rich";
import type { RichUpdate } from "@ctxmesh/rich";
import process from "node:process";
import * as Y from "yjs";
import {
  DAY_MS,
  INCARNATION,
  START_MS,
  clientOf,
  deviceOf,
  fact,
  factsOf,
  forge,
  hlcAt,
  richOf,
} from "../../test/attacks/support/forge.ts";
import { openReplica } from "../../test/attacks/support/ground.ts";
import { foundSpace } from "../../test/attacks/support/membership.ts";
import { aimed, measured } from "./figure.ts";
import type { Figure } from "./figure.ts";
import { editingTrace } from "./receive-trace.ts";
import type { TracedUpdate } from "./receive-trace.ts";
import { median } from "./stats.ts";

/** How much is measured. */
export interface Effort {
  readonly edits: number;
  readonly rounds: number;
  readonly signatures: number;
}

const WRITERS = [1, 2, 3, 4].map(deviceOf);
const RECEIVER = deviceOf(9);
/** Of the throughput of plain Yjs. */
const LEAST_SHARE = 0.6;
/** Batches that a replica is given at once. */
const AT_ONCE = 64;
const FACTS = [1, 10, 100] as const;

const space = foundSpace(
  deviceOf(255).signer,
  START_MS,
  1,
  [...WRITERS, RECEIVER].map(({ key }) => ({
    device: key,
    role: "write" as const,
    notBefore: START_MS - DAY_MS,
  })),
);

const clients = WRITERS.map(({ key }) => clientOf(key, INCARNATION));

/** Processor time of this thread, in milliseconds: what others do on the machine is not in it. */
const cpuMs = (): number => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
};

function plain(trace: readonly TracedUpdate[]): number {
  const started = cpuMs();
  const doc = new Y.Doc();
  // Opened, as whoever wants to read it has to.
  doc.getText("text:notes");
  for (const { bytes } of trace) Y.applyUpdate(doc, bytes);
  return cpuMs() - started;
}

/** Checks, stages and applies `atOnce` updates at a time, as a replica does with what one store write holds. */
function checked(trace: readonly TracedUpdate[], atOnce: number): number {
  const started = cpuMs();
  const doc = new RichDocument();
  const staged: RichUpdate[] = [];
  for (const update of trace) {
    const verdict = doc.check(update.bytes, update);
    if (verdict.kind !== "ready") throw new MeshError("INTERNAL", "the trace is out of order");
    doc.stage(verdict.update);
    staged.push(verdict.update);
    if (staged.length === atOnce) for (const each of staged.splice(0)) doc.apply(each);
  }
  for (const each of staged) doc.apply(each);
  return cpuMs() - started;
}

/** The trace as signed batches, a chain for each writer. */
function batchesOf(trace: readonly TracedUpdate[]): readonly Uint8Array[] {
  const heads = new Map<number, { readonly seq: number; readonly hash: HeaderHash }>();
  return trace.map(({ client, from, to, bytes }, i) => {
    const device = WRITERS[clients.indexOf(client)];
    if (device === undefined) throw new MeshError("INTERNAL", "an update of nobody");
    const head = heads.get(client);
    const seq = (head?.seq ?? 0) + 1;
    const sections = [richOf(bytes, to, from)];
    const prev = head?.hash ?? null;
    const made = forge({ device, space: space.id, seq, prev, hlc: hlcAt(i + 1), sections });
    heads.set(client, { seq, hash: made.hash });
    return made.bytes;
  });
}

async function received(
  batches: readonly Uint8Array[],
  verifier: SignatureVerifier,
  atOnce: number,
): Promise<number> {
  const replica = await openReplica(space, RECEIVER, { verifier });
  const started = cpuMs();
  for (let i = 0; i < batches.length; i += atOnce) {
    const some = batches.slice(i, i + atOnce);
    const outcomes = await Promise.all(some.map(async (bytes) => replica.receive(bytes)));
    if (outcomes.some(({ kind }) => kind !== "accepted")) {
      throw new MeshError("INTERNAL", `an honest batch was ${JSON.stringify(outcomes)}`);
    }
  }
  const ms = cpuMs() - started;
  await replica.close();
  return ms;
}

const TRUSTING: SignatureVerifier = { verify: () => true };

/** Updates per second of processor time, beside plain Yjs in the same rounds. */
export async function richFigures({ edits, rounds }: Effort): Promise<readonly Figure[]> {
  const trace = editingTrace(clients, edits);
  const batches = batchesOf(trace);
  const verifier = createDeviceVerifier();
  const ways: readonly (readonly [name: string, () => number | Promise<number>])[] = [
    ["checked and applied", () => checked(trace, 1)],
    [`checked and applied, ${String(AT_ONCE)} at once`, () => checked(trace, AT_ONCE)],
    ["received, one at a time, signatures not verified", () => received(batches, TRUSTING, 1)],
    ["received, one at a time", () => received(batches, verifier, 1)],
    [
      `received, ${String(AT_ONCE)} at once, signatures not verified`,
      () => received(batches, TRUSTING, AT_ONCE),
    ],
    [`received, ${String(AT_ONCE)} at once`, () => received(batches, verifier, AT_ONCE)],
  ];
  const samples = ways.map(() => ({ own: [] as number[], plain: [] as number[] }));
  // Round 0 warms up.
  for (let round = 0; round <= rounds; round++) {
    for (const [i, [, run]] of ways.entries()) {
      const [base, own] = [plain(trace), await run()];
      if (round === 0) continue;
      samples[i]?.own.push(own);
      samples[i]?.plain.push(base);
    }
  }
  const rate = (ms: readonly number[] = []): number => (trace.length * 1_000) / median(ms);
  return ways.map(([name], i) => {
    const pair = { value: rate(samples[i]?.own), baseline: rate(samples[i]?.plain) };
    const figure = `rich updates ${name}, to plain Yjs`;
    return i < 2
      ? aimed(figure, pair, "updates/s", "higher", pair.baseline * LEAST_SHARE)
      : measured(figure, pair, "updates/s", "higher");
  });
}

/** Microseconds per fact for signing and verifying a batch of some facts, beside those of one fact. */
export function signatureFigures({ signatures, rounds }: Effort): readonly Figure[] {
  const [device] = WRITERS;
  if (device === undefined) throw new MeshError("INTERNAL", "no writer");
  const verifier = createDeviceVerifier();
  const costs = FACTS.map((count) => {
    const records = Array.from({ length: count }, (_, i) =>
      fact({ key: `key-${String(i)}`, seq: i + 1, hlc: hlcAt((i + 1) / 1000) }),
    );
    const { bytes } = forge({ device, space: space.id, sections: [factsOf(records)] });
    const { headerBytes, signature } = decodeBatch(bytes);
    const input = headerSigningInput(headerBytes);
    const perFact = (run: () => unknown): number => {
      const samples = Array.from({ length: rounds }, () => {
        const started = cpuMs();
        for (let i = 0; i < signatures; i++) run();
        return (cpuMs() - started) / signatures / count;
      });
      return median(samples) * 1_000;
    };
    return {
      count,
      sign: perFact(() => device.signer.sign(input)),
      verify: perFact(() => verifier.verify(device.signer.publicKey, input, signature)),
    };
  });
  const [one] = costs;
  return costs.flatMap(({ count, sign, verify }) => [
    measured(
      `sign, batches of ${String(count)}`,
      { value: sign, baseline: one?.sign ?? null },
      "us/fact",
      "lower",
    ),
    measured(
      `verify, batches of ${String(count)}`,
      { value: verify, baseline: one?.verify ?? null },
      "us/fact",
      "lower",
    ),
  ]);
}
