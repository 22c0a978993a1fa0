// SPDX-License-Identifier: Apache-2.0
/** Files with a bearer token that this program asks of its own clients. */
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { MeshError } from "@ctxmesh/model";
import { readSmallFile } from "./files.ts";

const TOKEN_BYTES = 32;
/** What can stand behind `Bearer` in a header (RFC 6750, section 2.1), long enough not to be guessed. */
const TOKEN = /^[A-Za-z0-9._~+/-]{16,512}=*$/u;

/** The token of a file, which is made, readable by this user alone, when there is none. `field` names the option. Throws `FILE_UNAVAILABLE`, `INPUT_INVALID`. */
export async function readTokenFile(path: string, field: string): Promise<string> {
  const made = randomBytes(TOKEN_BYTES).toString("base64url");
  try {
    await writeFile(path, `${made}\n`, { flag: "wx", mode: 0o600, flush: true });
    return made;
  } catch {
    // It is there, or can't be written; reading tells which.
  }
  const token = (await readSmallFile(path, "token file", "FILE_UNAVAILABLE")).trim();
  if (TOKEN.test(token)) return token;
  throw new MeshError(
    "INPUT_INVALID",
    `${path} holds no token: 16 to 512 letters, digits and . _ ~ + / -`,
    { field, remedy: "remove the file, and another one is made" },
  );
}
