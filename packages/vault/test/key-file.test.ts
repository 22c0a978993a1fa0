// SPDX-License-Identifier: Apache-2.0
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Encrypter, armor, generateHybridIdentity, identityToRecipient } from "age-encryption";
import { MeshError } from "@ctxmesh/model";
import { tempDir } from "@ctxmesh/testing";
import { expect, test, vi } from "vitest";
import { decryptKeyFile, encryptKeyFile, isEncryptedKeyFile, readPassphrase } from "@ctxmesh/vault";

const SECRET = '{"kty":"OKP","crv":"Ed25519","x":"AAAA","d":"s3cret"}\n';
const PASSPHRASE = "correct horse battery";
const encrypted = await encryptKeyFile(SECRET, PASSPHRASE);

async function refusal(action: Promise<unknown>): Promise<string> {
  const error: unknown = await action.then(
    () => "no error",
    (thrown: unknown) => thrown,
  );
  return error instanceof MeshError ? `${error.code}: ${error.message}` : String(error);
}

test("a key file comes back with its passphrase, and tells nothing without", async () => {
  expect(isEncryptedKeyFile(encrypted)).toBe(true);
  expect(isEncryptedKeyFile(SECRET)).toBe(false);
  expect(Buffer.from(encrypted, "base64").toString("latin1")).not.toContain("s3cret");
  expect(await decryptKeyFile(encrypted, PASSPHRASE)).toBe(SECRET);
  expect(await refusal(decryptKeyFile(encrypted, "another horse"))).toMatch(
    /^KEY_INVALID: can't be decrypted/u,
  );
  expect(await encryptKeyFile(SECRET, PASSPHRASE)).not.toBe(encrypted);
});

test("a damaged file is refused wherever the damage is, and so is what is no such file", async () => {
  const file = armor.decode(encrypted);
  for (const at of [3, 25, 60, 100, file.length - 1]) {
    const changed = file.slice();
    changed[at] = (changed[at] ?? 0) ^ 1;
    expect(await refusal(decryptKeyFile(armor.encode(changed), PASSPHRASE))).toMatch(
      /^KEY_INVALID/u,
    );
  }
  for (const text of [
    "",
    SECRET,
    encrypted.slice(0, 200),
    `${encrypted}x`,
    encrypted.padEnd(70_000),
  ]) {
    expect(await refusal(decryptKeyFile(text, PASSPHRASE))).toMatch(/^KEY_INVALID/u);
  }
});

test("a file for recipients is refused, and one that asks for too much memory is not even tried", async () => {
  const forKey = new Encrypter();
  forKey.addRecipient(await identityToRecipient(await generateHybridIdentity()));
  const text = armor.encode(await forKey.encrypt(SECRET));
  expect(await refusal(decryptKeyFile(text, PASSPHRASE))).toMatch(
    /not encrypted by age with a passphrase/u,
  );
  const dear = Buffer.from(armor.decode(encrypted)).toString("latin1").replace(/ 17\n/u, " 20\n");
  expect(
    await refusal(decryptKeyFile(armor.encode(Buffer.from(dear, "latin1")), PASSPHRASE)),
  ).toMatch(/work factor of 20; at most 18/u);
});

test("a short passphrase is refused", async () => {
  expect(await refusal(encryptKeyFile(SECRET, "1234567"))).toMatch(/^KEY_INVALID: .*eight/u);
});

test("a passphrase is the first line of a file that others can't read", async () => {
  const dir = await tempDir();
  const path = join(dir.path, "passphrase");
  await writeFile(path, `${PASSPHRASE}\nmore\n`, { mode: 0o600 });
  expect(await readPassphrase(path)).toBe(PASSPHRASE);
  await chmod(path, 0o640);
  expect(await refusal(readPassphrase(path))).toMatch(/open to other users: mode 0640/u);
  vi.stubEnv("CREDENTIALS_DIRECTORY", dir.path);
  expect(await readPassphrase(path)).toBe(PASSPHRASE);
  vi.unstubAllEnvs();
  for (const [name, content] of [
    ["empty", "\n"],
    ["long", "a".repeat(2_000)],
  ] as const) {
    await writeFile(join(dir.path, name), content, { mode: 0o600 });
    expect(await refusal(readPassphrase(join(dir.path, name)))).toMatch(
      /does not hold a passphrase/u,
    );
  }
  expect(await refusal(readPassphrase(join(dir.path, "none")))).toMatch(
    /^KEY_INVALID: can't read/u,
  );
  await dir.remove();
});
