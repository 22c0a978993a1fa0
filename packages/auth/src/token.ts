// SPDX-License-Identifier: Apache-2.0
/** The outside of a token: a signed JWT in compact form (RFC 7515, 7.1), checked before any key is looked for. */
import { LIMITS } from "@ctxmesh/model";
import { ALGORITHMS, KEY_ID_LENGTH } from "./keys.ts";
import type { Algorithm } from "./keys.ts";
import { refusal } from "./refusal.ts";
import { parseObject } from "./strict-json.ts";
import type { JsonObject } from "./strict-json.ts";

/** What a token says it is: an access token (RFC 9068, 2.1), or any JWT, of issuers that don't say more. */
export type TokenType = "at+jwt" | "JWT";

/** A token whose signature is not verified yet. */
export interface UnverifiedToken {
  readonly algorithm: Algorithm;
  readonly keyId: string;
  readonly payload: Uint8Array;
}

/** Members of a header that bring a key, or change what the signature is of. */
const REFUSED = ["jwk", "jku", "x5c", "x5u", "crit", "b64", "enc", "zip", "epk"] as const;

const BASE64URL = /^[A-Za-z0-9_-]+$/u;

/** The bytes of a part; every one of them has one spelling. */
function decodePart(part: string): Buffer {
  const bytes = Buffer.from(part, "base64url");
  if (BASE64URL.test(part) && bytes.toString("base64url") === part) return bytes;
  throw refusal("a part of it is not base64url");
}

function typeOf(header: JsonObject): string {
  const { typ } = header;
  // A media type, whose first part may be left out, in any case (RFC 7515, 4.1.9).
  return typeof typ === "string" ? typ.toLowerCase().replace(/^application\//u, "") : "";
}

/** Takes a token apart. Throws `AUTH_FAILED`. */
export function readToken(token: string, type: TokenType): UnverifiedToken {
  if (token.length > LIMITS.tokenBytes) {
    throw refusal(`it has more than ${String(LIMITS.tokenBytes)} characters (tokenBytes)`);
  }
  const parts = token.split(".");
  if (parts.length !== 3) throw refusal("it does not have three parts");
  const [header = new Uint8Array(), payload = new Uint8Array()] = parts.map(decodePart);
  return { ...readHeader(header, type), payload };
}

function readHeader(bytes: Uint8Array, type: TokenType): Omit<UnverifiedToken, "payload"> {
  const header = objectOf(bytes, "its header");
  for (const member of REFUSED) {
    if (Object.hasOwn(header, member)) throw refusal(`its header has ${member}`);
  }
  const { alg, kid } = header;
  const algorithm = ALGORITHMS.find((name) => name === alg);
  if (algorithm === undefined) throw refusal("its algorithm is none of those that are taken");
  if (typeOf(header) !== type.toLowerCase()) throw refusal(`its type is not ${type}`);
  if (typeof kid !== "string" || kid === "" || kid.length > KEY_ID_LENGTH) {
    throw refusal("it names no key");
  }
  return { algorithm, keyId: kid };
}

/** A part of a token as JSON. Throws `AUTH_FAILED`. */
export function objectOf(bytes: Uint8Array, what: string): JsonObject {
  try {
    return parseObject(bytes, what);
  } catch (error) {
    throw refusal(error instanceof Error ? error.message : what, error);
  }
}
