// SPDX-License-Identifier: Apache-2.0
/** Hashes: the first vector of FIPS 180-4's examples, and the two forms against each other. Signatures: a Node that lacks ML-DSA. */
import { spawnSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { sha256, sha256Hex } from "@ctxmesh/crypto";
import { toHex } from "@ctxmesh/model";
import fc from "fast-check";
import { expect, test } from "vitest";
import { native } from "./engines.ts";

test("SHA-256 of abc is that of the standard", () => {
  expect(sha256Hex("abc")).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
});

test("a text's hash is that of its UTF-8, in one part or many", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" }), (a, b) => {
      const [head, tail] = [a, b].map((text) => new TextEncoder().encode(text));
      expect(toHex(sha256(head ?? new Uint8Array(), tail ?? new Uint8Array()))).toBe(
        sha256Hex(a + b),
      );
    }),
  );
});

test("in a Node without ML-DSA noble signs and verifies the same, and one warning says so", () => {
  const pair = native("ml-dsa-44").keyPair("ml-dsa-44", new Uint8Array(32));
  const signature = toHex(pair.sign(new Uint8Array(3)));
  const folder = fileURLToPath(new URL("../src/", import.meta.url));
  // What an OpenSSL before 3.5 does with these keys.
  const preload = `
    const crypto = require("node:crypto");
    for (const name of ["createPrivateKey", "createPublicKey"]) {
      const real = crypto[name];
      crypto[name] = (key) => {
        if (String(key.asymmetricKeyType).startsWith("ml-dsa")) throw new Error("unsupported");
        return real(key);
      };
    }
    require("node:module").syncBuiltinESMExports();`;
  const script = `
    const { SUITES } = await import(${JSON.stringify(`${folder}index.ts`)});
    const suite = SUITES["ML-DSA-44"];
    const seed = new Uint8Array(32), message = new Uint8Array(3);
    const publicKey = suite.publicFromSeed(seed);
    const verify = suite.verifier(publicKey);
    const native = Uint8Array.from(Buffer.from(${JSON.stringify(signature)}, "hex"));
    const own = SUITES["ML-DSA-44-Ed25519"];
    const both = own.signer(new Uint8Array(64))(message);
    console.log(JSON.stringify({
      key: Buffer.from(publicKey).toString("hex"),
      ours: verify(message, suite.signer(seed)(message)),
      theirs: verify(message, native),
      changed: verify(message, native.with(9, native[9] ^ 1)),
      composite: own.verifier(own.publicFromSeed(new Uint8Array(64)), { crossCheck: true })(message, both),
    }));`;
  const preloaded = `data:text/javascript,${encodeURIComponent(`import { createRequire } from "node:module"; const require = createRequire("/"); ${preload}`)}`;
  const args = ["--conditions=@ctxmesh/source", "--import", preloaded, "--input-type=module"];
  const { stdout, stderr } = spawnSync(process.execPath, [...args, "--eval", script], {
    encoding: "utf8",
    cwd: folder,
  });
  expect(stderr.match(/CTXMESH_NO_NATIVE_ML_DSA/gu)).toHaveLength(1);
  expect(JSON.parse(stdout)).toEqual({
    key: toHex(pair.publicKey),
    ours: true,
    theirs: true,
    changed: false,
    composite: true,
  });
});

test("nothing but this module knows Node: a bundle for browsers has one module to replace", () => {
  const folder = fileURLToPath(new URL("../src/", import.meta.url));
  const bound = readdirSync(folder).filter((name) =>
    /from "node:|\bBuffer\.|\bprocess\./u.test(readFileSync(`${folder}${name}`, "utf8")),
  );
  expect(bound).toEqual(["native.ts"]);
});
