// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a fork is told, saved, and proven to whoever has nothing but the file.
 * Method: two processes that run as one device (they were given the same randomness, hence the same incarnation) write
 * different things; a third replica hears both and is served to the real command.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createControlServer } from "@ctxmesh/api";
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import { createSpace, issueGrant } from "@ctxmesh/membership";
import { EXIT, parseDeviceKey, parseDocumentName, toHex } from "@ctxmesh/model";
import type { DeviceKey, NodeStatus } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import { NodeService, systemClock } from "@ctxmesh/service";
import {
  createMemoryStore,
  createSeededRandom,
  silentLogger,
  tempDir,
  waitFor,
} from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { run } from "./run.ts";
import type { RunResult } from "./run.ts";

const [CREATOR, OBSERVER, CLONED] = [1, 2, 3].map((n) =>
  createDeviceSigner(new Uint8Array(32).fill(n)),
) as [Signer, Signer, Signer];
type Signer = ReturnType<typeof createDeviceSigner>;
const keyOf = ({ publicKey }: Signer): DeviceKey => parseDeviceKey(toHex(publicKey));
const now = systemClock.now();
const space = [OBSERVER, CLONED].reduce(
  (grown, signer) =>
    issueGrant(grown, CREATOR, {
      device: keyOf(signer),
      service: "agent",
      role: "write",
      notBefore: now - 1_000,
    }),
  createSpace({ name: "plant", creator: CREATOR, now: now - 1_000, random: createSeededRandom(1) }),
);

let dir: TempDir;
const cleanup = new AsyncDisposableStack();
const batches: Uint8Array[] = [];

const open = (signer: Signer, seed: number): Promise<Replica> =>
  Replica.open({
    store: createMemoryStore(),
    space,
    signer,
    verifier: createDeviceVerifier(),
    clock: systemClock,
    random: createSeededRandom(seed),
    logger: silentLogger,
  });

/** Serves a replica as a daemon does. */
async function serve(name: string, replica: Replica): Promise<void> {
  const service = new NodeService({
    service: "agent",
    version: "0.0.0",
    replica,
    clock: systemClock,
    peers: () => [],
    addresses: () => [],
  });
  const server = createControlServer({ service, version: "0.0.0", logger: silentLogger });
  await server.listenUnix(join(dir.path, name));
  cleanup.defer(async () => server.close());
}

const ctxmesh = (...args: readonly string[]): Promise<RunResult> => run(args, { cwd: dir.path });

beforeAll(async () => {
  dir = await tempDir();
  cleanup.defer(async () => dir.remove());
  for (const value of [1, 2]) {
    const clone = await open(CLONED, 7);
    clone.onApplied(({ bytes }) => batches.push(bytes));
    await clone.put(parseDocumentName("d"), [{ key: "k", value }]);
  }
  const observer = await open(OBSERVER, 8);
  await serve("quiet.sock", await open(OBSERVER, 9));
  for (const batch of batches) await observer.receive(batch);
  // Proofs take effect behind the group that found them, or when it is looked again.
  const bound = { timeoutMs: 10_000, what: "the proof to take effect" };
  await waitFor(() => {
    observer.retryTimed();
    return observer.evidence().length > 0 && observer.chains().some((chain) => chain.void > 0);
  }, bound);
  await serve("node.sock", observer);
});

afterAll(() => cleanup.disposeAsync());

test("a fork is listed, shown in the status, and voids what it made doubtful", async () => {
  const device = keyOf(CLONED);
  const listed = await ctxmesh("evidence", "--socket", "node.sock");
  expect(listed.stdout).toMatch(
    new RegExp(
      `^device ${device.slice(0, 8)} signed two histories of its chain [0-9a-f]{8}: nothing from batch 1 on counts\n$`,
      "u",
    ),
  );
  const json = await ctxmesh("evidence", "list", "--socket", "node.sock", "--json");
  expect(JSON.parse(json.stdout)).toMatchObject({
    space: space.id,
    evidence: [{ device, seq: 1 }],
  });
  const status = await ctxmesh("status", "--socket", "node.sock", "--json");
  expect((JSON.parse(status.stdout) as NodeStatus).membership).toMatchObject({
    forks: 1,
    ownFork: false,
    voidBatches: 1,
  });
  expect((await ctxmesh("status", "--socket", "node.sock")).stdout).toMatch(
    /^warning +a device signed two histories: ctxmesh evidence$/mu,
  );
  expect((await ctxmesh("space", "members", "--socket", "node.sock")).stdout).toMatch(
    new RegExp(`^${device.slice(0, 8)} .* 0 +1 void: its chain is forked$`, "mu"),
  );
});

test("saved proofs are verified by the file alone, and not once one bit is wrong", async () => {
  const saved = await ctxmesh("evidence", "--socket", "node.sock", "--out", "forks.json");
  expect(saved).toMatchObject({ code: EXIT.ok, stderr: "" });
  const good = await ctxmesh("evidence", "verify", "forks.json");
  expect(good).toMatchObject({ code: EXIT.ok, stderr: "" });
  expect(good.stdout).toMatch(/^proven: device [0-9a-f]{8} signed two histories /u);
  expect(good.stdout).toContain(`\n  ${keyOf(CLONED)}\n`);
  const json = await ctxmesh("evidence", "verify", "forks.json", "--json");
  expect(JSON.parse(json.stdout)).toMatchObject({ valid: true, forks: [{ seq: 1 }] });

  const file = JSON.parse(await readFile(join(dir.path, "forks.json"), "utf8")) as {
    format: string;
    space: string;
    proofs: string[];
  };
  const [proof = ""] = file.proofs;
  const bytes = Buffer.from(proof, "base64");
  const flipped = (at: number): string => {
    const copy = Buffer.from(bytes);
    copy[at] = (copy[at] ?? 0) ^ 1;
    return copy.toString("base64");
  };
  const cases: readonly [unknown, number, RegExp][] = [
    [
      { ...file, proofs: [flipped(bytes.length - 1)] },
      EXIT.failed,
      /proofs\[0\]: a header of the proof is not signed by its device/u,
    ],
    [{ ...file, proofs: [proof, flipped(0)] }, EXIT.input, /proofs\[1\]: /u],
    [{ ...file, proofs: [bytes.subarray(0, -1).toString("base64")] }, EXIT.input, /proofs\[0\]: /u],
    [{ ...file, space: "00".repeat(32) }, EXIT.policy, /is of another space/u],
    [{ ...file, space: "plant" }, EXIT.input, /malformed space id/u],
    [{ ...file, proofs: [] }, EXIT.input, /proofs is not a list of 1 to /u],
    [{ ...file, proofs: ["%"] }, EXIT.input, /proofs\[0\]: /u],
    [{ ...file, proofs: [1] }, EXIT.input, /proofs\[0\] is not text/u],
    [{ ...file, format: "ctxmesh-evidence/v9" }, EXIT.input, /format is not ctxmesh-evidence\/v1/u],
    [{ ...file, more: 1 }, EXIT.input, /must have exactly: format, space, proofs/u],
    [[], EXIT.input, /format is not/u],
    ["text", EXIT.input, /is not an object/u],
  ];
  for (const [content, code, message] of cases) {
    await writeFile(join(dir.path, "bad.json"), JSON.stringify(content));
    const bad = await ctxmesh("evidence", "verify", "bad.json");
    expect({ code: bad.code, stdout: bad.stdout, message }).toEqual({ code, stdout: "", message });
    expect(bad.stderr).toMatch(message);
  }
  await writeFile(join(dir.path, "bad.json"), "{");
  expect((await ctxmesh("evidence", "verify", "bad.json")).stderr).toMatch(
    /bad\.json: is not JSON; get it again/u,
  );
  expect((await ctxmesh("evidence", "verify", "none.json")).code).toBe(EXIT.input);
});

test("without a fork there is nothing to list, and nothing to save", async () => {
  expect(await ctxmesh("evidence", "--socket", "quiet.sock")).toMatchObject({
    code: EXIT.ok,
    stdout: "no fork is known\n",
  });
  const saved = await ctxmesh("evidence", "--socket", "quiet.sock", "--out", "none.json");
  expect(saved).toMatchObject({ code: EXIT.failed, stdout: "" });
  expect(saved.stderr).toMatch(
    /^ctxmesh: no fork is known to the daemon, so there is nothing to save\n$/u,
  );
});
