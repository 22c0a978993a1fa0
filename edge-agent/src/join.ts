// SPDX-License-Identifier: Apache-2.0
/** Joining a space with an invite, over libp2p and WebSockets: see `joinThrough` of `@ctxmesh/service`. */
import type { Contact, Invitation, Space } from "@ctxmesh/membership";
import type { Transport } from "@ctxmesh/model";
import { joinThrough, openReplica } from "@ctxmesh/service";
import type { JoinIdentity, NodeDeps, JoinOptions as WhatJoins } from "@ctxmesh/service";
import { createLibp2pTransport } from "@ctxmesh/transport-libp2p";
import { createWsClient } from "@ctxmesh/transport-ws";

/** What a join takes. */
export interface JoinOptions extends WhatJoins {
  /** Folder of a store that lives no longer than the join; created, and the caller's to delete. */
  readonly storePath: string;
}

export type { JoinStep } from "@ctxmesh/service";

/** Whether an address is one of a hub. */
export const isHubAddress = (address: string): boolean => /^wss?:/u.test(address);

const isOneOf =
  (contacts: readonly Contact[]) =>
  (device: string): boolean =>
    contacts.some((contact) => contact.device === device);

/** The transports to the contacts of an invitation, under one key; each admits exactly the contacts' devices. */
function connectTo(
  { contacts, space }: Invitation,
  parts: JoinIdentity,
  deps: NodeDeps,
): readonly Transport[] {
  const hubs = contacts.filter(({ address }) => isHubAddress(address));
  const agents = contacts.filter(({ address }) => !isHubAddress(address));
  const transports: Transport[] = [];
  if (agents.length > 0) {
    transports.push(
      createLibp2pTransport({
        ...deps,
        seed: parts.seed,
        listen: [],
        peers: agents.map(({ address }) => address),
        space: space.id,
        isMember: isOneOf(agents),
      }),
    );
  }
  if (hubs.length > 0) {
    transports.push(
      createWsClient({
        ...deps,
        urls: hubs.map(({ address }) => address),
        device: parts.device,
        space: space.id,
        hubs: isOneOf(hubs),
        verifier: parts.verifier,
      }),
    );
  }
  return transports;
}

/**
 * Joins a space: returns it with all acts that a contact knows and the new device's grant, which the contact has
 * taken in. Throws `UNREACHABLE` when no contact has in time, `POLICY_REFUSED` when the invite was revoked or has
 * ended, `CONFIG_INVALID` for a contact's address, `ABORTED` when called off, and what opening the store throws.
 */
export async function joinSpace(options: JoinOptions, deps: NodeDeps): Promise<Space> {
  const { invitation, storePath } = options;
  const { space, seed: deviceSeed } = invitation;
  return joinThrough(
    options,
    {
      open: async (own, stack) => openReplica({ space, deviceSeed, storePath }, own, stack),
      connect: (identity, own) => connectTo(invitation, identity, own),
    },
    deps,
  );
}
