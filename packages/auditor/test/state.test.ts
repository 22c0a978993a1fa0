// SPDX-License-Identifier: Apache-2.0
/** Goal: an auditor with a memory finds a log that shows two histories, and a trust root that goes back. */
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runVerify } from "@ctxmesh/auditor";
import { tempDir } from "@ctxmesh/testing";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { NOW, openKit } from "./kit.ts";

const folder = await tempDir();
afterAll(() => folder.remove());
const file = (name: string, content: string | Uint8Array): string => {
  const path = join(folder.path, name);
  writeFileSync(path, content);
  return path;
};

const kit = await openKit(11);
const [first, second, third] = [
  file("1.json", await kit.seal(1)),
  file("2.json", await kit.seal(2)),
  file("3.json", await kit.seal(3)),
];
const tiles = join(folder.path, "tiles");
await kit.writeTiles(tiles);
const other = await openKit(11, "b");
const [otherFirst, otherSecond] = [
  file("other-1.json", await other.seal(1)),
  file("other-2.json", await other.seal(2)),
];
const rootPath = file("root.json", kit.root());
const [root2, root3, root4] = [2, 3, 4].map((version) =>
  file(`root-${String(version)}.json`, kit.root({ version })),
) as [string, string, string];
const otherRoot = file("root-1b.json", kit.root({ expires: NOW + 2_000_000 }));

let statePath = "";
let states = 0;
beforeEach(() => {
  statePath = join(folder.path, `seen-${String(states++)}`);
});

async function verify(
  bundlePath: string,
  more: { logPath?: string; roots?: readonly string[] } = {},
): Promise<string> {
  const { logPath, roots = [rootPath] } = more;
  const verdict = await runVerify({
    bundlePath,
    rootPaths: roots,
    now: NOW,
    statePath,
    ...(logPath === undefined ? {} : { logPath }),
  });
  const { failed, exitCode } = verdict;
  return failed === undefined ? "0" : `${String(exitCode)} ${failed.step}: ${failed.message}`;
}

describe("the log", () => {
  test("is remembered, and shown again is the same", async () => {
    expect(await verify(second)).toBe("0");
    expect(await verify(second)).toBe("0");
    expect(readdirSync(statePath)).toHaveLength(2);
  });

  test("that grew needs its tiles, and with them is valid and remembered", async () => {
    expect(await verify(first)).toBe("0");
    expect(await verify(third)).toMatch(/^2 consistency: nothing shows that the log only grew/u);
    expect(await verify(third, { logPath: tiles })).toBe("0");
    expect(await verify(third)).toBe("0");
  });

  test("of an older bundle is the same log when the tiles say so, and the newer head stays remembered", async () => {
    expect(await verify(third)).toBe("0");
    expect(await verify(first, { logPath: tiles })).toBe("0");
    expect(await verify(third)).toBe("0");
  });

  test("that has shrunk is exit 1", async () => {
    expect(await verify(third)).toBe("0");
    expect(await verify(first)).toMatch(
      /^1 consistency: the log has shrunk: 3 entries seen before, 1 now/u,
    );
  });

  test("that shows two trees of one size is a split view, found at the first exchange", async () => {
    expect(await verify(first)).toBe("0");
    expect(await verify(otherFirst)).toBe("1 consistency: split view: two trees of 1 entries");
    expect(await verify(first)).toBe("0");
  });

  test("that goes on from another history is a split view, whatever tiles come with it", async () => {
    expect(await verify(first)).toBe("0");
    const theirs = join(folder.path, "their-tiles");
    await other.writeTiles(theirs);
    expect(await verify(otherSecond, { logPath: theirs })).toMatch(/^1 consistency: split view/u);
    expect(await verify(otherSecond, { logPath: tiles })).toMatch(/^1 consistency: /u);
  });

  test("is not remembered from a bundle that is not valid", async () => {
    const text = new TextDecoder().decode(await kit.seal(4));
    const forged = file("forged.json", text.replace('value\\":4', 'value\\":5'));
    expect(await verify(forged)).toMatch(/^1 snapshot-root/u);
    expect(readdirSync(statePath)).toEqual([]);
  });
});

/** Without a memory. */
const exitCodeUnder = async (...rootPaths: string[]): Promise<number> =>
  (await runVerify({ bundlePath: first, rootPaths, now: NOW })).exitCode;

describe("the trust root", () => {
  test("may get newer, and not older, and not another one of its version", async () => {
    expect(await verify(first)).toBe("0");
    expect(await verify(first, { roots: [otherRoot] })).toMatch(/^2 trust-root-seen: .*differs/u);
    expect(await verify(first, { roots: [root2] })).toBe("0");
    expect(readFileSync(join(statePath, "root.json"), "utf8")).toBe(readFileSync(root2, "utf8"));
    expect(await verify(first)).toMatch(/^2 trust-root-seen: .*older than version 2/u);
    expect(await verify(first, { roots: [root2] })).toBe("0");
  });

  test("of the next version needs the signatures that the one before asks for, and takes no one's place without them", async () => {
    expect(await verify(first)).toBe("0");
    const forged = file("forged-root.json", kit.strangersRoot(2));
    expect(await verify(first, { roots: [forged] })).toMatch(
      /^2 trust-root-seen: .*0 of the 1 signatures that version 1 asks for/u,
    );
    const jump = file("forged-root-7.json", kit.strangersRoot(7));
    expect(await verify(first, { roots: [jump] })).toMatch(/^2 trust-root-seen: /u);
    expect(await verify(first)).toBe("0");
    expect(await verify(first, { roots: [root2] })).toBe("0");
  });

  test("of a later version comes with those in between, in order; the missing one is named", async () => {
    expect(await verify(first)).toBe("0");
    for (const roots of [[root3], [root3, root4]]) {
      expect(await verify(first, { roots })).toMatch(
        /^2 trust-root-seen: .* does not follow version 1: version 2 is missing$/u,
      );
    }
    expect(await verify(first, { roots: [root2, root4] })).toMatch(
      /^2 trust-root-file: .* does not follow version 2: version 3 is missing$/u,
    );
    expect(await verify(first, { roots: [root3, root2] })).toMatch(/^2 trust-root-file: /u);
    expect(await verify(first, { roots: [root2, root3] })).toBe("0");
    // From the pinned one on, whatever of them was seen already.
    expect(await verify(first, { roots: [rootPath, root2, root3, root4] })).toBe("0");
    expect(await verify(first, { roots: [rootPath, root2] })).toMatch(/older than version 4/u);
  });

  test("of another history is refused, however long the chain that follows it", async () => {
    expect(await verify(first, { roots: [root2] })).toBe("0");
    expect(await verify(first, { roots: [otherRoot, root2, root3] })).toBe("0");
    const another = file("root-2b.json", kit.root({ version: 2, expires: NOW + 2_000_000 }));
    statePath = join(folder.path, "another");
    expect(await verify(first, { roots: [root2] })).toBe("0");
    expect(await verify(first, { roots: [another, root3] })).toMatch(
      /^2 trust-root-seen: .*differs/u,
    );
  });

  test("is followed from the pinned one without a memory, too", async () => {
    const forged = file("forged-root-2.json", kit.strangersRoot(2));
    expect(await exitCodeUnder(rootPath, root2, root3)).toBe(0);
    expect(await exitCodeUnder(rootPath, forged)).toBe(2);
    expect(await exitCodeUnder(rootPath, root3)).toBe(2);
  });

  test("is remembered only with something valid: neither a wrong bundle nor a split view makes a newer one count", async () => {
    expect(await verify(first)).toBe("0");
    const forged = file("forged-under-2.json", "{}");
    expect(await verify(forged, { roots: [root2] })).toMatch(/^3 bundle/u);
    expect(await verify(first)).toBe("0");
    expect(await verify(otherFirst, { roots: [root2] })).toMatch(/^1 consistency: split view/u);
    expect(await verify(first)).toBe("0");
  });
});

describe("a damaged memory", () => {
  test.each(["", "{}", '{"format":"ctxmesh-seen-log/v1"}', "not JSON", '{"format":"x"}'])(
    "%j is exit 3, and is not replaced",
    async (content) => {
      expect(await verify(first)).toBe("0");
      const name = readdirSync(statePath).find((each) => each.startsWith("log-")) ?? "";
      writeFileSync(join(statePath, name), content);
      expect(await verify(first)).toMatch(/^3 consistency: state file .* is not what was written/u);
      expect(await verify(first)).toMatch(/^3 consistency/u);
    },
  );

  test("of the trust root is exit 3, and is not replaced", async () => {
    expect(await verify(first)).toBe("0");
    const text = readFileSync(rootPath, "utf8");
    for (const content of [
      "",
      "{}",
      text.slice(1),
      text.replace(/"version": 1/u, '"version": 2'),
    ]) {
      writeFileSync(join(statePath, "root.json"), content);
      expect(await verify(first)).toMatch(/^3 trust-root-seen: state file .* is not what was/u);
      expect(readFileSync(join(statePath, "root.json"), "utf8")).toBe(content);
    }
  });

  test("a state that can't be made is exit 3", async () => {
    statePath = join(rootPath, "below-a-file");
    expect(await verify(first)).toMatch(/^3 state: /u);
  });
});
