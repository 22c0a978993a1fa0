// SPDX-License-Identifier: Apache-2.0
/**
 * Which document a guest is for, and its token: `/yjs/<space, 64 hex digits>/<document>`, with the slashes of the document's name as they are, which is
 * what y-websocket makes of a server's URL and a room.
 *
 * A token comes in one of three ways: `?token=<token>`, `Authorization: Bearer <token>` (RFC 6750), or as an offered subprotocol
 * `ctxmesh.token.<token>`, beside {@link SUBPROTOCOL}, since browsers can't set headers.
 */
import { MeshError, parseDocumentName, parseSpaceId } from "@ctxmesh/model";
import type { AccessQuery, Guest } from "@ctxmesh/model";

/** What paths of the endpoint begin with. */
export const YJS_PREFIX = "/yjs/";
/** The subprotocol; who offers none speaks it, too. */
export const SUBPROTOCOL = "ctxmesh.yjs";
const TOKEN_PROTOCOL = "ctxmesh.token.";

type Visit = Pick<Guest, "target" | "authorization" | "protocols">;

const SHAPE = `${YJS_PREFIX}<space>/<document>`;

/** Reads which document somebody wants. Throws `INPUT_INVALID`. */
export function queryOf({ target }: Visit): AccessQuery {
  const [path = ""] = target.split("?", 1);
  const [, space = "", name = ""] = /^\/yjs\/([^/]*)\/(.*)$/su.exec(path) ?? [];
  let document;
  try {
    document = decodeURIComponent(name);
  } catch {
    throw new MeshError("INPUT_INVALID", `the path is not of the form ${SHAPE}`, { field: "path" });
  }
  return { space: parseSpaceId(space), document: parseDocumentName(document) };
}

/** Finds the token; undefined for none. Throws `AUTH_FAILED` for several. */
export function tokenOf({ target, authorization, protocols }: Visit): string | undefined {
  const at = target.indexOf("?");
  const inQuery = at < 0 ? [] : new URLSearchParams(target.slice(at)).getAll("token");
  const bearer = /^bearer +(\S+) *$/iu.exec(authorization ?? "")?.[1];
  const offered = protocols.filter((name) => name.startsWith(TOKEN_PROTOCOL));
  const tokens = [
    ...inQuery,
    ...(bearer === undefined ? [] : [bearer]),
    ...offered.map((name) => name.slice(TOKEN_PROTOCOL.length)),
  ];
  if (tokens.length <= 1) return tokens[0];
  throw new MeshError("AUTH_FAILED", "there is more than one token");
}
