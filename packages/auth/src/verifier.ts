// SPDX-License-Identifier: Apache-2.0
import type { Clock } from "@ctxmesh/model";
import { compactVerify } from "jose";
import { readClaims } from "./claims.ts";
import type { ClaimRules, TokenClaims } from "./claims.ts";
import type { TokenKeys } from "./keys.ts";
import { refusal } from "./refusal.ts";
import { objectOf, readToken } from "./token.ts";
import type { TokenType } from "./token.ts";

/** Which tokens are accepted. */
export interface TokenVerifierOptions extends ClaimRules {
  readonly keys: TokenKeys;
  /** `at+jwt` by default. */
  readonly type?: TokenType;
  readonly clock: Clock;
}

/**
 * Verifies access tokens (RFC 8725, RFC 9068): size and shape, then the header, then the key of that name, which is for one algorithm,
 * then the signature, and only then what is in it.
 */
export class TokenVerifier {
  readonly #options: TokenVerifierOptions;

  constructor(options: TokenVerifierOptions) {
    this.#options = options;
  }

  /** What a token says. Rejects with `AUTH_FAILED`, or `UNREACHABLE` while the issuer's keys are not to be had. */
  async verify(token: string): Promise<TokenClaims> {
    const { keys, clock, type = "at+jwt" } = this.#options;
    const { algorithm, keyId, payload } = readToken(token, type);
    const key = await keys.find(keyId);
    if (key === undefined) throw refusal("the issuer has no such key");
    if (!key.algorithms.includes(algorithm)) throw refusal("its key is for another algorithm");
    try {
      await compactVerify(token, key.key, { algorithms: [algorithm] });
    } catch (error) {
      throw refusal("its signature does not verify", error);
    }
    return readClaims(objectOf(payload, "its payload"), this.#options, clock.now());
  }
}
