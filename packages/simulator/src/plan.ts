// SPDX-License-Identifier: Apache-2.0
/** What a run is going to do, as plain data: steps can be left out of it, and what is left still is a plan. */
import type { PolicyRule } from "@ctxmesh/facts";
import type { AckLevel, Priority, FactSource, JsonValue, Subscription } from "@ctxmesh/model";
import type { Tail } from "./virtual-disk.ts";
import type { LineQuality } from "./virtual-network.ts";

/** A machine, and the device on it. */
export interface PlannedNode {
  /** Short name; also what its key is derived from. */
  readonly id: string;
  readonly service: "agent" | "hub";
  readonly role: "read" | "append" | "write" | "manage";
  /** Length of its first grant, in milliseconds; without one it has none, and waits for an invite. */
  readonly grantMs?: number;
  /** How far its clock is off at the beginning, in milliseconds, and how much faster it goes, in parts per million. */
  readonly clockOffMs: number;
  readonly driftPpm: number;
  /** What of others' batches it keeps; everything without it. Of document names alone, so that what it shows can be compared. */
  readonly subscription?: Pick<Subscription, "docs">;
  /** Bytes per second that it sends to each other node; without a limit by default. */
  readonly linkBudget?: number;
}

/** A line in both directions; `from` dials. */
export interface PlannedLink {
  readonly from: string;
  readonly to: string;
  readonly quality: LineQuality;
}

/** What clients of nodes do. */
export type WorkStep =
  | {
      readonly do: "put";
      readonly node: string;
      readonly doc: string;
      readonly key: string;
      readonly value: JsonValue;
      readonly confidence?: number;
      readonly source?: FactSource;
      readonly ttlMs?: number;
      readonly increment?: boolean;
      /** What the client waits for, ten minutes at most; default: `local`. */
      readonly ack?: AckLevel;
      readonly priority?: Priority;
    }
  | { readonly do: "delete"; readonly node: string; readonly doc: string; readonly key: string }
  /** Retracts what another node's device said. */
  | {
      readonly do: "retract";
      readonly node: string;
      readonly doc: string;
      readonly key: string;
      readonly of: string;
    }
  /** Inserts text into, or with `remove` takes characters out of, the document's text `notes`. */
  | {
      readonly do: "edit";
      readonly node: string;
      readonly doc: string;
      readonly at: number;
      readonly text: string;
      readonly remove: number;
    }
  /** A client, by name, reads; clients move between nodes. */
  | {
      readonly do: "read";
      readonly node: string;
      readonly client: string;
      readonly doc: string;
      readonly key: string;
    }
  /** A client reads at a level; see `ReadLevel`. */
  | {
      readonly do: "ask";
      readonly node: string;
      readonly doc: string;
      readonly key: string;
      readonly consistency: "bounded" | "strong";
      readonly maxStalenessMs?: number;
    }
  /** A client writes if the version still is the one that the node has, as a value of its own. */
  | {
      readonly do: "set";
      readonly node: string;
      readonly doc: string;
      readonly key: string;
      readonly value: JsonValue;
    }
  /** A hub seals. */
  | { readonly do: "seal"; readonly node: string };

/** Acts of membership, handed in at `node`. */
export type MemberStep =
  /** The creator grants a node's device its role for `forMs` from now. */
  | { readonly do: "renew"; readonly node: string; readonly device: string; readonly forMs: number }
  /** The creator, or a node's device, revokes a device; with `keep`, what `node` has of it stands. */
  | {
      readonly do: "revoke";
      readonly node: string;
      readonly device: string;
      readonly by: string;
      readonly keep: boolean;
    }
  | { readonly do: "policy"; readonly node: string; readonly rules: readonly PolicyRule[] }
  /** The creator publishes a version of the schema of a prefix of keys: values are whole numbers up to `most`. */
  | {
      readonly do: "schema";
      readonly node: string;
      readonly prefix: string;
      readonly version: string;
      readonly most: number;
    }
  /** The creator makes an invite of a name. */
  | {
      readonly do: "invite";
      readonly node: string;
      readonly invite: string;
      readonly forMs: number;
    }
  /** A device without a grant takes an invite up; its node has the act at once, as a joining device has. */
  | {
      readonly do: "join";
      readonly node: string;
      readonly device: string;
      readonly invite: string;
    };

/** What goes wrong. What has a `forMs` ends by itself after so many milliseconds. */
export type FaultStep =
  /**
   * The process is killed, or the machine loses power, at once or while the next write is under way; `tail` is what
   * becomes of writes under way.
   */
  | {
      readonly do: "crash";
      readonly node: string;
      readonly how: "process" | "power";
      readonly tail: Tail;
      /** Default: `now`. */
      readonly when?: "now" | "writing";
      readonly downMs: number;
    }
  | { readonly do: "pause"; readonly node: string; readonly forMs: number }
  | { readonly do: "jump"; readonly node: string; readonly byMs: number }
  | { readonly do: "fail-sync"; readonly node: string; readonly outcome: "lost" | "kept" }
  | { readonly do: "fill-disk"; readonly node: string; readonly forMs: number }
  | {
      readonly do: "slow-disk";
      readonly node: string;
      readonly forMs: number;
      readonly byMs: number;
    }
  /** A record rots; the process is started again, which finds it. */
  | { readonly do: "flip-bit"; readonly node: string; readonly downMs: number }
  | { readonly do: "backup"; readonly node: string }
  /** The machine gets the content of its newest backup; nothing without one. */
  | { readonly do: "restore"; readonly node: string; readonly downMs: number }
  /**
   * A second machine runs from a copy: of the disk as it is, or of the machine as it was when its process had just
   * started, which goes on in the same incarnation.
   */
  | {
      readonly do: "clone";
      readonly node: string;
      readonly of: "disk" | "machine";
      readonly writes: number;
      readonly forMs: number;
    }
  | {
      readonly do: "cut";
      readonly lines: readonly (readonly [from: string, to: string])[];
      readonly forMs: number;
    }
  | { readonly do: "clog"; readonly from: string; readonly to: string; readonly forMs: number }
  | { readonly do: "reset"; readonly from: string; readonly to: string }
  | {
      readonly do: "degrade";
      readonly from: string;
      readonly to: string;
      readonly quality: Partial<LineQuality>;
      readonly forMs: number;
    }
  /** A peer that does not keep to the rules talks to nodes, as a device that has a grant. */
  | {
      readonly do: "hostile";
      readonly kind: HostileKind;
      readonly device: string;
      readonly targets: readonly string[];
      readonly forMs: number;
    };

/** What a hostile peer does. */
export type HostileKind = "forger" | "equivocator" | "flooder" | "replayer" | "back-dater";

/** Anything that is planned. */
export type Step = WorkStep | MemberStep | FaultStep;
/** A step and its time, in milliseconds since the beginning. */
export type PlannedEvent = Step & { readonly atMs: number };

/** A whole run. */
export interface Plan {
  readonly seed: string;
  /** Stub signatures cost a hash; see `signatures.ts`. */
  readonly signatures: "stub" | "real";
  /** Agents tell each other by broadcast as well, as more than 16 of them do. */
  readonly gossip: boolean;
  readonly nodes: readonly PlannedNode[];
  readonly links: readonly PlannedLink[];
  /** Devices of hostile peers that have a grant. */
  readonly hostile: readonly string[];
  /** Length of the phase with faults. */
  readonly safetyMs: number;
  /** By time. */
  readonly steps: readonly PlannedEvent[];
}

const FAULTS: ReadonlySet<Step["do"]> = new Set<FaultStep["do"]>([
  "crash",
  "pause",
  "jump",
  "fail-sync",
  "fill-disk",
  "slow-disk",
  "flip-bit",
  "backup",
  "restore",
  "clone",
  "cut",
  "clog",
  "reset",
  "degrade",
  "hostile",
]);
const MEMBERS: ReadonlySet<Step["do"]> = new Set<MemberStep["do"]>([
  "renew",
  "revoke",
  "policy",
  "schema",
  "invite",
  "join",
]);

/** Whether a step is something that goes wrong. */
export const isFault = (step: Step): step is FaultStep => FAULTS.has(step.do);
/** Whether a step is about membership. */
export const isMemberStep = (step: Step): step is MemberStep => MEMBERS.has(step.do);
