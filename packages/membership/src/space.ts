// SPDX-License-Identifier: Apache-2.0
/** The nouns of membership: a space as its known acts make it. All of them are immutable plain values. */
import type { Act, Genesis, RevokedHead, Role, Service, SignedRecord } from "@ctxmesh/codec";
import type { Policy } from "@ctxmesh/facts";
import type { ActId, DeviceKey, IncarnationId, SpaceId } from "@ctxmesh/model";

/** Grants live this long unless said otherwise, and never longer when an invite issues them; in milliseconds. */
export const DEFAULT_GRANT_MS: number = 30 * 86_400_000;

/** The right of a device for a time. */
export interface Grant {
  /** The act that says so. */
  readonly id: ActId;
  readonly device: DeviceKey;
  /** Number of the grant in the space as its issuer counted; for people. */
  readonly index: number;
  readonly service: Service;
  readonly role: Role;
  /** Unix milliseconds, inclusive. */
  readonly notBefore: number;
  /** Unix milliseconds, inclusive. */
  readonly notAfter: number;
  /** The creator, manager or invite that granted it. */
  readonly issuer: DeviceKey;
}

/** A key that may issue grants: whoever has it may join. */
export interface Invite {
  /** The act that says so. */
  readonly id: ActId;
  readonly key: DeviceKey;
  readonly service: Service;
  /** The highest role that it may grant. */
  readonly role: Role;
  /** Unix milliseconds, inclusive. */
  readonly notAfter: number;
  readonly issuer: DeviceKey;
}

/** A device or an invite that was shut out for good, by one act or by several. */
export interface Revocation {
  /** The key of the device or of the invite. */
  readonly device: DeviceKey;
  /** Of the earliest act, Unix milliseconds, by its author's clock. */
  readonly time: number;
  /** Of the earliest act. */
  readonly reason: string;
  /** Sorted. */
  readonly by: readonly DeviceKey[];
  /** The last batch that stands of each chain; of a chain that is not named nothing stands. */
  readonly cut: ReadonlyMap<IncarnationId, Pick<RevokedHead, "seq" | "hash">>;
  /** What the device had been granted: what stands of its chains was written under these. */
  readonly grants: readonly Grant[];
}

/** An act in the space's set, and what it is worth. */
export interface KnownAct {
  readonly id: ActId;
  readonly act: Act;
  readonly record: SignedRecord;
  /** Whether it has effect. Changes as other acts become known. */
  readonly valid: boolean;
  /** Why it has none. */
  readonly problem?: string;
}

/** A version of a schema, as an act publishes it. What it says is for `@ctxmesh/schema`. */
export interface PublishedSchema {
  /** The act that says so. */
  readonly id: ActId;
  /** Canonical JSON. */
  readonly entry: string;
  readonly by: DeviceKey;
  /** Unix milliseconds, by the publisher's clock. */
  readonly time: number;
}

/** A space: the founding record, the acts that are known, and what follows from them. */
export interface Space {
  readonly id: SpaceId;
  readonly genesis: Genesis;
  /** Which resolver picks the visible value of which keys: the valid policy of the highest epoch, then of the lowest act id. */
  readonly policy: Policy;
  /** The highest epoch of any known policy act, valid or not. */
  readonly knownEpoch: number;
  /** Of the valid acts, in the order of `acts`. */
  readonly schemas: readonly PublishedSchema[];
  /** The valid grants of devices that are not revoked. */
  readonly grants: ReadonlyMap<DeviceKey, readonly Grant[]>;
  readonly revocations: ReadonlyMap<DeviceKey, Revocation>;
  /** Valid and not revoked; they may have expired. */
  readonly invites: ReadonlyMap<DeviceKey, Invite>;
  /** All that are known, parents before children; by depth in the graph, then by id. */
  readonly acts: readonly KnownAct[];
  /** The acts that no other known act names, sorted. */
  readonly heads: readonly ActId[];
  /** SHA-256 over the sorted ids of the acts, hex: equal exactly when the sets are. */
  readonly digest: string;
  readonly genesisRecord: SignedRecord;
}
