// SPDX-License-Identifier: Apache-2.0
/** What hybrid seals cost beside Ed25519 in the same pipeline, and how long a seal, a verification and a proof take. */
import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { canonicalJson, utf8Encode } from "@ctxmesh/codec";
import {
  createSigner,
  createVerifier,
  generatePrivateKey,
  sha256,
  toPublicKey,
} from "@ctxmesh/crypto";
import type { PrivateKey, Signer } from "@ctxmesh/crypto";
import {
  buildSnapshot,
  createFactProver,
  createTrustRoot,
  encodeBundle,
  encodeFactProof,
  formatTrustRoot,
  openLog,
  parseBundle,
  parseEnvelope,
  preAuthEncoding,
  sealBatch,
  sealSnapshot,
  signEnvelope,
  snapshotEntry,
  verifyBundle,
} from "@ctxmesh/ledger";
import type { BatchStatement, Log, TrustRoot } from "@ctxmesh/ledger";
import {
  MeshError,
  hlcFromMs,
  parseDeviceKey,
  parseIncarnationId,
  parseSpaceId,
  toHex,
} from "@ctxmesh/model";
import { createMemoryStore, createVirtualClock } from "@ctxmesh/testing";
import { systemRandom as random } from "@ctxmesh/service";
import { bundleAuditor } from "../bundle-auditor.ts";
import { aimed, measured } from "./figure.ts";
import type { Bench, BenchOptions, Figure, Report } from "./figure.ts";
import { median } from "./stats.ts";

const CONTENT_BYTES = 100_000;
const STATEMENT_TYPE = "application/vnd.in-toto+json";
/** How much dearer hybrid seals may be, by the size of the batch. */
const BATCHES: readonly (readonly [size: number, factor: number | undefined])[] = [
  [1, undefined],
  [64, 1.25],
  [256, 1.1],
];
const FACTS = 50_000;
const NOW = Date.UTC(2026, 0, 31);
const ORIGIN = "log.bench/space";
const space = parseSpaceId("5a".repeat(32));
const writer = parseDeviceKey("0b".repeat(32));

/** Processor time of this thread, in milliseconds: what others do on the machine is not in it. */
const cpuMs = (): number => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
};

function timed(action: () => unknown): number {
  const started = cpuMs();
  action();
  return cpuMs() - started;
}

/** The same pipeline with another signature: what is compared is that and nothing else. */
const disguised = (hybrid: PrivateKey, signer: Signer): Signer => ({
  key: toPublicKey(hybrid),
  sign: (message) => signer.sign(message),
});

const statementOf = (content: Uint8Array, sequence: number): BatchStatement => ({
  payloadType: STATEMENT_TYPE,
  payload: utf8Encode(
    canonicalJson({
      _type: "https://in-toto.io/Statement/v1",
      predicate: { hub: writer, space, sequence, previous: null, sealedAt: NOW, formatVersion: 1 },
      predicateType: "https://ctxmesh.dev/snapshot/v1",
      subject: [{ name: `ctxmesh://${space}`, digest: { sha256: toHex(sha256(content)) } }],
    }),
  ),
});

/** Seals snapshots together: digest, statement, tree, signature, paths. */
const sealTogether = (contents: readonly Uint8Array[], signer: Signer): unknown =>
  sealBatch(contents.map(statementOf), signer, { sealedAt: NOW });

function batchFigures(rounds: number, hybrid: PrivateKey): Figure[] {
  const signers = [
    createSigner(hybrid),
    disguised(hybrid, createSigner(generatePrivateKey("Ed25519", random))),
  ] as const;
  const contents = Array.from({ length: 256 }, () => random.bytes(CONTENT_BYTES));
  return BATCHES.map(([size, factor]) => {
    const batch = contents.slice(0, size);
    const repeats = Math.max(4, Math.floor(512 / size));
    const costs = signers.map((): number[] => []);
    // In turn, so that what warms up or slows down does so for both.
    for (let round = 0; round < rounds; round++) {
      signers.forEach((signer, which) => {
        const ms = timed(() => {
          for (let i = 0; i < repeats; i++) sealTogether(batch, signer);
        });
        costs[which]?.push(ms / repeats / size);
      });
    }
    const [value = 0, baseline = 0] = costs.map(median);
    const name = `CPU of a hybrid seal, 100 KB snapshots, ${size === 1 ? "alone" : `${String(size)} together`}; Ed25519`;
    const pair = { value, baseline };
    return factor === undefined
      ? measured(name, pair, "ms", "lower")
      : aimed(name, pair, "ms", "lower", baseline * factor);
  });
}

function verifyFigure(count: number, hybrid: PrivateKey): Figure {
  const [signer, key] = [createSigner(hybrid), toPublicKey(hybrid)];
  const envelopes = Array.from({ length: 64 }, (_, i) =>
    signEnvelope(signer, STATEMENT_TYPE, statementOf(random.bytes(64), i).payload),
  );
  const rate = (crossCheck: boolean, times: number): number => {
    const verifier = createVerifier(key, { crossCheck });
    const ms = timed(() => {
      for (let i = 0; i < times; i++) {
        const { payload, payloadType, signature } = parseEnvelope(envelopes[i % 64] as Uint8Array);
        if (verifier.verify(preAuthEncoding(payloadType, payload), signature)) continue;
        throw new MeshError("INTERNAL", "a seal does not verify");
      }
    });
    return (times / ms) * 1_000;
  };
  rate(false, 64);
  const pair = { value: rate(false, count), baseline: rate(true, Math.ceil(count / 10)) };
  return aimed(
    "envelopes verified by a core, native; with the cross-check",
    pair,
    "/s",
    "higher",
    3_000,
  );
}

/** A hub's keys, log and trust root. */
async function openHub(
  hybrid: PrivateKey,
): Promise<{ readonly log: Log; readonly root: TrustRoot; readonly text: string }> {
  const [ed25519, mldsa44, rootKey] = [
    generatePrivateKey("Ed25519", random),
    generatePrivateKey("ML-DSA-44", random),
    generatePrivateKey("ML-DSA-65-Ed25519", random),
  ];
  const log = await openLog({
    store: createMemoryStore(),
    prefix: new Uint8Array(0),
    origin: ORIGIN,
    signers: { ed25519: createSigner(ed25519), mldsa44: createSigner(mldsa44) },
    clock: createVirtualClock(NOW),
  });
  const root = createTrustRoot({
    version: 1,
    issued: NOW - 1,
    expires: NOW + 1_000_000,
    spaces: [space],
    keys: [
      { role: "root", key: toPublicKey(rootKey) },
      { role: "snapshot", key: toPublicKey(hybrid) },
    ],
    logs: [{ origin: ORIGIN, ed25519: toPublicKey(ed25519), mldsa44: toPublicKey(mldsa44) }],
  });
  return { log, root, text: formatTrustRoot(root, [createSigner(rootKey)]) };
}

const leaves = Array.from({ length: FACTS }, (_, i) =>
  canonicalJson({
    doc: `line-${String(i % 100)}/press`,
    key: `sensor/${String(i)}`,
    writer,
    incarnation: parseIncarnationId("01".repeat(16)),
    seq: i + 1,
    hlc: hlcFromMs(NOW) + i,
    value: { temperature: i / 7, state: "running" },
    confidence: 0.9,
  }),
);

async function sealSpace(
  log: Log,
  hybrid: PrivateKey,
): Promise<{ readonly ms: number; readonly bundle: Uint8Array }> {
  const started = cpuMs();
  const snapshot = buildSnapshot(leaves, random);
  const envelope = sealSnapshot({
    signer: createSigner(hybrid),
    snapshot,
    hub: writer,
    space,
    sequence: 1,
    previous: null,
    frontier: [],
    policyEpoch: 0,
    asOf: hlcFromMs(NOW),
    sealedAt: NOW,
  });
  const { proof } = await log.append(snapshotEntry(envelope));
  const bundle = encodeBundle({ leaves: snapshot.leaves, envelope, proof, headers: [] });
  return { ms: cpuMs() - started, bundle };
}

/** What a process took. */
interface Cost {
  /** User and system time. */
  readonly ms: number;
  /** The most memory that it had at once, MB. */
  readonly mb: number;
}

/** Has a process tell what it took. Its own peak from the kernel: the one of `getrusage` has the parent's, from before `exec`. */
const METER = `data:text/javascript,${encodeURIComponent(`
  import { readFileSync } from "node:fs";
  process.on("exit", () => {
    const { user, system } = process.cpuUsage();
    const [, peak] = /VmHWM:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"));
    process.stderr.write(JSON.stringify({ ms: (user + system) / 1000, mb: peak / 1024 }));
  });
`)}`;

/** Runs the built auditor. */
async function audit(
  bundle: Uint8Array,
  root: string,
  rounds: number,
): Promise<Cost & { readonly emptyMs: number }> {
  const folder = await mkdtemp(join(tmpdir(), "ctxmesh-bench-seal-"));
  try {
    const [file, rootFile] = [join(folder, "bundle.json"), join(folder, "root.json")];
    await Promise.all([writeFile(file, bundle), writeFile(rootFile, root)]);
    await bundleAuditor(join(folder, "auditor"));
    const run = (...args: readonly string[]): Cost => {
      const program = join(folder, "auditor/main.mjs");
      const { status, stderr } = spawnSync(
        process.execPath,
        ["--import", METER, program, ...args],
        {
          encoding: "utf8",
        },
      );
      if (status === 0) return JSON.parse(stderr) as Cost;
      throw new MeshError("INTERNAL", `the auditor ended with ${String(status)}: ${stderr}`);
    };
    const at = ["--trust", rootFile, "--at", String(NOW)];
    const runs = Array.from({ length: rounds }, () => run(file, ...at));
    const empty = Array.from({ length: rounds }, () => run("--help"));
    return {
      ms: median(runs.map(({ ms }) => ms)),
      mb: Math.max(...runs.map(({ mb }) => mb)),
      emptyMs: median(empty.map(({ ms }) => ms)),
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function proofFigures(bundle: Uint8Array, root: TrustRoot, rounds: number): Figure[] {
  const prover = createFactProver(parseBundle(bundle));
  const proofs: Uint8Array[] = [];
  // All together: the clock of a thread's processor time is coarser than one of them takes.
  const proveMs = timed(() => {
    for (let i = 0; i < rounds; i++) {
      const number = (i * 997) % FACTS;
      const doc = `line-${String(number % 100)}/press`;
      proofs.push(encodeFactProof(prover.prove(doc, `sensor/${String(number)}`)));
    }
  });
  const verify = (crossCheck: boolean): number =>
    timed(() => {
      for (const proof of proofs) {
        if (verifyBundle(proof, root, { now: NOW, crossCheck }).valid) continue;
        throw new MeshError("INTERNAL", "a proof is not valid");
      }
    }) / rounds;
  const bytes = Math.max(...proofs.map(({ length }) => length));
  const pair = { value: verify(false), baseline: verify(true) };
  return [
    aimed(
      "proof of one fact of 50,000; of the bundle",
      { value: bytes, baseline: bundle.length },
      "bytes",
      "lower",
      8_000,
    ),
    aimed(
      "CPU to make it, the bundle being read",
      { value: proveMs / rounds, baseline: null },
      "ms",
      "lower",
      5,
    ),
    aimed("CPU to verify it, native; with the cross-check", pair, "ms", "lower", 5),
  ];
}

async function runBench({ quick, progress, signal }: BenchOptions): Promise<Report> {
  const rounds = quick ? 5 : 21;
  const hybrid = generatePrivateKey("ML-DSA-65-Ed25519", random);
  progress("batches");
  const figures = batchFigures(rounds, hybrid);
  signal.throwIfAborted();
  figures.push(verifyFigure(quick ? 2_000 : 10_000, hybrid));
  progress("a space of 50,000 facts");
  const { log, root, text } = await openHub(hybrid);
  await sealSpace(log, hybrid);
  const { ms, bundle } = await sealSpace(log, hybrid);
  figures.push(
    aimed("CPU to seal 50,000 facts", { value: ms, baseline: null }, "ms", "lower", 1_000),
  );
  signal.throwIfAborted();
  progress("the auditor");
  const audited = await audit(bundle, text, quick ? 3 : 7);
  figures.push(
    aimed(
      "CPU of a start of the auditor",
      { value: audited.emptyMs, baseline: null },
      "ms",
      "lower",
      150,
    ),
    aimed(
      "CPU of its verification of that seal, its start included",
      { value: audited.ms, baseline: null },
      "ms",
      "lower",
      1_500,
    ),
    aimed(
      "the most memory that it takes",
      { value: audited.mb, baseline: null },
      "MB",
      "lower",
      200,
    ),
    ...proofFigures(bundle, root, quick ? 50 : 200),
  );
  return {
    figures,
    notes: [
      "The baseline of the seals signs with Ed25519 in the same pipeline: digest, statement, tree, signature, paths; in turn, medians.",
      `The bundle of 50,000 facts has ${(bundle.length / 1e6).toFixed(1)} MB. CPU is that of the thread, of the auditor that of its process.`,
    ],
  };
}

/** `npm run bench -- seal`. */
export const sealBench: Bench = {
  summary:
    "hybrid seals beside Ed25519, verification, a space of 50,000 facts, proofs of single facts",
  run: runBench,
};
