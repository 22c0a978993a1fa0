// SPDX-License-Identifier: Apache-2.0
/** Both have to allow it: the token, and the space by what it grants to the hub that acts for its bearer. */
import { MeshError } from "@ctxmesh/model";
import type { Access, AccessQuery, Authorization, Authorizer } from "@ctxmesh/model";
import { accessOf } from "./claims.ts";
import { refusal } from "./refusal.ts";
import { Revocations } from "./revocations.ts";
import { TokenVerifier } from "./verifier.ts";
import type { TokenVerifierOptions } from "./verifier.ts";

/** What decisions are made by. */
export interface TokenAuthorizerOptions extends TokenVerifierOptions {
  /** What the space allows here with a document at this moment, whoever asks; undefined for nothing. */
  readonly grants: (query: AccessQuery) => Access | undefined;
  readonly revocations?: Revocations;
}

/** Decides until it is stopped. */
export interface TokenAuthorizer extends Authorizer {
  /** Watches sessions no more; none is ended by it. */
  stop(): void;
}

/** How often sessions are looked at: when they end they do within so many milliseconds. */
const LOOK_MS = 1_000;

/** Creates it. */
export const createTokenAuthorizer = (options: TokenAuthorizerOptions): TokenAuthorizer =>
  new Decisions(options);

interface Session {
  readonly authorization: Authorization;
  readonly onEnd: (reason: string) => void;
}

class Decisions implements TokenAuthorizer {
  readonly #options: TokenAuthorizerOptions;
  readonly #verifier: TokenVerifier;
  readonly #revocations: Revocations;
  readonly #sessions = new Set<Session>();
  /** Looks by the clock, not by one timer for each end: the clock may jump, and the machine may sleep. */
  readonly #timer: NodeJS.Timeout;

  constructor(options: TokenAuthorizerOptions) {
    this.#options = options;
    this.#verifier = new TokenVerifier(options);
    this.#revocations = options.revocations ?? new Revocations();
    this.#revocations.onChange(() => this.#look());
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
    this.#timer.unref();
  }

  async authorize(token: string | undefined, query: AccessQuery): Promise<Authorization> {
    if (token === undefined || token === "") throw refusal("there is none");
    const { id, subject, tenant, roles, endsAtMs } = await this.#verifier.verify(token);
    if (this.#revocations.includes({ token: id, subject })) throw refusal("it is revoked");
    const allowed = accessOf(roles, query);
    if (allowed === undefined) throw forbidden(query, "the token does not allow it");
    const granted = this.#options.grants(query);
    if (granted === undefined) throw forbidden(query, "the space does not allow it here");
    const access = allowed === "write" && granted === "write" ? "write" : "read";
    return { token: id, subject, tenant, query, access, endsAtMs };
  }

  hold(authorization: Authorization, onEnd: (reason: string) => void): () => void {
    const session = { authorization, onEnd };
    this.#sessions.add(session);
    // What was true when it was asked may not be any more.
    queueMicrotask(() => this.#lookAt(session));
    return () => void this.#sessions.delete(session);
  }

  #look(): void {
    for (const session of this.#sessions) this.#lookAt(session);
  }

  #lookAt(session: Session): void {
    const reason = this.#endOf(session.authorization);
    if (reason !== undefined && this.#sessions.delete(session)) session.onEnd(reason);
  }

  /** Why a session may not go on; undefined when it may. */
  #endOf(authorization: Authorization): string | undefined {
    const { endsAtMs, query, access } = authorization;
    const { clock, grants } = this.#options;
    if (clock.now() >= endsAtMs) return "the token has expired";
    if (this.#revocations.includes(authorization)) return "the token is revoked";
    const granted = grants(query);
    if (granted === undefined || (access === "write" && granted === "read")) {
      return "the space does not allow it any more";
    }
    return undefined;
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#sessions.clear();
  }
}

const forbidden = ({ document }: AccessQuery, why: string): MeshError =>
  new MeshError("POLICY_REFUSED", `no access to ${document}: ${why}`, {
    field: "document",
    remedy: "ask whoever issues the tokens, or manages the space, for that role",
  });
