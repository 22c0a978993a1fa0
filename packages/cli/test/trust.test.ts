// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: people with a key each make, change and sign a trust root, offline, and each sees what the file still lacks.
 * Method: the command line, read and carried out in this process, as there are many of them; what it writes is read by the
 * library that auditors use.
 */
import { chmod, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ALGORITHMS, createDeviceVerifier } from "@ctxmesh/crypto";
import { KEY_ROLES, parseTrustRoot, trustedVerifier, updateTrustRoot } from "@ctxmesh/ledger";
import type { TrustRoot } from "@ctxmesh/ledger";
import { parseSpaceFile } from "@ctxmesh/membership";
import { LIMITS, toMeshError } from "@ctxmesh/model";
import { tempDir } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { readPrivateKey } from "../src/files.ts";
import { ALGORITHM_CHOICES, ROLE_CHOICES } from "../src/program-trust.ts";
import { createProgram } from "../src/program.ts";
import { formatError } from "../src/output.ts";
import { run } from "./run.ts";

let dir: TempDir;
const at = (name: string): string => join(dir.path, name);
const exitCode = (): number => (typeof process.exitCode === "number" ? process.exitCode : 0);

/** Words of a command line that name files in the folder of the test. */
const FILE = /\.(?:json|jwk|pub)$|^passphrase$/u;

async function ctxmesh(
  args: string,
  env: Readonly<Record<string, string>> = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const lines: string[] = [];
  const write = vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
    lines.push(String(chunk));
    return true;
  });
  vi.stubEnv("CTXMESH_PASSPHRASE_FILE", env["CTXMESH_PASSPHRASE_FILE"]);
  const before = process.exitCode;
  process.exitCode = 0;
  let stderr = "";
  try {
    const words = args.split(" ").map((word) => (FILE.test(word) ? at(word) : word));
    await createProgram("0.0.0").parseAsync(["node", "ctxmesh", ...words]);
    return { code: exitCode(), stdout: lines.join(""), stderr };
  } catch (error) {
    const failure = toMeshError(error);
    stderr = formatError(failure, false).replaceAll(`${dir.path}/`, "");
    return { code: failure.exitCode, stdout: lines.join(""), stderr };
  } finally {
    process.exitCode = before;
    vi.unstubAllEnvs();
    write.mockRestore();
  }
}
/** Runs a command that has to succeed. */
async function good(args: string, env?: Readonly<Record<string, string>>): Promise<string> {
  const { code, stdout, stderr } = await ctxmesh(args, env);
  expect({ args, code, stderr }).toEqual({ args, code: 0, stderr: "" });
  return stdout;
}
const text = (name: string): Promise<string> => readFile(at(name), "utf8");
const keyid = async (name: string): Promise<string> => (await readPrivateKey(at(name))).keyid;

beforeAll(async () => {
  dir = await tempDir();
  await run(["init", "plant", "--agents", "1", "--ports", "auto"], { cwd: dir.path });
  for (const name of ["ann", "ben", "cat"]) {
    await good(`keys new ${name}.jwk`);
    await writeFile(at(`${name}.pub`), await good(`keys public ${name}.jwk`));
  }
});

afterAll(() => dir.remove());

test("the choices on the command line are the library's", () => {
  expect(ALGORITHM_CHOICES).toEqual(ALGORITHMS);
  expect(ROLE_CHOICES).toEqual(KEY_ROLES);
});

test("init signs the root with a key of its own: one person needs nothing else", async () => {
  const root = parseTrustRoot(await text("plant/root.json"));
  expect(root).toMatchObject({ version: 1, roles: { root: { threshold: 1 } } });
  const shown = await good("trust show plant/root.json");
  expect(shown).toMatch(/^trust root version 1, issued .* ago, expires in 36[45] d$/mu);
  expect(shown).toContain(`signed   ${await keyid("plant/creator/root.jwk")}`);
});

describe("a ceremony of two out of three", () => {
  let first: TrustRoot;

  test("makes a root that counts from the second signature on", async () => {
    const { stdout } = await ctxmesh(
      "trust init root.json --root ann.pub --root ben.pub --root cat.jwk --threshold 2 --space plant/space.json",
    );
    expect(stdout).toContain("nobody has signed it yet");
    await good("trust add root.json --role snapshot --key plant/hub/snapshot.jwk");
    await good(
      "trust add root.json --log log.example/plant --ed25519 plant/hub/log-ed25519.jwk --mldsa44 plant/hub/log-mldsa44.jwk",
    );
    const signing = await good("trust sign root.json --key ann.jwk");
    expect(signing).toContain("1 of the 2 signatures");
    const half = await ctxmesh("trust show root.json");
    // Both say of which content they speak.
    const [digest = "none"] = /^digest [0-9a-f]{64}$/mu.exec(half.stdout) ?? [];
    expect(signing).toContain(digest);
    expect(half.code).toBe(2);
    expect(half.stdout).toContain(`signed   ${await keyid("ann.jwk")}`);
    expect(half.stdout).toContain(`missing  ${await keyid("ben.jwk")}`);
    expect(half.stdout).toMatch(/^not good: .*has 1 of the 2 signatures/mu);
    const early = await ctxmesh("trust add root.json --out next.json --days 9");
    expect(early).toMatchObject({ code: 2, stdout: "" });
    expect(early.stderr).toContain("not by enough to build on");
    await good("trust sign root.json --key ben.jwk");
    await good("trust show root.json");
    first = parseTrustRoot(await text("root.json"));
    expect(first.version).toBe(1);
    const space = parseSpaceFile(await text("plant/space.json"), createDeviceVerifier());
    expect(first.spaces).toEqual([space.id]);
  });

  test("never changes what is signed, and signs with no other key", async () => {
    const before = await text("root.json");
    for (const [args, code, message] of [
      ["trust add root.json --days 30", 3, "is signed, and stays as it is; give --out FILE"],
      ["trust add root.json --out next.json", 3, "what shall be added?"],
      ["trust sign root.json --key plant/hub/snapshot.jwk", 2, "is no root key"],
      ["trust sign root.json --key ann.pub", 3, "does not belong|missing or no string"],
      ["trust init root.json --root ann.pub", 3, "is there already"],
      ["trust revoke root.json --out next.json --key zzzz --reason x", 1, "has no key"],
      [
        "trust add root.json --out next.json --role snapshot --key ann.pub",
        2,
        "the same key twice",
      ],
      ["trust add root.json --out next.json --threshold 4", 2, "asks for 4 signatures and has 3"],
    ] as const) {
      const done = await ctxmesh(args);
      expect({ args, code: done.code }).toEqual({ args, code });
      expect(done.stderr).toMatch(new RegExp(`^ctxmesh: .*(?:${message})`, "u"));
    }
    expect(await text("root.json")).toBe(before);
  });

  test("hands a root key over, rotates a key and revokes one: shown as changes, taken when both versions' holders signed", async () => {
    await good("keys new dan.jwk --alg ML-DSA-44-Ed25519");
    await good("keys new seal-2.jwk");
    const ben = await keyid("ben.jwk");
    const seal = await keyid("plant/hub/snapshot.jwk");
    await good(`trust rotate root.json --out next.json --key ${ben} --to dan.jwk`);
    await good(`trust rotate next.json --key ${seal.slice(0, 8)} --to seal-2.jwk --overlap 7d`);
    await good("trust add next.json --days 100");
    const open = await ctxmesh("trust show next.json --against root.json --json");
    expect(open.code).toBe(2);
    const { changes, approval, approvalByOld } = JSON.parse(open.stdout) as Record<string, never>;
    expect(changes).toEqual(
      expect.arrayContaining([
        expect.stringMatching(`^\\+ ML-DSA-44-Ed25519 key ${await keyid("dan.jwk")}: root`),
        expect.stringMatching(`^~ ML-DSA-65-Ed25519 key ${ben}: root, .* until for ever -> `),
        expect.stringMatching(`^~ ML-DSA-65-Ed25519 key ${seal}: snapshot`),
      ]),
    );
    expect([approval, approvalByOld]).toMatchObject([{ signed: [] }, { signed: [], threshold: 2 }]);

    await good("trust sign next.json --key ann.jwk");
    await good("trust sign next.json --key dan.jwk");
    // Enough for itself, and not for the version before.
    await good("trust show next.json");
    expect((await ctxmesh("trust show next.json --against root.json")).code).toBe(2);
    await good("trust sign next.json --key ben.jwk");
    await good("trust show next.json --against root.json");
    const second = updateTrustRoot(first, await text("next.json"));
    const [space] = second.spaces;
    if (space === undefined) throw new Error("one space is there");
    const context = { space, crossCheck: false };
    const allows = (root: TrustRoot, key: string, atMs: number): boolean => {
      try {
        return trustedVerifier(root, "snapshot", key, { ...context, atMs }).key.keyid === key;
      } catch {
        return false;
      }
    };
    const week = second.issued + 7 * 86_400_000;
    expect(allows(second, seal, week - 1)).toBe(true);
    expect(allows(second, seal, week)).toBe(false);
    expect(allows(second, await keyid("seal-2.jwk"), week)).toBe(true);

    await good(
      `trust revoke next.json --out third.json --key ${seal} --at ${String(second.issued)} --reason stolen`,
    );
    await good("trust sign third.json --key ann.jwk");
    await good("trust sign third.json --key cat.jwk");
    const third = updateTrustRoot(second, await text("third.json"));
    expect(allows(third, seal, second.issued - 1)).toBe(true);
    expect(allows(third, seal, second.issued)).toBe(false);
    // Back again is no update, and neither is a version left out.
    expect((await ctxmesh("trust show next.json --against third.json")).code).toBe(2);
    expect((await ctxmesh("trust show third.json --against root.json")).code).toBe(2);
  });
});

const passphrase = (): Readonly<Record<string, string>> => ({
  CTXMESH_PASSPHRASE_FILE: at("passphrase"),
});

describe("key files", () => {
  test("are encrypted in their place, read by commands with the passphrase, and decrypted", async () => {
    await writeFile(at("passphrase"), "four random words here\n", { mode: 0o600 });
    await good("keys new eve.jwk --alg ML-DSA-44-Ed25519");
    expect((await stat(at("eve.jwk"))).mode & 0o777).toBe(0o600);
    const plain = await text("eve.jwk");
    await good("trust init eve.json --root eve.jwk");
    await good("keys encrypt eve.jwk --passphrase-file passphrase");
    expect((await stat(at("eve.jwk"))).mode & 0o777).toBe(0o600);
    expect(await text("eve.jwk")).toMatch(/^-----BEGIN AGE ENCRYPTED FILE-----\n/u);
    await good("trust sign eve.json --key eve.jwk", passphrase());
    parseTrustRoot(await text("eve.json"));

    const without = await ctxmesh("trust sign eve.json --key eve.jwk");
    expect(without.code).toBe(3);
    expect(without.stderr).toMatch(
      /^ctxmesh: eve\.jwk: is encrypted, and CTXMESH_PASSPHRASE_FILE/u,
    );
    await chmod(at("passphrase"), 0o644);
    const shared = await ctxmesh("keys decrypt eve.jwk", passphrase());
    expect(shared).toMatchObject({ code: 3, stdout: "" });
    expect(shared.stderr).toContain("is open to other users");
    await chmod(at("passphrase"), 0o600);
    await good("keys decrypt eve.jwk", passphrase());
    expect(await text("eve.jwk")).toBe(plain);
  });

  test("that others may read are warned of, once by name with what to do, and used all the same", async () => {
    await good("keys new open.jwk");
    const publicOf = async (mode: number, env = {}): ReturnType<typeof run> => {
      await chmod(at("open.jwk"), mode);
      return run(["keys", "public", "open.jwk"], { cwd: dir.path, env });
    };
    const [closed, group, other] = [
      await publicOf(0o600),
      await publicOf(0o640),
      await publicOf(0o604),
    ];
    expect([closed.code, closed.stderr]).toEqual([0, ""]);
    for (const [{ code, stdout, stderr }, mode] of [
      [group, "0640"],
      [other, "0604"],
    ] as const) {
      expect([code, stdout]).toEqual([0, closed.stdout]);
      expect(stderr).toMatch(
        new RegExp(
          `^warning: .* open\\.jwk is open .*\\(mode ${mode}\\): chmod 600 open\\.jwk;.*\n$`,
          "u",
        ),
      );
    }
    // What systemd hands to a service has the mode of an access list.
    const credential = await publicOf(0o440, { CREDENTIALS_DIRECTORY: dir.path });
    expect([credential.code, credential.stderr]).toEqual([0, ""]);
    const write = vi.spyOn(process.stderr, "write").mockReturnValue(true);
    await Promise.all([keyid("open.jwk"), keyid("open.jwk")]);
    await keyid("open.jwk");
    await chmod(at("ann.pub"), 0o644);
    await good("trust init shared.json --root ann.pub");
    const warnings = write.mock.calls.map(([chunk]) => String(chunk));
    write.mockRestore();
    expect(warnings).toEqual([expect.stringMatching(/open\.jwk is open .*\(mode 0440\)/u)]);
  });

  test("are not made in the place of others, nor encrypted twice, nor anything but keys", async () => {
    for (const [args, message] of [
      ["keys new ann.jwk", "can't make the key file ann.jwk: EEXIST"],
      ["keys encrypt ann.pub --passphrase-file passphrase", "missing or no string"],
      ["keys encrypt root.json --passphrase-file passphrase", "root.json: key is neither"],
      ["keys decrypt ann.jwk --passphrase-file passphrase", "is not encrypted"],
      ["keys encrypt ann.jwk", "which passphrase?; give --passphrase-file"],
    ] as const) {
      const { code, stderr } = await ctxmesh(args);
      expect({ args, code }).toEqual({ args, code: 3 });
      expect(stderr).toContain(message);
    }
  });
});

test("what need not end is read no further than it may be long", async () => {
  const { code, stderr } = await ctxmesh("trust show /dev/zero");
  expect({ code, stderr }).toEqual({
    code: 3,
    stderr: `ctxmesh: the trust root /dev/zero has more than ${String(LIMITS.smallFileBytes)} bytes; at most ${String(LIMITS.smallFileBytes)} are read`,
  });
});
