// SPDX-License-Identifier: Apache-2.0
/** Goal: acts get into a space file whole, signed and checked, or not at all; tokens that are damaged lead nowhere. */
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { copyFile, mkdir, readFile, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createDeviceVerifier } from "@ctxmesh/crypto";
import { parseInvite } from "@ctxmesh/membership";
import { EXIT, toHex } from "@ctxmesh/model";
import type { MembershipReport } from "@ctxmesh/model";
import { tempDir } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { loadConfig } from "../src/config/load.ts";
import { readKey, readSpace } from "../src/files.ts";
import { formatTime } from "../src/output.ts";
import { findKey } from "../src/space-source.ts";
import { isLoopback } from "../src/commands/space-invite.ts";
import { run } from "./run.ts";
import type { RunResult } from "./run.ts";

let dir: TempDir;
let pristine: string;
const inDir = (...parts: readonly string[]): string => join(dir.path, ...parts);
const ctxmesh = (...args: readonly string[]): Promise<RunResult> =>
  run(args, { cwd: inDir("plant") });
const FILE = ["--space", "space.json", "--key", "creator/creator.jwk"];
const DEVICE = "7f".repeat(32);

beforeAll(async () => {
  dir = await tempDir();
  await run(["space", "create", "plant", "--out", "plant"], { cwd: dir.path });
  pristine = await readFile(inDir("plant/space.json"), "utf8");
});

beforeEach(() => writeFile(inDir("plant/space.json"), pristine));

afterAll(() => dir.remove());

const members = async (): Promise<MembershipReport> =>
  JSON.parse(
    (await ctxmesh("space", "members", "--space", "space.json", "--json")).stdout,
  ) as MembershipReport;

/** What a command that has to change nothing says. */
async function refusalOf(args: readonly string[]): Promise<Omit<RunResult, "stdout">> {
  const { stdout, ...refusal } = await ctxmesh("space", ...args);
  const changed = (await readFile(inDir("plant/space.json"), "utf8")) !== pristine;
  if (stdout !== "" || changed) throw new Error(`${args.join(" ")} changed the file: ${stdout}`);
  return refusal;
}

const refusal = (code: number, message: RegExp): unknown => ({
  code,
  stderr: expect.stringMatching(message) as unknown,
});

describe("create", () => {
  test("makes a space with one agent that manages it, as the programs read it", async () => {
    const space = await readSpace(inDir("plant/space.json"));
    const creator = await readKey(inDir("plant/creator/creator.jwk"), "Ed25519");
    const config = await loadConfig("agent", inDir("plant/agent-1.yaml"));
    const device = toHex((await readKey(config.key, "Ed25519")).publicKey);
    expect(space.genesis).toMatchObject({ name: "plant", creators: [toHex(creator.publicKey)] });
    expect([...space.grants.values()].flat()).toMatchObject([
      { device, role: "manage", service: "agent" },
    ]);
    for (const key of ["creator/creator.jwk", "agent-1/device.jwk"]) {
      expect((await stat(inDir("plant", key))).mode & 0o777).toBe(0o600);
    }
  });

  test("touches nothing that is there", async () => {
    const again = await run(["space", "create", "other", "--out", "plant"], { cwd: dir.path });
    expect(again).toMatchObject({ code: EXIT.input, stdout: "" });
    expect(again.stderr).toMatch(/already holds .*; choose another folder\n$/u);
    const bad = await run(["space", "create", "a\nb", "--out", "new"], { cwd: dir.path });
    expect(bad).toMatchObject({ code: EXIT.input, stdout: "" });
    expect(await readdir(dir.path)).not.toContain("new");
  });
});

describe("a space file", () => {
  test("takes grants, renewals and revocations, and tells them to members", async () => {
    await ctxmesh("space", "grant", DEVICE, "--role", "write", ...FILE);
    const more = await ctxmesh("space", "renew", DEVICE.slice(0, 8), "--days", "60", ...FILE);
    expect(more.stdout).toMatch(
      /^7f7f7f7f may write as an agent until .*; the last one would have ended .*\nit is in space\.json; a node that starts with that file passes it on\n$/u,
    );
    const member = (await members()).members.find(({ device }) => device === DEVICE);
    expect(member).toMatchObject({ state: "active", role: "write", grants: [{}, {}] });
    await ctxmesh(
      "space",
      "revoke",
      DEVICE.slice(0, 8),
      "--keep",
      "nothing",
      "--reason",
      "lost",
      ...FILE,
    );
    const after = await members();
    expect(after.revocations).toMatchObject([{ device: DEVICE, reason: "lost", kept: 0 }]);
    const text = (await ctxmesh("space", "members", "--space", "space.json")).stdout;
    expect(text).toMatch(/^7f7f7f7f .* revoked +- +creator /mu);
    expect(text).toMatch(/^ {2}7f7f7f7f by [0-9a-f]{8} on .* UTC, nothing of it stands: lost$/mu);
  });

  test("keeps its mode, and gets an invite whose token names the contacts", async () => {
    const contact = `wss://hub.example.org@${DEVICE}`;
    const { code, stdout, stderr } = await ctxmesh(
      "space",
      "invite",
      "--contact",
      contact,
      ...FILE,
    );
    expect(code).toBe(EXIT.ok);
    expect(stderr).toMatch(/^the token above lets whoever has it join with the role write until /u);
    expect(stderr).toMatch(/start a contact with space\.json before anybody joins\n$/u);
    const invitation = parseInvite(stdout, createDeviceVerifier());
    expect(invitation.contacts).toEqual([{ address: "wss://hub.example.org", device: DEVICE }]);
    const space = await readSpace(inDir("plant/space.json"));
    expect(invitation.space.id).toBe(space.id);
    expect(space.invites.get(invitation.key)).toMatchObject({ id: invitation.act, role: "write" });
  });

  test("is changed by a manager as well, and by nobody else", async () => {
    const manager = ["--space", "space.json", "--key", "agent-1/device.jwk"];
    const granted = await ctxmesh("space", "grant", DEVICE, "--role", "read", ...manager);
    expect(granted).toMatchObject({ code: EXIT.ok, stderr: "" });
    await writeFile(inDir("plant/space.json"), pristine);
    await run(["space", "create", "other", "--out", "other"], { cwd: dir.path });
    await copyFile(inDir("other/creator/creator.jwk"), inDir("plant/stranger.jwk"));
    expect(
      await refusalOf([
        "grant",
        DEVICE,
        "--role",
        "read",
        "--space",
        "space.json",
        "--key",
        "stranger.jwk",
      ]),
    ).toEqual(
      refusal(
        EXIT.policy,
        /^ctxmesh: [0-9a-f]{12} is no creator of the space .*; sign with the key of a creator or of a manager\n$/u,
      ),
    );
  });

  test.each<[string, readonly string[], number, RegExp]>([
    [
      "no key file",
      ["grant", DEVICE, "--space", "space.json", "--key", "none.jwk"],
      EXIT.input,
      /can't read the key none\.jwk/u,
    ],
    [
      "no space file",
      ["grant", DEVICE, "--space", "none.json", "--key", "creator/creator.jwk"],
      EXIT.input,
      /can't read the space file none\.json/u,
    ],
    [
      "no role for a new device",
      ["grant", DEVICE, ...FILE],
      EXIT.input,
      /which role\? 7f7f7f7f has none yet; give --role/u,
    ],
    [
      "a device of 7 digits",
      ["grant", "7f7f7f7", ...FILE],
      EXIT.input,
      /"7f7f7f7" is not a device key; give its hex digits, or the first 8 or more/u,
    ],
    [
      "text for a device",
      ["grant", "press-7 ", ...FILE],
      EXIT.input,
      /"press-7 " is not a device key/u,
    ],
    [
      "an unknown beginning",
      ["grant", "7f7f7f7f", ...FILE],
      EXIT.failed,
      /no device of the space begins with 7f7f7f7f/u,
    ],
    [
      "a renewal of a stranger",
      ["renew", DEVICE, ...FILE],
      EXIT.failed,
      /is not a member of the space; admit it/u,
    ],
    [
      "a revocation of an unknown beginning",
      ["revoke", "7f7f7f7f", "--keep", "nothing", ...FILE],
      EXIT.failed,
      /no device or invite of the space begins/u,
    ],
    [
      "a revocation by what a file can't know",
      ["revoke", DEVICE, ...FILE],
      EXIT.input,
      /does not say what the device wrote; give --keep nothing/u,
    ],
    [
      "a reason that is too long",
      ["revoke", DEVICE, "--keep", "nothing", "--reason", "x".repeat(513), ...FILE],
      EXIT.input,
      /revoke\.reason/u,
    ],
    [
      "an invite without a contact",
      ["invite", ...FILE],
      EXIT.input,
      /space\.json does not say where a new device can join; give --contact/u,
    ],
    [
      "a contact without a device",
      ["invite", "--contact", "ws://h:1", ...FILE],
      EXIT.input,
      /is not an address and a device/u,
    ],
    [
      "too many contacts",
      [
        "invite",
        ...Array.from({ length: 9 }, (_, i) => [
          "--contact",
          `ws://h:${String(i)}@${DEVICE}`,
        ]).flat(),
        ...FILE,
      ],
      EXIT.input,
      /needs 1 to 8 contacts/u,
    ],
  ])("refuses %s and stays as it was", async (_, args, code, message) => {
    expect(await refusalOf(args)).toEqual(refusal(code, message));
  });

  test("does not let a creator be revoked", async () => {
    const { creators } = await members();
    expect(await refusalOf(["revoke", creators[0] ?? "", "--keep", "nothing", ...FILE])).toEqual(
      refusal(EXIT.policy, /creator/u),
    );
  });
});

/** A token that leads to a port where nobody is. */
async function tokenToNowhere(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  const contact = `/ip4/127.0.0.1/tcp/${String(port)}@${DEVICE}`;
  return (await ctxmesh("space", "invite", "--quiet", "--contact", contact, ...FILE)).stdout.trim();
}

describe("join", () => {
  test("with a token that is damaged anywhere ends before anything is touched", async () => {
    const token = await tokenToNowhere();
    const verifier = createDeviceVerifier();
    const prefix = "ctxmesh-invite1.".length;
    fc.assert(
      fc.property(
        fc.nat(token.length - 1),
        fc.constantFrom("A", "b", "_", " ", "é"),
        (at, char) => {
          fc.pre(token[at] !== char);
          expect(() =>
            parseInvite(token.slice(0, at) + char + token.slice(at + 1), verifier),
          ).toThrow(expect.objectContaining({ code: "FORMAT_INVALID" }) as Error);
        },
      ),
    );
    fc.assert(
      fc.property(fc.integer({ min: prefix, max: token.length - 1 }), (length) => {
        expect(() => parseInvite(token.slice(0, length), verifier)).toThrow(/invite: /u);
      }),
    );
    const input = `${token.slice(0, -5)}\n`;
    const { code, stdout, stderr } = await run(["space", "join", "-", "new"], {
      cwd: dir.path,
      input,
    });
    expect({ code, stdout }).toEqual({ code: EXIT.input, stdout: "" });
    expect(stderr).toMatch(/^ctxmesh: invite: .*; copy the whole token, or ask for a new one\n$/u);
    expect(await readdir(dir.path)).not.toContain("new");
  });

  test.each([
    ["", /^ctxmesh: stdin has no token; ctxmesh space join - DIR < token\.txt\n$/u],
    ["x".repeat(100_000), /^ctxmesh: invite has \d+ characters, the limit is \d+\n$/u],
    ["hello", /^ctxmesh: invite: does not begin with ctxmesh-invite1\./u],
  ])("with stdin %#", async (input, message) => {
    const { code, stderr } = await run(["space", "join", "-", "new"], { cwd: dir.path, input });
    expect(code).toBe(EXIT.input);
    expect(stderr).toMatch(message);
    expect(await readdir(dir.path)).not.toContain("new");
  });

  test("that reaches no contact says where it tried, and leaves nothing behind", async () => {
    const token = await tokenToNowhere();
    await mkdir(inDir("kept"), { recursive: true });
    for (const folder of ["new/er", "kept"]) {
      const { code, stderr } = await run(["space", "join", token, folder, "--timeout", "1s"], {
        cwd: dir.path,
      });
      expect(code).toBe(EXIT.unavailable);
      expect(stderr).toMatch(
        /\nctxmesh: no contact of the invite took this device in: \/ip4\/127\.0\.0\.1\/tcp\/\d+ .*ECONNREFUSED.*; check that one runs/su,
      );
    }
    expect(await readdir(inDir("kept"))).toEqual([]);
    expect(await readdir(dir.path)).not.toContain("new");
  });

  test("never into a folder that holds what it would write", async () => {
    const { code, stderr } = await run(["space", "join", await tokenToNowhere(), "plant"], {
      cwd: dir.path,
    });
    expect(code).toBe(EXIT.input);
    expect(stderr).toMatch(
      /already holds agent\.schema\.json, space\.json; choose another folder\n$/u,
    );
    await writeFile(inDir("file"), "mine");
    const onFile = await run(["space", "join", await tokenToNowhere(), "file"], { cwd: dir.path });
    expect(onFile).toMatchObject({ code: EXIT.input });
    expect(await readFile(inDir("file"), "utf8")).toBe("mine");
  });
});

describe("a device argument", () => {
  const keys = ["aaaaaaaa11".padEnd(64, "0"), "aaaaaaaa22".padEnd(64, "0"), "b".repeat(64)];

  test("is any unambiguous beginning of 8 digits or more, in upper case, too", () => {
    expect(findKey("bbbbbbbb", keys, "device")).toBe(keys[2]);
    expect(findKey("AAAAAAAA1", keys, "device")).toBe(keys[0]);
    expect(findKey("c".repeat(64), keys, "device")).toBeUndefined();
  });

  test("that fits several is refused with enough digits of each", () => {
    expect(() => findKey("aaaaaaaa", keys, "device")).toThrow(
      expect.objectContaining({
        code: "USAGE",
        remedy: "give more digits: aaaaaaaa11000000, aaaaaaaa22000000",
      }) as Error,
    );
  });
});

test("a time is told in UTC, whatever an act claims", () => {
  expect(formatTime(Date.UTC(2026, 0, 31, 14, 5, 59, 999))).toBe("2026-01-31 14:05 UTC");
  expect(formatTime(8.64e15)).toBe("+275760-09-13 00:00 UTC");
  expect(formatTime(Number.MAX_SAFE_INTEGER)).toBe("for ever");
});

test.each([
  ["/ip4/127.0.0.1/tcp/4401", true],
  ["/ip6/::1/tcp/4401", true],
  ["ws://localhost:4400", true],
  ["ws://[::1]:4400/v1/sync", true],
  ["wss://127.0.0.1/v1/sync", true],
  ["/ip4/192.0.2.7/tcp/4401", false],
  ["/dns4/hub.example.org/tcp/4401", false],
  ["ws://localhost.example.org:4400", false],
])("%s leads to this machine alone: %s", (address, expected) => {
  expect(isLoopback(address)).toBe(expected);
});
