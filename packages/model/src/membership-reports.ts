// SPDX-License-Identifier: Apache-2.0
/** What a node says of membership, and takes in of it. */

/** What a member may do, each including the ones before it. */
export type MemberRole = "read" | "append" | "write" | "manage";

/**
 * How a member stands: `active`; `expiring` within seven days; `expired`, with nothing to follow; `upcoming`, its
 * first grant has yet to begin; `revoked`, for ever.
 */
export type MemberState = "active" | "expiring" | "expired" | "upcoming" | "revoked";

/** A grant that was issued and is not filtered. Times are Unix milliseconds, both included. */
export interface GrantReport {
  /** Id of the act, hex. */
  readonly act: string;
  /** Number of the grant in the space, as its issuer counted. */
  readonly index: number;
  readonly service: "agent" | "hub";
  readonly role: MemberRole;
  readonly notBefore: number;
  readonly notAfter: number;
  /** The key that issued it: of a creator, a manager or an invite. */
  readonly by: string;
  /** Whether that was the key of an invite. */
  readonly invited: boolean;
}

/** A device that has, or had, a grant. */
export interface MemberReport {
  readonly device: string;
  /** Number of its first grant. */
  readonly index: number;
  readonly service: "agent" | "hub";
  /** The role now; of the nearest grant where none covers this moment. */
  readonly role: MemberRole;
  readonly state: MemberState;
  /** End of the last grant, Unix milliseconds. */
  readonly until: number;
  /** By their beginning. */
  readonly grants: readonly GrantReport[];
}

/** A device or an invite that was shut out. */
export interface RevocationReport {
  /** The key of a device or an invite. */
  readonly device: string;
  /** Unix milliseconds, by the clock of whoever revoked it. */
  readonly time: number;
  readonly reason: string;
  readonly by: readonly string[];
  /** Number of its chains of which something stands. */
  readonly kept: number;
}

/** A key that lets whoever has it join. */
export interface InviteReport {
  readonly key: string;
  readonly service: "agent" | "hub";
  readonly role: MemberRole;
  /** Unix milliseconds. */
  readonly notAfter: number;
  readonly by: string;
  readonly state: "open" | "expired" | "revoked";
  /** Devices that joined with it. */
  readonly joined: readonly string[];
}

/** An act that is known and has no effect. */
export interface FilteredActReport {
  readonly act: string;
  readonly kind: string;
  readonly author: string;
  /** Unix milliseconds, by its author's clock. */
  readonly time: number;
  readonly problem: string;
}

/** One process life of a device, and what of it counts. */
export interface ChainReport {
  readonly device: string;
  readonly incarnation: string;
  /** Batches that count: those up to this number. */
  readonly seq: number;
  /** Hash of that batch's header, hex, and its time, Unix milliseconds; absent when none counts. */
  readonly hash?: string;
  readonly lastMs?: number;
  /** The most that can count: up to a revocation, below a proven fork; absent without a limit. */
  readonly limit?: number;
  /** Batches that are stored here and do not count, and why; `content`: one holds what it must not; `waiting`: for one that is not here yet. */
  readonly void: number;
  readonly reason?: "revoked" | "equivocation" | "grant" | "content" | "waiting";
}

/** Who belongs to a space, as one node knows it. */
export interface MembershipReport {
  readonly space: string;
  readonly name: string;
  readonly creators: readonly string[];
  /** Over all acts and known forks, hex: equal on nodes that know the same. */
  readonly digest: string;
  readonly policyEpoch: number;
  /** By index. */
  readonly members: readonly MemberReport[];
  readonly revocations: readonly RevocationReport[];
  readonly invites: readonly InviteReport[];
  readonly filtered: readonly FilteredActReport[];
  readonly chains: readonly ChainReport[];
}

/** What became of acts that were handed in. */
export interface ActsReceipt {
  /** Number of acts that were not known before. */
  readonly added: number;
  readonly refused: readonly { readonly code: string; readonly message: string }[];
}

/** A proof that a device signed two histories: `proof` is CBOR in base64, and convinces without anything else. */
export interface EvidenceReport {
  readonly device: string;
  readonly incarnation: string;
  /** The first batch of the chain that no longer counts. */
  readonly seq: number;
  readonly proof: string;
}

/** Membership in a node's status. */
export interface MembershipSummary {
  /** As in {@link MembershipReport}. */
  readonly digest: string;
  /** Devices that are not revoked. */
  readonly members: number;
  /** Devices that are. */
  readonly revoked: number;
  /** Forked chains, of which there is proof. */
  readonly forks: number;
  /** Whether one of them is of this device: two processes wrote as one. */
  readonly ownFork: boolean;
  readonly voidBatches: number;
  /** This device's own standing; absent when it has no grant at all. */
  readonly grant?: {
    readonly state: MemberState;
    readonly role: MemberRole;
    /** Unix milliseconds. */
    readonly until: number;
  };
}

/** What a node knows of the members of its space, and takes in about them. */
export interface MembershipService {
  membership(): MembershipReport;
  /**
   * Takes in signed membership acts (CBOR records); in effect and durable once it resolves, and passed on to
   * the peers. Wrong ones are named in the receipt. Rejects with `STORE_FAILED` or `CLOSED`.
   */
  addActs(records: readonly Uint8Array[]): Promise<ActsReceipt>;
  /** The text of a space file with every act that this node knows. */
  spaceFile(): string;
  /** Proofs of forked chains. */
  evidence(): readonly EvidenceReport[];
}
