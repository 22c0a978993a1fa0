// SPDX-License-Identifier: Apache-2.0
/** The transparency log by the command line alone: a hub, a witness that is killed, and a copy of the log as files. */
import { cp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import {
  createSigner,
  formatPrivateKey,
  generatePrivateKey,
  parsePrivateKey,
  toPublicJwk,
} from "@ctxmesh/crypto";
import {
  encodeBundle,
  openLog,
  parseBundle,
  parseTrustRoot,
  parseVkey,
  snapshotEntry,
  verifyCheckpoint,
} from "@ctxmesh/ledger";
import type { Log, Verdict, VerifiedCheckpoint } from "@ctxmesh/ledger";
import { EXIT } from "@ctxmesh/model";
import { systemClock, systemRandom } from "@ctxmesh/service";
import { createMemoryStore, tempDir, waitFor } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Daemon } from "./daemon-process.ts";
import { run } from "./run.ts";
import type { RunResult } from "./run.ts";

let dir: TempDir;
let mesh: string;
let hub: Daemon;
let witness: Daemon;
let door: string;

const ctxmesh = (...args: readonly string[]): Promise<RunResult> => run(args, { cwd: mesh });
const seal = async (...options: readonly string[]): Promise<RunResult> =>
  ctxmesh("seal", "--socket", "hub/hub.sock", ...options);
const exportTo = async (url: string, folder: string): Promise<RunResult> =>
  ctxmesh("log", "export", url, folder, "--trust", "root.json");

async function startWitness(listen: string): Promise<Daemon> {
  const options = ["w1.test", "--key", "w1.jwk", "--log", "root.json", "--store", "w1-store"];
  const daemon = new Daemon(mesh, "witness", "--name", [...options, "--listen", listen]);
  await daemon.ready();
  return daemon;
}

/** The hub's newest checkpoint, with the witness's key known. */
async function published(): Promise<VerifiedCheckpoint> {
  const [log] = parseTrustRoot(await readFile(join(mesh, "root.json"), "utf8")).logs;
  const vkeys = (await witness.ready())["vkeys"] as readonly string[];
  if (log === undefined) throw new Error("the root names no log");
  const text = await (await fetch(`${door}/checkpoint`)).text();
  return verifyCheckpoint(
    text,
    log,
    vkeys.map((vkey) => parseVkey(vkey)),
  );
}

beforeAll(async () => {
  dir = await tempDir();
  mesh = join(dir.path, "mesh");
  await run(["init", mesh, "--agents", "1", "--ports", "auto"]);
  const key = generatePrivateKey("ML-DSA-44", systemRandom);
  await writeFile(join(mesh, "w1.jwk"), formatPrivateKey(key), { mode: 0o600 });
  await writeFile(join(mesh, "w1.pub"), JSON.stringify(toPublicJwk(key)));
  witness = await startWitness("127.0.0.1:0");
  const { url } = await witness.ready();
  const yaml = await readFile(join(mesh, "hub.yaml"), "utf8");
  const asked = `  witnesses:\n    - url: ${String(url)}\n      name: w1.test\n      keys: [w1.pub]\nlog:\n`;
  await writeFile(join(mesh, "hub.yaml"), yaml.replace("\nlog:\n", `\n${asked}`));
  hub = new Daemon(mesh, "hub", "hub.yaml");
  const { addresses } = await hub.ready();
  const [address = ""] = addresses as readonly string[];
  door = new URL("/log", address.replace(/^ws/u, "http")).href;
});

afterAll(async () => {
  await Promise.all([witness.stop(), hub.stop()]);
  await dir.remove();
});

test("each seal is cosigned; a witness that was killed goes on from what it had cosigned", async () => {
  const until = async (size: number): Promise<void> =>
    waitFor(
      async () => {
        const { head, cosignedBy } = await published();
        return head.size === size && cosignedBy.join() === "w1.test";
      },
      { timeoutMs: 20_000, what: "the witness" },
    );
  await seal();
  await until(1);
  witness.process.kill("SIGKILL");
  await witness.exit;
  expect((await seal()).code).toBe(EXIT.ok);
  expect(await published()).toMatchObject({ head: { size: 2 }, cosignedBy: [] });
  const { host } = new URL(String((await witness.ready())["url"]));
  witness = await startWitness(host);
  await until(2);
});

test("what can't be copied is said", async () => {
  const [empty, nobody] = await Promise.all([
    exportTo(new URL("/nothing", door).href, "empty"),
    exportTo("http://127.0.0.1:1/log", "nowhere"),
  ]);
  expect(empty).toEqual({
    code: EXIT.failed,
    stdout: "",
    stderr: `ctxmesh: ${new URL("/nothing", door).href} has no checkpoint; make a seal first: ctxmesh seal\n`,
  });
  expect([nobody.code, nobody.stderr.split(": ")[1]]).toEqual([
    EXIT.unavailable,
    "can't fetch http://127.0.0.1:1/log/checkpoint",
  ]);
});

describe("a copy of the log", () => {
  test("has the same pages, and is completed by the next run", async () => {
    const first = await exportTo(door, "tiles");
    expect(first).toMatchObject({ code: EXIT.ok, stderr: "" });
    expect(first.stdout).toMatch(
      /^tiles: log ctxmesh\.local\/[0-9a-f]+, 2 entries, 3 files written\n$/u,
    );
    await seal();
    // What an interrupted run has left, without a checkpoint.
    await cp(join(mesh, "tiles"), join(mesh, "cut"), { recursive: true });
    await rm(join(mesh, "cut/checkpoint"));
    const folders = ["tiles", "cut"];
    const runs = await Promise.all(folders.map(async (folder) => exportTo(door, folder)));
    expect(runs.map(({ code }) => code)).toEqual([EXIT.ok, EXIT.ok]);
    for (const folder of folders) {
      for (const path of ["checkpoint", "tile/0/000.p/3", "tile/entries/000.p/3"]) {
        const page = await (await fetch(`${door}/${path}`)).bytes();
        const copy = await readFile(join(mesh, folder, path));
        // The lines of witnesses may have come in between.
        expect(new Uint8Array(copy.subarray(0, 100))).toEqual(page.subarray(0, 100));
      }
    }
    const again = await ctxmesh("log", "export", door, "tiles", "--trust", "root.json", "--json");
    expect(JSON.parse(again.stdout)).toMatchObject({ size: 3, files: 1 });
    expect(await readdir(join(mesh, "tiles"))).toEqual(["checkpoint", "tile"]);
  });

  test("can be copied again from any static server", async () => {
    await using server = await serveFolder(join(mesh, "tiles"));
    expect((await exportTo(server.url, "mirror")).code).toBe(EXIT.ok);
    const name = "tile/entries/000.p/3";
    const copy = await readFile(join(mesh, "mirror", name));
    expect(copy).toEqual(await readFile(join(mesh, "tiles", name)));
  });

  test("is refused when the log does not go on from it, has shrunk, or its pages are not its own", async () => {
    await cp(join(mesh, "tiles"), join(mesh, "forged"), { recursive: true });
    const entries = join(mesh, "forged/tile/entries/000.p/3");
    const bytes = await readFile(entries);
    bytes[40] = (bytes[40] ?? 0) ^ 1;
    await writeFile(entries, bytes);
    await using server = await serveFolder(join(mesh, "forged"));
    const forged = await exportTo(server.url, "from-forged");
    expect([forged.code, forged.stdout]).toEqual([EXIT.failed, ""]);
    expect(forged.stderr).toMatch(/^ctxmesh: tile\/entries\/000\.p\/3 has another entry 0\n$/u);
    // A folder that is ahead of what is shown.
    await seal();
    expect((await exportTo(door, "ahead")).code).toBe(EXIT.ok);
    await using older = await serveFolder(join(mesh, "tiles"));
    const shrunk = await exportTo(older.url, "ahead");
    expect(shrunk).toMatchObject({
      code: EXIT.failed,
      stderr: "ctxmesh: the log has shrunk: 4 entries before, 3 now\n",
    });
    await using forked = await serveLog(await openFork(5));
    const split = await exportTo(forked.url, "ahead");
    expect(split.code).toBe(EXIT.failed);
    expect(split.stderr).toMatch(/^ctxmesh: split view: the log with 5 entries does not go on/u);
  });
});

/** The exit code and the last step of a verification. */
const verify = async (bundle: string, ...options: readonly string[]): Promise<string> => {
  const { stdout } = await ctxmesh("verify", bundle, "--trust", "root.json", "--json", ...options);
  const { exitCode, steps } = JSON.parse(stdout) as Verdict;
  const { name, detail } = steps.at(-1) ?? {};
  return `${String(exitCode)} ${name ?? ""}: ${detail ?? ""}`;
};
/** With a memory, and the tiles of a copy. */
const remembering = (tiles: string): string[] => ["--state", "seen", "--log", tiles];

test("an auditor who remembers finds that two copies are of a log that forked; each by itself is good", async () => {
  for (const [name, found] of [
    ["first", /^0 consistency: first look/u],
    ["second", /^0 consistency: .*only grew$/u],
  ] as const) {
    expect((await seal("--out", `${name}.json`)).code).toBe(EXIT.ok);
    expect((await exportTo(door, `copy-${name}`)).code).toBe(EXIT.ok);
    expect(await verify(`${name}.json`, ...remembering(`copy-${name}`))).toMatch(found);
  }
  // What the hub shows to somebody else: the same seal, in a larger log with another history.
  const bundle = parseBundle(await readFile(join(mesh, "second.json")));
  const fork = await openFork((await published()).head.size);
  const { proof } = await fork.append(snapshotEntry(bundle.envelope));
  await writeFile(join(mesh, "theirs.json"), encodeBundle({ ...bundle, proof }));
  await using server = await serveLog(fork);
  expect((await exportTo(server.url, "copy-theirs")).code).toBe(EXIT.ok);
  expect(await verify("theirs.json")).toMatch(/^0 /u);
  expect(await verify("theirs.json", ...remembering("copy-theirs"))).toMatch(
    /^1 consistency: split view: .* the one does not go on from the other$/u,
  );
  expect(await verify("theirs.json", ...remembering("copy-second"))).toMatch(/^1 consistency: /u);
  expect(await verify("second.json", ...remembering("copy-second"))).toMatch(/^0 consistency: /u);
});

test("what is wrong with the settings of a witness is said before it starts", async () => {
  const settings = ["--name", "w", "--key", "w1.jwk", "--log", "root.json", "--store", "other"];
  const cases: [readonly string[], RegExp][] = [
    [[...settings, "--listen", "4600"], /--listen "4600" is not HOST:PORT; write it as/u],
    [[...settings.slice(0, 6), "--store", "w1-store"], /w1-store/u],
    [[...settings, "--log", "hub.yaml"], /hub\.yaml: verifier key is not/u],
    [settings.slice(2), /--name <name>' not specified/u],
  ];
  const runs = cases.map(async ([args]) => ctxmesh("witness", ...args));
  for (const [i, { code, stderr }] of (await Promise.all(runs)).entries()) {
    const [args, expected] = cases[i] ?? [[], /^$/u];
    expect(code, args.join(" ")).toBeGreaterThan(1);
    expect(stderr).toMatch(expected);
    expect(stderr.trim().split("\n").length).toBe(1);
  }
});

/** A server of a log's pages. */
async function serve(
  pageOf: (path: string) => Promise<Uint8Array | undefined>,
): Promise<AsyncDisposable & { readonly url: string }> {
  const server = createServer((request, response) => {
    pageOf((request.url ?? "").slice(1)).then(
      (page) => (page === undefined ? response.writeHead(404).end() : response.end(page)),
      () => response.writeHead(404).end(),
    );
  });
  await new Promise<void>((done) => {
    server.listen(0, "127.0.0.1", done);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${String(port)}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

/** A server that knows nothing but files. */
const serveFolder = (folder: string): ReturnType<typeof serve> =>
  serve(async (path) => readFile(join(folder, path)));

const serveLog = (log: Log): ReturnType<typeof serve> =>
  serve(async (path) => (await log.pages.page(path))?.bytes);

/** Another history, signed by whoever has the hub's log keys. */
async function openFork(size: number): Promise<Log> {
  const [ed25519, mldsa44] = await Promise.all(
    ["ed25519", "mldsa44"].map(async (name) =>
      createSigner(parsePrivateKey(await readFile(join(mesh, `hub/log-${name}.jwk`), "utf8"))),
    ),
  );
  const [log] = parseTrustRoot(await readFile(join(mesh, "root.json"), "utf8")).logs;
  if (!log || !ed25519 || !mldsa44) throw new Error("the mesh has no log");
  const [store, prefix, signers] = [createMemoryStore(), Uint8Array.of(1), { ed25519, mldsa44 }];
  const fork = await openLog({ store, prefix, origin: log.origin, signers, clock: systemClock });
  for (let i = 0; i < size; i++) await fork.append(snapshotEntry(Uint8Array.of(i)));
  return fork;
}
