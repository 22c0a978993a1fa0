// SPDX-License-Identifier: Apache-2.0
/** Goal: docs/FORMATS.md says what is so, and what it hands out verifies with other tools. */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { runVerify } from "@ctxmesh/auditor";
import { tempDir } from "@ctxmesh/testing";
import { afterAll, describe, expect, test } from "vitest";

const top = fileURLToPath(new URL("../../../", import.meta.url));
const examples = join(top, "docs/examples/formats");
const at = Date.UTC(2026, 1, 1);
const folder = await tempDir();
afterAll(() => folder.remove());

/** Each `js` block of the page with the `text` block under it. */
const blocks = [
  ...readFileSync(join(top, "docs/FORMATS.md"), "utf8").matchAll(
    /^```js\n(?<code>[^]*?)^```\n\n```text\n(?<printed>[^]*?)^```/gmu,
  ),
].map(({ groups }, i) => ({ i, code: groups?.["code"] ?? "", printed: groups?.["printed"] ?? "" }));

test("the page has its worked examples", () => {
  expect(blocks).toHaveLength(4);
});

test.each(blocks)("block $i prints what stands under it", ({ i, code, printed }) => {
  const file = join(folder.path, `block-${String(i)}.mjs`);
  writeFileSync(file, code);
  const { stdout, stderr } = spawnSync(process.execPath, [file], {
    cwd: examples,
    encoding: "utf8",
  });
  expect({ stdout, stderr }).toEqual({ stdout: printed, stderr: "" });
});

describe("the example files", () => {
  test.each([
    ["bundle.json", "bundle"],
    ["temperature.proof", "fact"],
    ["decision.json", "decision"],
  ])("%s is a valid %s", async (name, kind) => {
    const verdict = await runVerify({
      bundlePath: join(examples, name),
      rootPaths: [join(examples, "root.json")],
      now: at,
    });
    expect([verdict.failed, verdict.kind]).toEqual([undefined, kind]);
  });

  test("the bundle's facts are derived from its batch", async () => {
    const verdict = await runVerify({
      bundlePath: join(examples, "bundle.json"),
      rootPaths: [join(examples, "root.json")],
      now: at,
    });
    expect(verdict.provenance).toMatchObject({ derived: 3, uncovered: 0 });
  });
});

const root = join(examples, "root.json");
const bundle = readFileSync(join(examples, "bundle.json"), "utf8");
/** The bundle with another digit at a place of the signature: in the ML-DSA half, and in the Ed25519 half. */
const forged = [100, 4_480].map((offset) => {
  const place = bundle.indexOf('\\"sig\\":\\"') + 10 + offset;
  const file = join(folder.path, `forged-${String(offset)}.json`);
  writeFileSync(
    file,
    bundle.slice(0, place) + (bundle[place] === "A" ? "B" : "A") + bundle.slice(place + 1),
  );
  return file;
});

const byNode = (file: string): number | null =>
  spawnSync(process.execPath, [join(top, "docs/examples/verify-with-node.mjs"), file, root]).status;
const byOpenssl = (file: string): number | null =>
  spawnSync("sh", [join(top, "scripts/verify-openssl.sh"), file, root]).status;

test("Node alone verifies the seal, and refuses a change of either half", () => {
  expect(byNode(join(examples, "bundle.json"))).toBe(0);
  expect(forged.map(byNode)).toEqual([1, 1]);
});

const openssl = process.env["OPENSSL"] ?? "openssl";
const [major = 0, minor = 0] = (
  /OpenSSL (\d+)\.(\d+)/u.exec(
    spawnSync(openssl, ["version"], { encoding: "utf8" }).stdout ?? "",
  ) ?? []
)
  .slice(1)
  .map(Number);
const knowsMlDsa = major > 3 || (major === 3 && minor >= 5);

test.skipIf(!knowsMlDsa)(
  "stock OpenSSL verifies the seal, and refuses a change of either half (skipped below OpenSSL 3.5; name one with OPENSSL=)",
  () => {
    expect(byOpenssl(join(examples, "bundle.json"))).toBe(0);
    expect(forged.map(byOpenssl)).toEqual([1, 1]);
  },
);
