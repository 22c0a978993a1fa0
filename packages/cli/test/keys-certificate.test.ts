// SPDX-License-Identifier: Apache-2.0
/** Goal: the command makes what a hub that asks for certificates takes. What is in them is tested in transport-ws. */
import { X509Certificate } from "node:crypto";
import { join } from "node:path";
import { EXIT } from "@ctxmesh/model";
import { tempDir } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import { run } from "./run.ts";

test("a certificate of a device key, a request for one, and what is wrong with other keys", async () => {
  await using dir = await tempDir();
  const mesh = join(dir.path, "mesh");
  await run(["init", mesh, "--agents", "1"]);
  const key = join(mesh, "agent-1/device.jwk");
  const made = await run(["keys", "certificate", key, "--json"]);
  const { device, pem } = JSON.parse(made.stdout) as { device: string; pem: string };
  expect(new X509Certificate(pem).subject).toBe(`CN=${device}`);
  const plain = await run(["keys", "certificate", key]);
  expect(new X509Certificate(plain.stdout).subject).toBe(`CN=${device}`);
  const request = await run(["keys", "certificate", key, "--request"]);
  expect(request.stdout).toMatch(/^-----BEGIN CERTIFICATE REQUEST-----\n/u);
  const wrong = await run(["keys", "certificate", join(mesh, "hub/snapshot.jwk")]);
  expect([wrong.code, wrong.stderr]).toEqual([EXIT.input, expect.stringContaining("ML-DSA-65")]);
});
