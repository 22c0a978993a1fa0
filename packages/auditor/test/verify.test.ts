// SPDX-License-Identifier: Apache-2.0
import { renderVerdict, runVerify, verdictToJson } from "@ctxmesh/auditor";
import { canonicalJson } from "@ctxmesh/codec";
import { createSigner, generatePrivateKey, toPublicKey } from "@ctxmesh/crypto";
import {
  buildSnapshot,
  createTrustRoot,
  encodeBundle,
  formatTrustRoot,
  openLog,
  sealSnapshot,
  snapshotEntry,
} from "@ctxmesh/ledger";
import type { Verdict } from "@ctxmesh/ledger";
import {
  LIMITS,
  hlcFromMs,
  parseDeviceKey,
  parseIncarnationId,
  parseSpaceId,
} from "@ctxmesh/model";
import {
  createMemoryStore,
  createSeededRandom,
  createVirtualClock,
  tempDir,
} from "@ctxmesh/testing";
import { openSync, closeSync, ftruncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";

const NOW = 1_790_000_000_000;
const ORIGIN = "log.ctxmesh.test/auditor";
const random = createSeededRandom(7);
const space = parseSpaceId("5a".repeat(32));
const writer = parseDeviceKey("0b".repeat(32));
const keys = {
  snapshot: generatePrivateKey("ML-DSA-65-Ed25519", random),
  ed25519: generatePrivateKey("Ed25519", random),
  mldsa44: generatePrivateKey("ML-DSA-44", random),
};

/** The bytes of a bundle of one fact, and the text of the trust root for it. */
async function sealed(): Promise<{ bundle: Uint8Array; root: string }> {
  const leaf = canonicalJson({
    doc: "line-2/press-7",
    key: "temperature",
    writer,
    incarnation: parseIncarnationId("01".repeat(16)),
    seq: 1,
    hlc: hlcFromMs(NOW),
    value: 20.5,
  });
  const snapshot = buildSnapshot([leaf], random);
  const envelope = sealSnapshot({
    signer: createSigner(keys.snapshot),
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
  const log = await openLog({
    store: createMemoryStore(),
    prefix: new Uint8Array(0),
    origin: ORIGIN,
    signers: { ed25519: createSigner(keys.ed25519), mldsa44: createSigner(keys.mldsa44) },
    clock: createVirtualClock(NOW),
  });
  const { proof } = await log.append(snapshotEntry(envelope));
  const rootKey = generatePrivateKey("ML-DSA-65-Ed25519", random);
  const root = createTrustRoot({
    version: 1,
    issued: NOW - 1000,
    expires: NOW + 1000,
    spaces: [space],
    keys: [
      { role: "root", key: toPublicKey(rootKey) },
      { role: "snapshot", key: toPublicKey(keys.snapshot) },
    ],
    logs: [
      {
        origin: ORIGIN,
        ed25519: toPublicKey(keys.ed25519),
        mldsa44: toPublicKey(keys.mldsa44),
      },
    ],
  });
  const bundle = encodeBundle({ leaves: snapshot.leaves, envelope, proof, headers: [] });
  return { bundle, root: formatTrustRoot(root, [createSigner(rootKey)]) };
}

const folder = await tempDir();
afterAll(() => folder.remove());
const { bundle, root } = await sealed();
const file = (name: string, content: string | Uint8Array): string => {
  const path = join(folder.path, name);
  writeFileSync(path, content);
  return path;
};
const bundlePath = file("good.json", bundle);
const rootPath = file("root.json", root);
const verify = (change: Partial<Parameters<typeof runVerify>[0]>): Promise<Verdict> =>
  runVerify({ bundlePath, rootPaths: [rootPath], now: NOW, ...change });
const outcome = (verdict: Verdict): string =>
  `${String(verdict.exitCode)} ${verdict.failed?.step ?? "valid"} ${verdict.failed?.code ?? ""}`.trim();

describe("a genuine bundle under its trust root", async () => {
  const verdict = await verify({});

  test("is valid, and its report names every step and what was sealed", () => {
    expect(outcome(verdict)).toBe("0 valid");
    const text = renderVerdict(verdict, { color: false });
    for (const step of verdict.steps) expect(text).toContain(`ok    ${step.name}`);
    expect(text).toContain(`VALID  1 facts of space ${space}, seal 1`);
    expect(text).toContain("sealed 2026-09-21T14:13:20.000Z");
    expect(text).not.toContain("\u001b");
    expect(renderVerdict(verdict, { color: true })).toContain("\u001b[32mVALID\u001b[0m");
  });

  test("as JSON says the same", () => {
    const json = JSON.parse(JSON.stringify(verdictToJson(verdict))) as Record<string, unknown>;
    expect(json).toMatchObject({
      valid: true,
      exitCode: 0,
      sealed: { space, sequence: 1, leaves: 1, chains: 0, sealedAt: NOW },
    });
    expect(json["steps"]).toEqual(verdict.steps);
    expect(json).not.toHaveProperty("failed");
  });
});

describe("every refusal is a verdict with its exit code", () => {
  test("one changed byte of a fact is exit 1, and the report says what is wrong", async () => {
    const text = new TextDecoder().decode(bundle).replace("20.5", "20.6");
    const verdict = await verify({ bundlePath: file("forged.json", text) });
    expect(outcome(verdict)).toBe("1 snapshot-root PROOF_INVALID");
    const report = renderVerdict(verdict, { color: false });
    expect(report).toMatch(/^FAIL {2}snapshot-root +the facts hash to/mu);
    expect(report).toMatch(/^INVALID {2}snapshot-root: .*\(PROOF_INVALID, exit 1\)$/mu);
    expect(verdictToJson(verdict)).toMatchObject({
      valid: false,
      failed: { step: "snapshot-root" },
    });
    expect(verdictToJson(verdict)).not.toHaveProperty("sealed");
  });

  test("an expired trust root is exit 2 and says what to do", async () => {
    const verdict = await verify({ now: NOW + 1000 });
    expect(outcome(verdict)).toBe("2 trust-root POLICY_REFUSED");
    expect(renderVerdict(verdict, { color: false })).toContain("pin the current trust root");
  });

  test("a missing, unreadable or oversized file is exit 3 and is named", async () => {
    const missing = join(folder.path, "missing");
    const huge = file("huge.json", "");
    const fd = openSync(huge, "r+");
    ftruncateSync(fd, LIMITS.bundleBytes + 1);
    closeSync(fd);
    expect(outcome(await verify({ bundlePath: missing }))).toBe("3 bundle-file FILE_UNAVAILABLE");
    expect(outcome(await verify({ rootPaths: [missing] }))).toBe(
      "3 trust-root-file FILE_UNAVAILABLE",
    );
    expect(outcome(await verify({ bundlePath: folder.path }))).toBe(
      "3 bundle-file FILE_UNAVAILABLE",
    );
    expect(outcome(await verify({ bundlePath: huge }))).toBe("3 bundle-file LIMIT_EXCEEDED");
    expect(outcome(await verify({ rootPaths: [huge] }))).toBe("3 trust-root-file LIMIT_EXCEEDED");
    expect((await verify({ bundlePath: "/dev/null" })).failed?.message).toMatch(
      /not a regular file$/u,
    );
    expect((await verify({ bundlePath: missing })).failed?.message).toBe(
      `bundle ${missing} does not exist`,
    );
  });

  test("files of another kind, swapped or cut are exit 3", async () => {
    expect(outcome(await verify({ bundlePath: rootPath }))).toMatch(/^3 bundle /u);
    expect(outcome(await verify({ rootPaths: [bundlePath] }))).toMatch(/^3 trust-root-file /u);
    const binary = file("binary", Uint8Array.of(0xff, 0x00));
    expect(outcome(await verify({ bundlePath: binary }))).toMatch(/^3 bundle /u);
    expect(outcome(await verify({ rootPaths: [binary] }))).toBe("3 trust-root-file FORMAT_INVALID");
    const cut = file("cut.json", bundle.subarray(0, bundle.length / 2));
    expect(outcome(await verify({ bundlePath: cut }))).toMatch(/^3 bundle /u);
    const empty = file("empty.json", "");
    expect(outcome(await verify({ bundlePath: empty }))).toMatch(/^3 bundle /u);
  });
});

test("text of a hostile file can't steer the terminal that shows the report", () => {
  const escape = "\u001b[2J\u009b31m\u202e\nVALID";
  const verdict: Verdict = {
    valid: false,
    exitCode: 1,
    steps: [{ name: "key", ok: false, detail: escape }],
    failed: { step: "key", code: "POLICY_REFUSED", message: escape, remedy: escape },
  };
  const report = renderVerdict(verdict, { color: false });
  for (const character of "\u001b\u009b\u202e") expect(report).not.toContain(character);
  expect(report).not.toMatch(/^VALID/mu);
  expect(report).toContain("\\u001b[2J\\u009b31m\\u202e\\u000aVALID");
});
