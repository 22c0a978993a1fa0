// SPDX-License-Identifier: Apache-2.0
import { link, mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import type { Server } from "node:net";
import { join } from "node:path";
import { tempDir } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { listenTcp, listenUnix } from "../src/listen.ts";

let dir: TempDir;
let servers: Server[];

beforeEach(async () => {
  dir = await tempDir();
  servers = [];
});

afterEach(async () => {
  for (const server of servers) server.close();
  await dir.remove();
});

function newServer(): Server {
  const server = createServer();
  servers.push(server);
  return server;
}

const unavailable = (message: RegExp): unknown =>
  expect.objectContaining({
    code: "ADDRESS_UNAVAILABLE",
    message: expect.stringMatching(message) as string,
    remedy: expect.any(String) as string,
  });

describe("Unix socket", () => {
  test("only the owner may connect, and the file goes with the server", async () => {
    const path = join(dir.path, "a.sock");
    const server = newServer();
    await listenUnix(server, path);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await new Promise((resolve) => server.close(resolve));
    await expect(stat(path)).rejects.toMatchObject({ code: "ENOENT" });
  });

  test("the file of a dead process is replaced", async () => {
    // A second name of a bound socket stays behind when its server closes the first one.
    const first = join(dir.path, "first.sock");
    const path = join(dir.path, "a.sock");
    const dead = newServer();
    await listenUnix(dead, first);
    await link(first, path);
    await new Promise((resolve) => dead.close(resolve));
    expect((await stat(path)).isSocket()).toBe(true);
    await listenUnix(newServer(), path);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  test("the socket of a living process is left alone", async () => {
    const path = join(dir.path, "a.sock");
    await listenUnix(newServer(), path);
    await expect(listenUnix(newServer(), path)).rejects.toThrow(unavailable(/another process/u));
    expect((await stat(path)).isSocket()).toBe(true);
  });

  test("a file that is no socket is left alone", async () => {
    const path = join(dir.path, "notes.txt");
    await writeFile(path, "keep me");
    await expect(listenUnix(newServer(), path)).rejects.toThrow(unavailable(/not a socket/u));
    expect(await readFile(path, "utf8")).toBe("keep me");
  });

  test("a path longer than the system allows is refused by its length", async () => {
    const folder = join(dir.path, "d".repeat(100));
    await mkdir(folder);
    await expect(listenUnix(newServer(), join(folder, "a.sock"))).rejects.toThrow(
      unavailable(/bytes/u),
    );
  });

  test("a missing folder is named", async () => {
    const path = join(dir.path, "nowhere", "a.sock");
    await expect(listenUnix(newServer(), path)).rejects.toThrow(unavailable(/nowhere/u));
  });
});

describe("TCP", () => {
  test("port 0 becomes a real one", async () => {
    expect((await listenTcp(newServer(), "127.0.0.1", 0)).port).toBeGreaterThan(0);
  });

  test("a busy port is named with a remedy", async () => {
    const { port } = await listenTcp(newServer(), "127.0.0.1", 0);
    await expect(listenTcp(newServer(), "127.0.0.1", port)).rejects.toThrow(
      unavailable(new RegExp(`127\\.0\\.0\\.1:${String(port)}: EADDRINUSE`, "u")),
    );
  });

  test("an address of another machine is named with a remedy", async () => {
    await expect(listenTcp(newServer(), "192.0.2.1", 0)).rejects.toThrow(
      unavailable(/EADDRNOTAVAIL/u),
    );
  });
});
