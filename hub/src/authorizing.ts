// SPDX-License-Identifier: Apache-2.0
/** Bearers of tokens at a hub: the hub acts for them, so they get no more than it has itself. */
import { createTokenAuthorizer, openKeySet, watchRevocations } from "@ctxmesh/auth";
import type { KeySetOptions, TokenAuthorizer, TokenKeys, TokenType } from "@ctxmesh/auth";
import { toHex } from "@ctxmesh/model";
import type { DeviceSigner } from "@ctxmesh/model";
import type { LiveMembership, NodeDeps } from "@ctxmesh/service";

/** Whose tokens a hub accepts. */
export interface HubAuth {
  /** The `iss` of tokens. */
  readonly issuer: string;
  /** The `aud` that tokens have for this hub. */
  readonly audience: string;
  /** Where the issuer's keys are, or the keys. */
  readonly keys: Pick<KeySetOptions, "location" | "ca"> | TokenKeys;
  /** `at+jwt` by default. */
  readonly type?: TokenType;
  /** Path of a list of revoked tokens; read as it changes. */
  readonly revocations?: string;
}

/**
 * Begins to decide, if tokens are accepted at all, until the stack is disposed. Throws `CONFIG_INVALID`, `FILE_UNAVAILABLE` and
 * `FORMAT_INVALID` for keys or a list that can't be read.
 */
export async function openAuthorizer(
  auth: HubAuth | undefined,
  device: DeviceSigner,
  membership: LiveMembership,
  deps: NodeDeps,
  stack: AsyncDisposableStack,
): Promise<TokenAuthorizer | undefined> {
  if (auth === undefined) return undefined;
  const { revocations: list, keys, ...rules } = auth;
  const watched = list === undefined ? undefined : await watchRevocations(list, deps.logger);
  stack.defer(() => watched?.stop());
  const own = toHex(device.publicKey);
  const authorizer = createTokenAuthorizer({
    ...rules,
    ...deps,
    keys: "location" in keys ? await openKeySet({ ...keys, ...deps }) : keys,
    ...(watched === undefined ? {} : { revocations: watched.revocations }),
    grants: () => membership.access(own),
  });
  stack.defer(() => authorizer.stop());
  return authorizer;
}
