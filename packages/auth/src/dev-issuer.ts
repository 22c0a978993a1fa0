// SPDX-License-Identifier: Apache-2.0
/** An issuer for trying things out: its key lives as long as the process, so its tokens are worth nothing elsewhere or later. */
import { randomUUID } from "node:crypto";
import type { Clock } from "@ctxmesh/model";
import { SignJWT, generateKeyPair } from "jose";
import type { TokenRole } from "./claims.ts";
import { LIFETIME_S } from "./claims.ts";
import type { TokenKeys } from "./keys.ts";

/** Whom a token is for, and what it allows. */
export interface DevTokenOptions {
  readonly subject: string;
  readonly tenant: string;
  readonly roles: readonly TokenRole[];
}

/** An issuer whose tokens a verifier with its `issuer` and `keys` accepts. */
export interface DevIssuer {
  readonly issuer: string;
  readonly keys: TokenKeys;
  /** A token for {@link LIFETIME_S} seconds. */
  issue(options: DevTokenOptions): Promise<string>;
}

const KEY_ID = "dev";

/** Makes an issuer with a fresh key. `audience` is the hub's. */
export async function createDevIssuer(audience: string, clock: Clock): Promise<DevIssuer> {
  const { publicKey, privateKey } = await generateKeyPair("Ed25519");
  const issuer = `urn:ctxmesh:dev:${randomUUID()}`;
  const key = { algorithms: ["Ed25519"], key: publicKey } as const;
  return {
    issuer,
    keys: { find: (id) => Promise.resolve(id === KEY_ID ? key : undefined) },
    issue: async ({ subject, tenant, roles }) => {
      const issued = Math.floor(clock.now() / 1_000);
      return new SignJWT({ ctx: { tenant, roles } })
        .setProtectedHeader({ alg: "Ed25519", typ: "at+jwt", kid: KEY_ID })
        .setIssuer(issuer)
        .setAudience(audience)
        .setSubject(subject)
        .setJti(randomUUID())
        .setIssuedAt(issued)
        .setExpirationTime(issued + LIFETIME_S)
        .sign(privateKey);
    },
  };
}
