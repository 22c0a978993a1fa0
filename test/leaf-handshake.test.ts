// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the leaf in C says and computes in a handshake, byte for byte, what the vectors of the link have, and refuses who is not its parent.
 * Method: a small program around the leaf's own parts, given keys that are otherwise random.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildLeaf } from "./leaf/program.ts";

interface Vector {
  readonly keys: Readonly<Record<string, string>>;
  readonly frames: readonly {
    readonly sender: string;
    readonly number: number;
    readonly message: string;
    readonly frame: string;
  }[];
  at(name: string): string;
}
interface File {
  readonly handshakes: readonly (Pick<Vector, "keys" | "frames"> &
    Readonly<Record<string, unknown>>)[];
}
const file = JSON.parse(
  readFileSync("packages/transport-tcp/test/vectors.json", "utf8"),
) as unknown as File;
const HANDSHAKES = file.handshakes.map((vector): Vector => ({
  keys: vector.keys,
  frames: vector.frames,
  at: (name) => String(vector.keys[name] ?? vector[name]),
}));

const build = buildLeaf();
const folder = mkdtempSync(join(tmpdir(), "ctxmesh-leaf-"));
const program = join(folder, "handshake");
afterAll(() => rmSync(folder, { recursive: true }));
const isMissing = build.missing !== undefined;
if (isMissing) process.stderr.write(`the leaf is not tested: ${build.missing}`);

beforeAll(() => {
  if (isMissing) return;
  const core = join(build.folder, "facts-core.c");
  const flags = "-std=c11 -D_GNU_SOURCE -w -O1 -DNDEBUG -DWASM_RT_MEMCHECK_SIGNAL_HANDLER=0".split(
    " ",
  );
  const files = ["test/leaf/handshake.c", core, "-o", program, "-lsodium", "-lzstd"];
  execFileSync("gcc", [...flags, `-I${build.folder}`, ...files]);
});

function answer(vector: Vector, changes: Readonly<Record<string, string>> = {}): string[] {
  const values = ["space", "clientSeed", "clientScalar", "serverDevice", "psk", "answer"].map(
    (name) => changes[name] ?? vector.at(name),
  );
  const frames = vector.frames
    .filter(({ sender }) => sender === "client")
    .map(({ message }) => message);
  const { stdout, status } = spawnSync(program, [...values, ...frames], { encoding: "utf8" });
  expect(status).toBe(0);
  return stdout.trim().split("\n");
}

test.skipIf(isMissing)("hello, proof, keys and frames are those of the vectors", () => {
  for (const vector of HANDSHAKES) {
    const [hello, proof, sends, receives, ...frames] = answer(vector);
    expect(hello).toBe(vector.at("hello"));
    expect(proof).toBe(vector.at("proof"));
    expect([sends, receives]).toEqual([vector.at("client data"), vector.at("server data")]);
    const own = vector.frames.filter(({ sender }) => sender === "client");
    // Frames are counted from 0; a vector may have later ones as well.
    const first = own.filter(({ number }, i) => number === i).map(({ frame }) => frame);
    expect(frames.slice(0, first.length)).toEqual(first);
  }
});

test.skipIf(isMissing)(
  "an answer with any other byte, of another device or with another psk is refused",
  () => {
    const [vector] = HANDSHAKES;
    if (vector === undefined) throw new Error("there are no vectors");
    const honest = vector.at("answer");
    for (let at = 0; at < honest.length; at += 6) {
      const digit = honest[at] === "0" ? "1" : "0";
      const changed = honest.slice(0, at) + digit + honest.slice(at + 1);
      expect(answer(vector, { answer: changed })[1], String(at)).toBe("refused");
    }
    expect(answer(vector, { psk: "00".repeat(32) })[1]).toBe("refused");
    expect(answer(vector, { serverDevice: vector.at("clientDevice") })[1]).toBe("refused");
  },
);
