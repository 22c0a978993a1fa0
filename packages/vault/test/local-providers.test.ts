// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { chmod, mkdir, readFile, readdir, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { execFileSync } from "node:child_process";
import { createMemoryStore, tempDir } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import type { KeyProvider } from "@ctxmesh/vault";
import { credentialKeyProvider, environmentKeyProvider, fileKeyProvider } from "@ctxmesh/vault";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { documents, openOn, unreadable, writeSealed } from "./fixture.ts";

const KEY = randomBytes(32);
const SECRET = Buffer.alloc(32, 0x5a);
const TEXT = `${KEY.toString("base64url")}\n`;
const NAMES = documents(3);

/** What is no key, and must not be shown. */
const WRONG_TEXTS = [
  "",
  "\n",
  TEXT.slice(1),
  `${TEXT}\n`,
  ` ${TEXT}`,
  `A${TEXT}`,
  KEY.toString("hex"),
  KEY.toString("base64"),
  KEY.toString("latin1"),
  // Bits after the last byte: a second text for the same key.
  `${Buffer.alloc(32).toString("base64url").slice(0, -1)}B\n`,
  "x".repeat(100_000),
];

let folder: TempDir;
let path: string;
beforeEach(async () => {
  folder = await tempDir();
  path = join(folder.path, "store.key");
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await folder.remove();
});

const expectKey = async (provider: KeyProvider): Promise<void> => {
  expect(await provider.unwrap(await provider.wrap(SECRET))).toEqual(SECRET);
};

const expectRefusal = async (provider: KeyProvider, message: RegExp): Promise<void> => {
  for (const call of [() => provider.wrap(SECRET), () => provider.unwrap(new Uint8Array(40))]) {
    const error: unknown = await call().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "KEY_INVALID", message: expect.stringMatching(message) });
    expect(String(error)).not.toContain(TEXT.slice(2, 40));
  }
};

describe("a key file", () => {
  test("is made with the first store key, is closed to others, and opens the store again", async () => {
    const store = createMemoryStore();
    const key = fileKeyProvider(path, { create: true });
    await writeSealed(store, await openOn(store, { key }), NAMES);
    expect(await readFile(path, "utf8")).toMatch(/^[A-Za-z0-9_-]{43}\n$/u);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(folder.path)).toEqual(["store.key"]);
    const again = await openOn(store, { key: fileKeyProvider(path, { create: false }) });
    expect(await unreadable(store, again, NAMES)).toEqual([]);
    expect(again.stats().provider).toBe(`file:${path}`);
  });

  test("that is there is never replaced, also when several make it at once", async () => {
    await writeFile(path, TEXT, { mode: 0o600 });
    await expectKey(fileKeyProvider(path, { create: true }));
    expect(await readFile(path, "utf8")).toBe(TEXT);
    const { mtimeMs } = await stat(folder.path);
    await expectKey(fileKeyProvider(path, { create: true }));
    expect((await stat(folder.path)).mtimeMs).toBe(mtimeMs);
    const other = join(folder.path, "other.key");
    const provider = fileKeyProvider(other, { create: true });
    const wrapping = Promise.all(Array.from({ length: 40 }, () => provider.wrap(SECRET)));
    while (!existsSync(other)) await setImmediate();
    const first = readFileSync(other, "utf8");
    for (const wrapped of await wrapping) expect(await provider.unwrap(wrapped)).toEqual(SECRET);
    expect(await readFile(other, "utf8")).toBe(first);
    expect(await readdir(folder.path)).toEqual(["other.key", "store.key"]);
  });

  test("that is lost is not made anew for a store that needs it", async () => {
    const missing = fileKeyProvider(path, { create: true });
    await expect(missing.unwrap(new Uint8Array(40))).rejects.toMatchObject({ code: "KEY_INVALID" });
    await expectRefusal(
      fileKeyProvider(path, { create: false }),
      /can't read the key file.*ENOENT/u,
    );
    expect(await readdir(folder.path)).toEqual([]);
  });

  test("that is open to other users in any way is refused", async () => {
    expect.hasAssertions();
    await writeFile(path, TEXT);
    for (const mode of [0o644, 0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o660]) {
      await chmod(path, mode);
      await expectRefusal(fileKeyProvider(path, { create: true }), /open to other users: mode 06/u);
    }
    for (const mode of [0o600, 0o400]) {
      await chmod(path, mode);
      await expectKey(fileKeyProvider(path, { create: false }));
    }
  });

  test("with anything but a key is refused, without showing it", async () => {
    expect.hasAssertions();
    for (const text of WRONG_TEXTS) {
      await writeFile(path, text, { mode: 0o600 });
      await expectRefusal(fileKeyProvider(path, { create: true }), /does not hold a store key/u);
    }
    await writeFile(path, TEXT.trimEnd());
    await expectKey(fileKeyProvider(path, { create: false }));
  });

  test("may be a link, but no folder and no pipe", async () => {
    expect.hasAssertions();
    await writeFile(path, TEXT, { mode: 0o600 });
    const linked = join(folder.path, "link");
    await symlink(path, linked);
    await expectKey(fileKeyProvider(linked, { create: false }));
    const pipe = join(folder.path, "pipe");
    execFileSync("mkfifo", ["-m", "600", pipe]);
    for (const wrong of [folder.path, pipe]) {
      await expectRefusal(fileKeyProvider(wrong, { create: false }), /is not a file/u);
    }
  });

  test("that can't be made says so", async () => {
    const provider = fileKeyProvider(join(folder.path, "none", "store.key"), { create: true });
    await expect(provider.wrap(SECRET)).rejects.toMatchObject({
      code: "FILE_UNAVAILABLE",
      message: expect.stringMatching(/can't make the key file/u),
    });
  });
});

describe("a credential", () => {
  test("is a file of the credentials folder, whatever its mode shows", async () => {
    const credentials = join(folder.path, "credentials");
    await mkdir(credentials);
    await writeFile(join(credentials, "store-key"), TEXT, { mode: 0o440 });
    vi.stubEnv("CREDENTIALS_DIRECTORY", credentials);
    const provider = credentialKeyProvider("store-key");
    expect(provider.id).toBe("credential:store-key");
    await expectKey(provider);
    await writeFile(path, TEXT, { mode: 0o600 });
    const wrapped = await provider.wrap(SECRET);
    expect(await fileKeyProvider(path, { create: false }).unwrap(wrapped)).toEqual(SECRET);
    await expectRefusal(credentialKeyProvider("other"), /can't read the key file.*ENOENT/u);
  });

  test("needs a service that was started with it", async () => {
    expect.hasAssertions();
    vi.stubEnv("CREDENTIALS_DIRECTORY", undefined);
    await expectRefusal(credentialKeyProvider("store-key"), /CREDENTIALS_DIRECTORY is not set/u);
  });

  test.for(["", ".", "..", "../key", "a/b", "/etc/key", ".hidden"])(
    "has a name without a way out of the folder: %j",
    (name) => {
      expect(() => credentialKeyProvider(name)).toThrow(
        expect.objectContaining({ code: "CONFIG_INVALID" }),
      );
    },
  );
});

describe("an environment variable", () => {
  test("holds the text of a key file", async () => {
    vi.stubEnv("CTXMESH_STORE_KEY", TEXT.trimEnd());
    const provider = environmentKeyProvider("CTXMESH_STORE_KEY");
    expect(provider.id).toBe("environment:CTXMESH_STORE_KEY");
    await expectKey(provider);
    for (const text of WRONG_TEXTS.filter((each) => !each.includes("\0"))) {
      vi.stubEnv("CTXMESH_STORE_KEY", text);
      await expectRefusal(provider, /does not hold a store key/u);
    }
    vi.stubEnv("CTXMESH_STORE_KEY", undefined);
    await expectRefusal(provider, /is not set/u);
  });
});
