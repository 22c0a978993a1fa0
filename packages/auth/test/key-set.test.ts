// SPDX-License-Identifier: Apache-2.0
/** Goal: keys come from where the operator said, for one algorithm each, and a hostile token can't make anybody read them more often. */
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:https";
import type { Server } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import {
  createRecordingLogger,
  createTestCertificate,
  createVirtualClock,
  silentLogger,
  tempDir,
  waitFor,
} from "@ctxmesh/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FRESH_MS, READ_EVERY_MS, openKeySet } from "../src/key-set.ts";
import { readKeySet } from "../src/keys.ts";
import { NOW_S, PAIRS, jwkOf, keySetText } from "./issuer.ts";

const setOf = (...keys: readonly unknown[]): string => JSON.stringify({ keys });

describe("a set of keys", () => {
  test("gives each key its one algorithm", async () => {
    const keys = await readKeySet(keySetText());
    expect([...keys].map(([name, { algorithms }]) => [name, algorithms])).toEqual([
      ["es", ["ES256"]],
      ["es384", ["ES384"]],
      ["ed", ["Ed25519", "EdDSA"]],
      ["rs", ["RS256"]],
      ["ps", ["PS256"]],
    ]);
  });

  test.each([
    ["without a name", { ...jwkOf("es"), kid: undefined }],
    ["with an empty name", { ...jwkOf("es"), kid: "" }],
    ["with a name of 257 characters", { ...jwkOf("es"), kid: "k".repeat(257) }],
    ["for encryption", { ...jwkOf("rs"), use: "enc" }],
    ["for other operations", { ...jwkOf("es"), key_ops: ["sign"] }],
    ["that is symmetric", { kty: "oct", k: "c2VjcmV0", kid: "k", alg: "HS256" }],
    ["that is private", { ...PAIRS.es.privateKey.export({ format: "jwk" }), kid: "k" }],
    ["of another curve", { ...jwkOf("es"), crv: "secp256k1" }],
    ["of the other curve of Edwards", { ...jwkOf("ed"), kid: "k", crv: "Ed448" }],
    ["with an algorithm of another kind", { ...jwkOf("es"), alg: "RS256" }],
    ["with an algorithm that is not taken", { ...jwkOf("rs"), alg: "RS512" }],
    ["with a MAC as its algorithm", { ...jwkOf("rs"), alg: "HS256" }],
    ["with a point that is on no curve", { ...jwkOf("es"), y: jwkOf("es")["x"] }],
    [
      "of 1,024 bits",
      {
        ...generateKeyPairSync("rsa", { modulusLength: 1_024 }).publicKey.export({ format: "jwk" }),
        kid: "k",
      },
    ],
    ["of 16,384 bits", { ...jwkOf("rs"), n: Buffer.alloc(2_048, 0xff).toString("base64url") }],
    ["that is a text", "key"],
    ["that is null", null],
  ])("leaves a key out %s", async (_, key) => {
    await expect(readKeySet(setOf(key))).rejects.toMatchObject({ code: "FORMAT_INVALID" });
    expect([...(await readKeySet(setOf(key, jwkOf("ed")))).keys()]).toEqual(["ed"]);
  });

  test("leaves out all keys with one name", async () => {
    const twice = { ...jwkOf("foreign"), kid: "es" };
    const set = setOf(jwkOf("es"), twice, jwkOf("ed"), jwkOf("es"));
    expect([...(await readKeySet(set)).keys()]).toEqual(["ed"]);
  });

  test.each([
    ["is no JSON", "{"],
    ["is a list", "[]"],
    ["has no keys", "{}"],
    ["has an empty list", setOf()],
    ["has keys twice", `{"keys":[],${keySetText().slice(1)}`],
    ["has 65 keys", setOf(...Array.from({ length: 65 }, () => jwkOf("ed")))],
    ["is larger than 64 KiB", setOf(jwkOf("ed"), { more: "x".repeat(65_536) })],
  ])("is refused that %s", async (_, text) => {
    await expect(readKeySet(text)).rejects.toMatchObject({ code: "FORMAT_INVALID" });
  });
});

describe("a file", () => {
  test("is read, and again for a new key, at most once a minute", async () => {
    await using dir = await tempDir();
    const location = join(dir.path, "keys.json");
    const clock = createVirtualClock(NOW_S * 1_000);
    await writeFile(location, setOf(jwkOf("es")));
    const keys = await openKeySet({ location, clock, logger: silentLogger });
    expect(await keys.find("es")).toBeDefined();
    await writeFile(location, setOf(jwkOf("ed")));
    clock.advance(READ_EVERY_MS - 1);
    expect(await keys.find("ed")).toBeUndefined();
    clock.advance(1);
    expect(await keys.find("ed")).toBeDefined();
    expect(await keys.find("es")).toBeUndefined();
  });

  test.each([
    ["missing", undefined, "FILE_UNAVAILABLE"],
    ["no set of keys", "[]", "FORMAT_INVALID"],
  ])("that is %s stops the start", async (_, text, code) => {
    await using dir = await tempDir();
    const location = join(dir.path, "keys.json");
    if (text !== undefined) await writeFile(location, text);
    const clock = createVirtualClock(0);
    await expect(openKeySet({ location, clock, logger: silentLogger })).rejects.toMatchObject({
      code,
    });
  });
});

describe("an address", () => {
  const authority = createTestCertificate({ name: "issuer", isAuthority: true });
  const { cert, key } = createTestCertificate({ name: "localhost", issuer: authority });
  const clock = createVirtualClock(NOW_S * 1_000);
  let server: Server;
  let location: string;
  let asked: number;
  let answer: { readonly status: number; readonly text: string };
  let logger: ReturnType<typeof createRecordingLogger>;

  beforeEach(async () => {
    asked = 0;
    answer = { status: 200, text: keySetText() };
    logger = createRecordingLogger();
    server = createServer({ cert, key }, (_, response) => {
      asked++;
      response.writeHead(answer.status, { location: `${location}/elsewhere` }).end(answer.text);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    location = `https://localhost:${String((server.address() as AddressInfo).port)}/keys`;
  });

  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  const open = () => openKeySet({ location, ca: authority.cert, clock, logger });

  test("is asked once, however many tokens there are, and once a minute for names that it does not have", async () => {
    const keys = await open();
    await Promise.all(Array.from({ length: 50 }, async () => keys.find("es")));
    await Promise.all(Array.from({ length: 50 }, async (_, i) => keys.find(`x${String(i)}`)));
    expect(asked).toBe(1);
    clock.advance(READ_EVERY_MS);
    const found = await Promise.all(
      Array.from({ length: 50 }, async (_, i) => keys.find(`x${String(i)}`)),
    );
    expect([asked, found.every((one) => one === undefined)]).toEqual([2, true]);
  });

  test("that fails leaves the keys as they are, but not for ever", async () => {
    const keys = await open();
    answer = { status: 500, text: keySetText() };
    clock.advance(FRESH_MS);
    expect(await keys.find("es")).toBeDefined();
    await waitFor(() => logger.entries.length === 1, { timeoutMs: 10_000, what: "the failure" });
    clock.advance(15 * 60_000 - FRESH_MS);
    await expect(keys.find("es")).rejects.toMatchObject({ code: "UNREACHABLE" });
    answer = { status: 200, text: keySetText() };
    clock.advance(READ_EVERY_MS);
    expect(await keys.find("es")).toBeDefined();
  });

  test("is asked again after ten minutes, so that a key that was taken out is used no more", async () => {
    const keys = await open();
    answer = { status: 200, text: setOf(jwkOf("ed")) };
    clock.advance(FRESH_MS);
    await keys.find("es");
    await waitFor(async () => (await keys.find("es")) === undefined, {
      timeoutMs: 10_000,
      what: "the key's end",
    });
    expect(asked).toBe(2);
  });

  test.each([
    ["a redirect", 302, ""],
    ["no success", 404, ""],
    ["something else", 200, "<html>"],
    ["too much", 200, "x".repeat(70_000)],
  ])("with %s gives no keys, and the start goes on", async (_, status, text) => {
    answer = { status, text };
    const keys = await open();
    expect(logger.entries).toMatchObject([{ event: "keys.unavailable" }]);
    await expect(keys.find("es")).rejects.toMatchObject({ code: "UNREACHABLE" });
    expect(asked).toBe(1);
  });

  test("whose certificate nobody vouches for gives no keys", async () => {
    const keys = await openKeySet({ location, clock, logger });
    await expect(keys.find("es")).rejects.toMatchObject({ code: "UNREACHABLE" });
    expect(asked).toBe(0);
  });

  test.each(["http://127.0.0.1/keys", "ftp://x/keys", "https://user:pw@host/keys", "https://"])(
    "%s is refused",
    async (wrong) => {
      await expect(openKeySet({ location: wrong, clock, logger })).rejects.toMatchObject({
        code: "CONFIG_INVALID",
      });
    },
  );
});
