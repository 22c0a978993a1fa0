// SPDX-License-Identifier: Apache-2.0
/** Access tokens: who bears one, and what it allows. The only importer of jose. */
export { createTokenAuthorizer } from "./authorizer.ts";
export type { TokenAuthorizer, TokenAuthorizerOptions } from "./authorizer.ts";
export type { TokenClaims, TokenRole } from "./claims.ts";
export { createDevIssuer } from "./dev-issuer.ts";
export type { DevIssuer, DevTokenOptions } from "./dev-issuer.ts";
export { openKeySet } from "./key-set.ts";
export type { KeySetOptions } from "./key-set.ts";
export type { TokenKey, TokenKeys } from "./keys.ts";
export { Revocations, watchRevocations } from "./revocations.ts";
export { Tenants } from "./tenants.ts";
export type { TokenType } from "./token.ts";
export { TokenVerifier } from "./verifier.ts";
export type { TokenVerifierOptions } from "./verifier.ts";
