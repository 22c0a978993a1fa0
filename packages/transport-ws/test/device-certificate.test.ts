// SPDX-License-Identifier: Apache-2.0
/** Goal: certificates and requests are what others read as such, and of the device's key. Method: OpenSSL, in Node and, where it is installed, by itself. */
import { execFileSync, spawnSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { tempDir } from "@ctxmesh/testing";
import {
  createCertificateRequest,
  createDeviceCertificate,
  deviceIdentity,
} from "@ctxmesh/transport-ws";
import { expect, test } from "vitest";
import { newDevice } from "./parties.ts";

const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;

test("a certificate is signed by the device's own key, names it, and has no end", () => {
  const { seed, key } = newDevice();
  const cert = createDeviceCertificate(seed);
  const parsed = new X509Certificate(cert);
  expect(parsed.subject).toBe(`CN=${key}`);
  expect(parsed.verify(parsed.publicKey)).toBe(true);
  expect(parsed.ca).toBe(false);
  expect(parsed.keyUsage).toEqual(["1.3.6.1.5.5.7.3.2"]);
  expect(parsed.validToDate.getUTCFullYear()).toBe(9_999);
  expect(deviceIdentity(cert, seed).cert).toBe(cert);
  expect(() => deviceIdentity(cert, newDevice().seed)).toThrow(
    expect.objectContaining({ code: "KEY_INVALID" }),
  );
});

test("two of them differ in their serial numbers", () => {
  const { seed } = newDevice();
  const [one, two] = [seed, seed].map((of) => new X509Certificate(createDeviceCertificate(of)));
  expect(one?.serialNumber).not.toBe(two?.serialNumber);
});

test.skipIf(!hasOpenssl)("an authority makes a certificate of a request", async () => {
  await using dir = await tempDir();
  const { seed, key } = newDevice();
  const at = (name: string): string => join(dir.path, name);
  const openssl = (...args: readonly string[]): string =>
    execFileSync("openssl", args, { cwd: dir.path, encoding: "utf8", stdio: "pipe" });
  await writeFile(at("device.csr"), createCertificateRequest(seed));
  openssl("req", "-in", "device.csr", "-verify", "-noout");
  openssl(
    ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=authority".split(
      " ",
    ),
    ..."-keyout authority.key -out authority.pem -days 1".split(" "),
  );
  const cert = openssl(
    ..."x509 -req -in device.csr -CA authority.pem -CAkey authority.key -days 1".split(" "),
  );
  expect(new X509Certificate(cert).subject).toBe(`CN=${key}`);
  expect(deviceIdentity(cert, seed).cert).toBe(cert);
});
