// SPDX-License-Identifier: Apache-2.0
/** Goal: the local API on TCP is where the configuration says, on this machine alone, with a token that only its user can read. */
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { tempDir } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parseConfig } from "../src/config/load.ts";
import { localApiOf } from "../src/local-api.ts";

const MINIMAL = "space: space.json\nkey: k.jwk\nstore: store\nsocket: a.sock\n";

let dir: TempDir;
beforeEach(async () => {
  dir = await tempDir();
});
afterEach(() => dir.remove());

const configOf = (api: object): ReturnType<typeof parseConfig<"agent">> =>
  parseConfig("agent", `${MINIMAL}api: ${JSON.stringify(api)}\n`, join(dir.path, "a.yaml"));

const tokenOf = async (): Promise<string | undefined> =>
  (await localApiOf(configOf({ listen: "127.0.0.1:1", tokenFile: "api.token" }))).api?.token;

describe("the configuration", () => {
  test("says nothing of TCP unless it does", async () => {
    const config = parseConfig("agent", MINIMAL, join(dir.path, "a.yaml"));
    expect(config.api).toBeUndefined();
    expect(await localApiOf(config)).toEqual({});
  });

  test.each([
    ["127.0.0.1:7410", "127.0.0.1", 7410],
    ["127.1.2.3:0", "127.1.2.3", 0],
    ["localhost:7410", "localhost", 7410],
    ["[::1]:7410", "::1", 7410],
  ])("listens on %s", async (listen, host, port) => {
    const { api } = await localApiOf(configOf({ listen, tokenFile: "api.token" }));
    expect(api).toMatchObject({ host, port, origins: [] });
  });

  test.each([
    "0.0.0.0:1",
    "[::]:1",
    "192.168.1.1:1",
    "7410",
    "127.0.0.1",
    "example.org:1",
    "127.0.0.1.example.org:1",
    "localhost.example:1",
  ])("does not listen on %s", (listen) => {
    expect(() => configOf({ listen, tokenFile: "t" })).toThrow(
      /api\.listen must be an address of this machine/u,
    );
  });

  test("needs a file for the token, and takes origins", () => {
    expect(() => configOf({ listen: "127.0.0.1:1" })).toThrow(/"tokenFile" is missing in api/u);
    const origins = ["http://localhost:5173"];
    expect(configOf({ listen: "127.0.0.1:1", tokenFile: "t", origins }).api?.origins).toEqual(
      origins,
    );
    expect(() => configOf({ listen: "127.0.0.1:1", tokenFile: "t", origins: ["*"] })).toThrow(
      /origin/u,
    );
  });
});

describe("the token", () => {
  test("is made once, for this user alone, and differs from one file to the next", async () => {
    const token = await tokenOf();
    const file = join(dir.path, "api.token");
    expect(token).toMatch(/^[\w-]{43}$/u);
    expect((await readFile(file, "utf8")).trim()).toBe(token);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await tokenOf()).toBe(token);
    await writeFile(file, "another-token-of-my-own\n");
    expect(await tokenOf()).toBe("another-token-of-my-own");
  });

  test.each(["", "short", "with space in it 0123456789", "x".repeat(513)])(
    "%j in its file is none",
    async (text) => {
      await writeFile(join(dir.path, "api.token"), text);
      await expect(tokenOf()).rejects.toMatchObject({
        code: "INPUT_INVALID",
        field: "api.tokenFile",
      });
    },
  );

  test("a file that can't be made is named", async () => {
    const config = configOf({ listen: "127.0.0.1:1", tokenFile: "missing/api.token" });
    await expect(localApiOf(config)).rejects.toMatchObject({ code: "FILE_UNAVAILABLE" });
  });
});
