// SPDX-License-Identifier: Apache-2.0
import type { ProcessMesh } from "../processes.ts";
import type { Handshake } from "./tls-hello.ts";

/** Agents in each LAN; those of LAN 1 come first. */
export const LAN_AGENTS = 3;
/** What the link between the LANs takes, each way: 256 kbit/s. */
export const THIN_BYTES_PER_SECOND = 32_000;

/** What has passed one way over the link between the LANs, and what waits for it, in bytes. */
export interface ThinTraffic {
  readonly bytes: number;
  readonly queuedBytes: number;
}

/** A handshake that was recorded, and between whom. */
export interface RecordedHandshake extends Handshake {
  readonly between: string;
  readonly how: string;
}

/** Six agents in two LANs that a thin link joins. */
export interface World extends AsyncDisposable {
  /** What it is made of, in a sentence. */
  readonly description: string;
  readonly mesh: ProcessMesh;
  /** Lets nothing pass between the LANs, without a word. */
  part(): Promise<void>;
  /** Lets everything pass again. */
  heal(): Promise<void>;
  /** Traffic towards each LAN. */
  thin(): Promise<readonly [toLan1: ThinTraffic, toLan2: ThinTraffic]>;
  /** The handshake of a connection between the LANs, once there is one. */
  handshake(): Promise<RecordedHandshake>;
}
