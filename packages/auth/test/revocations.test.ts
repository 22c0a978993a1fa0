// SPDX-License-Identifier: Apache-2.0
import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createRecordingLogger, silentLogger, tempDir, waitFor } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import { watchRevocations } from "../src/revocations.ts";

const alice = { token: "t1", subject: "alice" };
const bound = { timeoutMs: 10_000, what: "the change" };

test("what a file says is revoked within seconds of its change, and a listener hears of it", async () => {
  await using dir = await tempDir();
  const path = join(dir.path, "revoked.json");
  await writeFile(path, "{}");
  const { revocations, stop } = await watchRevocations(path, silentLogger);
  let heard = 0;
  revocations.onChange(() => (heard += 1));
  expect(revocations.includes(alice)).toBe(false);
  await writeFile(path, '{ "tokens": ["t1"] }');
  await waitFor(() => revocations.includes(alice), bound);
  // As long as before, and put in its place whole.
  await writeFile(`${path}.new`, '{ "tokens": ["t2"] }');
  await rename(`${path}.new`, path);
  await waitFor(() => !revocations.includes(alice), bound);
  await writeFile(path, '{ "subjects": ["alice"] }');
  await waitFor(() => revocations.includes(alice), bound);
  expect(heard).toBeGreaterThanOrEqual(3);
  stop();
});

test("what a file said stays in force when it is gone or wrong, and the log says so once", async () => {
  await using dir = await tempDir();
  const path = join(dir.path, "revoked.json");
  await writeFile(path, '{ "tokens": ["t1"], "subjects": [] }');
  const logger = createRecordingLogger();
  const { revocations, stop } = await watchRevocations(path, logger);
  await writeFile(path, '{ "tokens": "none" }');
  await waitFor(() => logger.entries.length === 1, bound);
  await rm(path);
  await waitFor(() => logger.entries.length === 2, bound);
  expect(revocations.includes(alice)).toBe(true);
  await writeFile(path, "{}");
  await waitFor(() => !revocations.includes(alice), bound);
  expect(logger.entries.map(({ event }) => event)).toEqual([
    "revocations.unavailable",
    "revocations.unavailable",
  ]);
  stop();
});

test.each([
  ["{", "CONFIG_INVALID"],
  ["[]", "CONFIG_INVALID"],
  ['{ "token": ["t1"] }', "CONFIG_INVALID"],
  ['{ "tokens": [1] }', "CONFIG_INVALID"],
  ['{ "tokens": null }', "CONFIG_INVALID"],
  ['{ "tokens": [], "tokens": [] }', "CONFIG_INVALID"],
  [JSON.stringify({ tokens: Array.from({ length: 65_537 }, () => "t") }), "CONFIG_INVALID"],
  [JSON.stringify({ tokens: ["t".repeat(1_048_576)] }), "CONFIG_INVALID"],
  [undefined, "FILE_UNAVAILABLE"],
])("a list that is wrong from the start stops it: %.30s", async (text, code) => {
  await using dir = await tempDir();
  const path = join(dir.path, "revoked.json");
  if (text !== undefined) await writeFile(path, text);
  await expect(watchRevocations(path, silentLogger)).rejects.toMatchObject({ code });
});
