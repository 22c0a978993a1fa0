// SPDX-License-Identifier: Apache-2.0
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { tempDir } from "@ctxmesh/testing";
import { keyProviderAt, parseKeyLocation } from "@ctxmesh/vault";
import { expect, test } from "vitest";
import { keyBytes } from "./fixture.ts";

const MODULE = "module-path=/usr/lib/softhsm/libsofthsm2.so";
const PIN = "pin-source=/etc/ctxmesh/pin";
const token = {
  kind: "pkcs11",
  module: "/usr/lib/softhsm/libsofthsm2.so",
  token: "mesh",
  key: "store",
  pinFile: "/etc/ctxmesh/pin",
};

test.for([
  ["file:/etc/ctxmesh/store.key", { kind: "file", path: "/etc/ctxmesh/store.key" }],
  ["file:/a b:c?d", { kind: "file", path: "/a b:c?d" }],
  ["credential:store-key", { kind: "credential", name: "store-key" }],
  ["environment:STORE_KEY", { kind: "environment", name: "STORE_KEY" }],
  [`pkcs11:token=mesh;object=store?${MODULE}&${PIN}`, token],
  [`pkcs11:object=store;token=mesh?pin-source=file:/etc/ctxmesh/pin&${MODULE}`, token],
  [`pkcs11:token=a%20%3Bb;object=store?${MODULE}&${PIN}`, { ...token, token: "a ;b" }],
] as const)("%s says where a key is", ([text, location]) => {
  expect(parseKeyLocation(text)).toEqual(location);
});

test.for([
  "",
  "store.key",
  "file:",
  "file:store.key",
  "vault:/x",
  "pkcs11:token=mesh",
  `pkcs11:token=mesh;object=store?${MODULE}`,
  `pkcs11:token=mesh;object=store?${PIN}&module-path=lib.so`,
  `pkcs11:token=mesh;token=mesh;object=store?${MODULE}&${PIN}`,
  `pkcs11:token=mesh;object=store;serial=1?${MODULE}&${PIN}`,
  `pkcs11:token=mesh;object=store?${MODULE}&${PIN}&pin-value=1234`,
  `pkcs11:token=%ff;object=store?${MODULE}&${PIN}`,
])("%j does not, and the answer says what would", (text) => {
  expect(() => parseKeyLocation(text)).toThrow(
    expect.objectContaining({
      code: "INPUT_INVALID",
      field: "to",
      remedy: expect.stringContaining("file:PATH") as unknown,
    }),
  );
});

test("a key file that is missing is made when it is first used, and for its user alone", async () => {
  await using dir = await tempDir();
  const path = join(dir.path, "new.key");
  const provider = await keyProviderAt(parseKeyLocation(`file:${path}`));
  const wrapped = await provider.wrap(keyBytes(3));
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await readFile(path, "utf8")).toMatch(/^[\w-]{43}\n$/u);
  expect(Buffer.from(await provider.unwrap(wrapped))).toEqual(Buffer.from(keyBytes(3)));
});

test("the PIN of a token comes from its file alone, and one that can't be read is named", async () => {
  const text = `pkcs11:token=mesh;object=store?${MODULE}&pin-source=/none/pin`;
  await expect(keyProviderAt(parseKeyLocation(text))).rejects.toMatchObject({
    code: "KEY_INVALID",
    message: "can't read the PIN in /none/pin",
  });
});
