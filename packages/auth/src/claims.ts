// SPDX-License-Identifier: Apache-2.0
/**
 * What a token says (RFC 7519, 4; RFC 9068, 2.2), and what of it is accepted. Besides the registered claims there is one of ours:
 *
 * ```
 * "ctx": { "tenant": "acme",
 *          "roles": [ { "space": <64 hex digits>, "prefix": "line-2/", "access": "read" | "write" } ] }
 * ```
 *
 * A prefix that ends in `/` is of all documents below, one that does not is of that document alone, and the empty one of all. Unknown
 * members of `ctx` are refused, since they may be there to allow less.
 */
import { LIMITS, parseDocumentName, parseSpaceId } from "@ctxmesh/model";
import type { Access, AccessQuery, SpaceId } from "@ctxmesh/model";
import { refusal } from "./refusal.ts";
import { isObject } from "./strict-json.ts";
import type { JsonObject } from "./strict-json.ts";

/** One thing that a token allows. */
export interface TokenRole {
  readonly space: SpaceId;
  /** Of documents, as described above. */
  readonly prefix: string;
  readonly access: Access;
}

/** The verified content of a token. */
export interface TokenClaims {
  /** `jti`. */
  readonly id: string;
  /** `sub`. */
  readonly subject: string;
  readonly tenant: string;
  readonly roles: readonly TokenRole[];
  /** When it is over, with what is allowed for clocks that differ; Unix milliseconds. */
  readonly endsAtMs: number;
}

/** What a token must be for. */
export interface ClaimRules {
  /** `iss`, to the letter. */
  readonly issuer: string;
  /** One of `aud`. */
  readonly audience: string;
}

/** The longest that a token may last, in seconds. */
export const LIFETIME_S = 900;
/** How far clocks may differ, in seconds. */
export const SKEW_S = 60;

const TEXT_LENGTH = 255;
const AUDIENCES = 16;
const TENANT = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/u;
// oxlint-disable-next-line no-control-regex -- which are refused
const CONTROLS = /[\u0000-\u001f\u007f]/u;

/** Checks the claims of a token whose signature is verified. Throws `AUTH_FAILED`. */
export function readClaims(claims: JsonObject, rules: ClaimRules, nowMs: number): TokenClaims {
  if (claims["iss"] !== rules.issuer) throw refusal("it is of another issuer");
  if (!audiencesOf(claims).includes(rules.audience)) throw refusal("it is for somebody else");
  const endsAtMs = checkTimes(claims, nowMs / 1_000);
  // Only whoever has a certain key may use it, and who has is not asked here (RFC 7800).
  if (Object.hasOwn(claims, "cnf")) throw refusal("it is bound to a key");
  const { tenant, roles } = readContext(claims["ctx"]);
  return { id: textOf(claims, "jti"), subject: textOf(claims, "sub"), tenant, roles, endsAtMs };
}

function audiencesOf({ aud }: JsonObject): readonly unknown[] {
  if (typeof aud === "string") return [aud];
  const isList = Array.isArray(aud) && aud.length <= AUDIENCES;
  if (isList && aud.every((audience) => typeof audience === "string")) return aud;
  throw refusal("its aud is no text and no list of texts");
}

/** Checks when it is valid; returns when it ends. */
function checkTimes(claims: JsonObject, now: number): number {
  const [issued, ends] = [secondsOf(claims, "iat"), secondsOf(claims, "exp")];
  if (ends <= issued) throw refusal("it ends before it begins");
  if (ends - issued > LIFETIME_S) {
    throw refusal(`it lasts longer than ${String(LIFETIME_S)} seconds`);
  }
  if (issued > now + SKEW_S) throw refusal("it was issued in the future");
  if (Object.hasOwn(claims, "nbf") && secondsOf(claims, "nbf") > now + SKEW_S) {
    throw refusal("it is not valid yet");
  }
  if (ends + SKEW_S <= now) throw refusal("it has expired");
  return (ends + SKEW_S) * 1_000;
}

function secondsOf(claims: JsonObject, name: string): number {
  const value = claims[name];
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw refusal(`its ${name} is no time`);
}

function textOf(claims: JsonObject, name: string): string {
  const value = claims[name];
  const isText = typeof value === "string" && value !== "" && value.length <= TEXT_LENGTH;
  if (isText && value.isWellFormed() && !CONTROLS.test(value)) return value;
  throw refusal(`its ${name} is no text of 1 to ${String(TEXT_LENGTH)} characters`);
}

/** An object with exactly these members. */
function closedObject(value: unknown, what: string, members: readonly string[]): JsonObject {
  const isRight =
    isObject(value) &&
    Object.keys(value).length === members.length &&
    members.every((member) => Object.hasOwn(value, member));
  if (isRight) return value;
  throw refusal(`its ${what} does not consist of ${members.join(", ")}`);
}

function readContext(value: unknown): Pick<TokenClaims, "tenant" | "roles"> {
  const { tenant, roles } = closedObject(value, "ctx", ["tenant", "roles"]);
  if (typeof tenant !== "string" || !TENANT.test(tenant))
    throw refusal("its ctx.tenant is no name");
  if (!Array.isArray(roles) || roles.length > LIMITS.tokenRoles) {
    throw refusal(`its ctx.roles is no list of up to ${String(LIMITS.tokenRoles)} (tokenRoles)`);
  }
  return { tenant, roles: roles.map(readRole) };
}

function readRole(value: unknown): TokenRole {
  const { space, prefix, access } = closedObject(value, "role", ["space", "prefix", "access"]);
  if (access !== "read" && access !== "write") throw refusal("a role's access is unknown");
  if (typeof space !== "string" || typeof prefix !== "string") throw refusal("a role has no place");
  try {
    if (prefix !== "") parseDocumentName(prefix.endsWith("/") ? prefix.slice(0, -1) : prefix);
    return { space: parseSpaceId(space), prefix, access };
  } catch (error) {
    throw refusal("a role's space or prefix is malformed", error);
  }
}

const covers = (prefix: string, document: string): boolean =>
  prefix === "" || (prefix.endsWith("/") ? document.startsWith(prefix) : document === prefix);

/** The most that roles allow with a document; undefined for nothing. */
export function accessOf(roles: readonly TokenRole[], query: AccessQuery): Access | undefined {
  const fitting = roles.filter(
    ({ space, prefix }) => space === query.space && covers(prefix, query.document),
  );
  if (fitting.some(({ access }) => access === "write")) return "write";
  return fitting.length > 0 ? "read" : undefined;
}
