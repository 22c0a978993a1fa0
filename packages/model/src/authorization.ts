// SPDX-License-Identifier: Apache-2.0
/** Who may read and write what at a hub's endpoints for bearers of tokens, as `@ctxmesh/auth` decides and its callers ask. */
import type { DocumentName, SpaceId } from "./ids.ts";

/** What one may do with a document; `write` includes `read`. */
export type Access = "read" | "write";

/** Of which document that is asked. */
export interface AccessQuery {
  readonly space: SpaceId;
  readonly document: DocumentName;
}

/** What a token is good for, for one document. */
export interface Authorization {
  /** The token's own id (`jti`). */
  readonly token: string;
  /** Who it was issued to (`sub`). */
  readonly subject: string;
  /** Whose customer that is: quotas are shared out among tenants. */
  readonly tenant: string;
  readonly query: AccessQuery;
  readonly access: Access;
  /** When a session has to end at the latest, Unix milliseconds. */
  readonly endsAtMs: number;
}

/** Decides what tokens are good for. */
export interface Authorizer {
  /** Rejects with `AUTH_FAILED` for a token that is missing, wrong, over or revoked, `POLICY_REFUSED` for one that is good and does not allow it. */
  authorize(token: string | undefined, query: AccessQuery): Promise<Authorization>;
  /**
   * Calls `onEnd` once, with a reason, when a session may go on no longer: the token is over or revoked, or the space allows less
   * than it did. Close it with 4401 then. The returned function ends the watch.
   */
  hold(authorization: Authorization, onEnd: (reason: string) => void): () => void;
}
