// SPDX-License-Identifier: Apache-2.0
/**
 * The PKCS#11 provider against SoftHSM 2 (Debian package softhsm2). Keys are imported, so that what
 * the token wraps can be compared with RFC 3394 in software.
 */
import { execFileSync } from "node:child_process";
import { createSecretKey } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { toHex } from "@ctxmesh/model";
import { createMemoryStore, tempDir } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import type { KeyProvider, Pkcs11Options } from "@ctxmesh/vault";
import { pkcs11KeyProvider } from "@ctxmesh/vault";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { wrapKey } from "../src/key-wrap.ts";
import { documents, keyBytes, openOn, provider, unreadable, writeSealed } from "./fixture.ts";

const MODULE =
  [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
  ].find((path) => existsSync(path)) ?? "";
const haveToken = MODULE !== "";
const skipNote = haveToken
  ? ""
  : " (skipped: SoftHSM 2 is not installed; apt-get install softhsm2)";

const PIN = "1234";
const SECRET = new Uint8Array(32).fill(0x5a);
const NAMES = documents(3);

const token = (options: Partial<Pkcs11Options> = {}): KeyProvider =>
  pkcs11KeyProvider({
    module: MODULE,
    tokenLabel: "mesh",
    pin: PIN,
    keyLabel: "store",
    ...options,
  });

const util = (...args: readonly string[]): string =>
  execFileSync("softhsm2-util", args, { encoding: "utf8" });

describe.skipIf(!haveToken)(`a key in a token${skipNote}`, () => {
  let folder: TempDir;
  let slot = 0;
  const importKey = async (fill: number, label: string, id: string): Promise<void> => {
    const file = join(folder.path, `${label}-${id}.bin`);
    await writeFile(file, keyBytes(fill));
    util("--import", file, "--aes", "--token", "mesh", "--label", label, "--id", id, "--pin", PIN);
  };

  beforeAll(async () => {
    folder = await tempDir();
    const tokens = join(folder.path, "tokens");
    await mkdir(tokens);
    const conf = join(folder.path, "softhsm2.conf");
    await writeFile(conf, `directories.tokendir = ${tokens}\nobjectstore.backend = file\n`);
    // The module reads it in this process as well.
    vi.stubEnv("SOFTHSM2_CONF", conf);
    const made = util(
      "--init-token",
      "--free",
      "--label",
      "mesh",
      "--pin",
      PIN,
      "--so-pin",
      "5678",
    );
    slot = Number(/slot (\d+)/u.exec(made.split("\n").at(-2) ?? "")?.[1]);
    await importKey(7, "store", "01");
    await importKey(8, "next", "02");
    await importKey(9, "twice", "03");
    await importKey(9, "twice", "04");
  });
  afterAll(async () => {
    vi.unstubAllEnvs();
    await folder.remove();
  });

  test("wraps and unwraps as RFC 3394 says, whether the token is named by label or slot", async () => {
    const expected = toHex(wrapKey(createSecretKey(keyBytes(7)), SECRET));
    for (const named of [
      token(),
      pkcs11KeyProvider({ module: MODULE, slot, pin: PIN, keyLabel: "store" }),
    ]) {
      const wrapped = await named.wrap(SECRET);
      expect(toHex(wrapped)).toBe(expected);
      expect(toHex(await named.unwrap(wrapped))).toBe(toHex(SECRET));
    }
    expect(token().id).toBe("pkcs11:mesh/store");
  });

  test("protects a store, which takes it in exchange for another provider's and gives it back", async () => {
    const store = createMemoryStore();
    await writeSealed(store, await openOn(store, { key: token() }), NAMES);
    const vault = await openOn(store, { key: token() });
    expect(await unreadable(store, vault, NAMES)).toEqual([]);
    await vault.rotateStoreKey();
    await vault.rotate(token({ keyLabel: "next" }));
    await expect(openOn(store, { key: token() })).rejects.toMatchObject({
      code: "KEY_INVALID",
      message: expect.stringMatching(/wrapped by pkcs11:mesh\/next/u),
    });
    const next = await openOn(store, { key: token({ keyLabel: "next" }) });
    await next.rotate(provider(3));
    expect(await unreadable(store, await openOn(store, { key: provider(3) }), NAMES)).toEqual([]);
  });

  test("answers calls that are made at once", async () => {
    const wrapped = await token().wrap(SECRET);
    const calls = Array.from({ length: 12 }, (_, n) =>
      n % 3 === 0 ? token({ keyLabel: "next" }).wrap(SECRET) : token().unwrap(wrapped),
    );
    const answers = (await Promise.all(calls)).filter((_, n) => n % 3 !== 0);
    expect(new Set(answers.map(toHex))).toEqual(new Set([toHex(SECRET)]));
  });

  test("says clearly what is wrong", async () => {
    const wrapped = await token().wrap(SECRET);
    const wrong: readonly (readonly [Partial<Pkcs11Options>, string, RegExp])[] = [
      [{ pin: "4321" }, "KEY_INVALID", /the PIN is wrong/u],
      [{ keyLabel: "none" }, "KEY_INVALID", /no secret key has the label "none"/u],
      [{ keyLabel: "twice" }, "KEY_INVALID", /several secret keys have the label/u],
      [{ keyLabel: "next" }, "KEY_INVALID", /is not the key that the store key is wrapped with/u],
      [{ tokenLabel: "none" }, "UNREACHABLE", /no token has the label "none"/u],
      [{ module: `${MODULE}.none` }, "FILE_UNAVAILABLE", /can't load the PKCS#11 module/u],
    ];
    for (const [options, code, message] of wrong) {
      const call = token(options).unwrap(wrapped);
      await expect(call).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
      await expect(call).rejects.not.toMatchObject({ message: expect.stringContaining(PIN) });
    }
    for (let at = 0; at < wrapped.length; at++) {
      const changed = wrapped.map((byte, i) => (i === at ? byte ^ 1 : byte));
      await expect(token().unwrap(changed)).rejects.toMatchObject({ code: "KEY_INVALID" });
    }
    expect(toHex(await token().unwrap(wrapped))).toBe(toHex(SECRET));
  });
});

test("a file that is no module is refused, and so is a token with two names or none", async () => {
  await using folder = await tempDir();
  const path = join(folder.path, "module.so");
  await writeFile(path, "not a library");
  await expect(token({ module: path }).wrap(SECRET)).rejects.toMatchObject({
    code: "FILE_UNAVAILABLE",
  });
  const options = { module: path, pin: PIN, keyLabel: "store" };
  for (const names of [{}, { slot: 1, tokenLabel: "mesh" }]) {
    expect(() => pkcs11KeyProvider({ ...options, ...names })).toThrow(
      expect.objectContaining({ code: "CONFIG_INVALID" }),
    );
  }
});
