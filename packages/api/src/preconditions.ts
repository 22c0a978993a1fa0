// SPDX-License-Identifier: Apache-2.0
/**
 * Headers by which a request depends on something: `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header), `If-Match` and `If-None-Match` (RFC
 * 9110, section 13.1). The entity tag of a fact is its version. All parsers throw `INPUT_INVALID`.
 */
import type { IncomingHttpHeaders } from "node:http";
import { MeshError } from "@ctxmesh/model";
import type { WriteOptions } from "@ctxmesh/model";
import type { FastifyInstance } from "fastify";
import { refuse } from "./requests.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** The route takes idempotency keys. */
    idempotent?: true;
    /** The route writes only under a condition where one is given. */
    conditional?: true;
  }
}

/** The settings of a route that takes idempotency keys. */
export const IDEMPOTENT: { readonly config: { readonly idempotent: true } } = {
  config: { idempotent: true },
};

/** The settings of a route that takes those, and conditions. */
export const CONDITIONAL: {
  readonly config: { readonly idempotent: true; readonly conditional: true };
} = { config: { idempotent: true, conditional: true } };

/** Refuses idempotency keys, and conditions of a write, where none is taken: whoever sends one relies on it. */
export function installHeaderCheck(app: FastifyInstance): void {
  app.addHook("onRequest", (request, _reply, done) => {
    const { headers, method, is404 } = request;
    const { config } = request.routeOptions;
    const isTaken = {
      "Idempotency-Key": config.idempotent === true,
      "If-Match": config.conditional === true || method !== "POST",
      "If-None-Match": config.conditional === true || method !== "POST",
    };
    for (const [name, taken] of Object.entries(isTaken)) {
      if (taken || is404 || headers[name.toLowerCase()] === undefined) continue;
      done(new MeshError("INPUT_INVALID", `this operation takes no ${name}`, { field: name }));
      return;
    }
    done();
  });
}

/** The idempotency key of a write, as it is or as a quoted string (RFC 9651, section 3.3.3). */
export function idempotencyOf(headers: IncomingHttpHeaders): Pick<WriteOptions, "idempotencyKey"> {
  const text = headers["idempotency-key"];
  if (text === undefined) return {};
  if (typeof text !== "string") return refuse("Idempotency-Key", "there are several keys");
  const quoted = /^"((?:[ !#-[\]-~]|\\["\\])*)"$/u.exec(text)?.[1];
  if (quoted === undefined && text.startsWith('"')) {
    return refuse("Idempotency-Key", "the key is not a whole quoted string");
  }
  return { idempotencyKey: quoted?.replaceAll(/\\(.)/gu, "$1") ?? text };
}

/** The entity tag of a fact's version. */
export const etagOf = (version: string): string => `"${version}"`;

const TAG = /^"([!#-~]*)"$/u;

/** Whether `If-None-Match` names a version, so that there is no need to send the fact. A weak tag names it, too. */
export function isKnown({ "if-none-match": text }: IncomingHttpHeaders, version: string): boolean {
  if (text === undefined) return false;
  const tags = text.split(",").map((tag) => tag.trim().replace(/^W\//u, ""));
  return tags.includes("*") || tags.includes(etagOf(version));
}

/** The version that a write is to replace; null: none, undefined: whatever is there. */
export function expectedOf(headers: IncomingHttpHeaders): string | null | undefined {
  const { "if-match": match, "if-none-match": noneMatch } = headers;
  if (noneMatch !== undefined) {
    if (match !== undefined) refuse("If-None-Match", "give If-Match or If-None-Match, not both");
    return noneMatch.trim() === "*"
      ? null
      : refuse("If-None-Match", "of a write, If-None-Match can only be *: nothing is visible yet");
  }
  if (match === undefined) return undefined;
  return (
    TAG.exec(match.trim())?.[1] ??
    refuse("If-Match", "If-Match must be one entity tag, as a read answered it in ETag")
  );
}
