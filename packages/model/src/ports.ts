// SPDX-License-Identifier: Apache-2.0
/**
 * Ports: everything the pure layers need from the outside. Each says what an implementation
 * promises; `@ctxmesh/testing` exports an acceptance suite for each that has more than one.
 */
import type { DocumentName } from "./ids.ts";

/** Time. The simulator supplies a virtual one. */
export interface Clock {
  /** Unix milliseconds; may jump either way. */
  now(): number;
}

/** Cryptographically strong randomness (seeded in the simulator). */
export interface RandomSource {
  /** `length` fresh random bytes. */
  bytes(length: number): Uint8Array;
}

/** Structured log; `event` is a stable code such as `peer.connected`. Never pass fact values. */
export interface Logger {
  debug(event: string, fields?: Readonly<Record<string, unknown>>): void;
  info(event: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(event: string, fields?: Readonly<Record<string, unknown>>): void;
  error(event: string, fields?: Readonly<Record<string, unknown>>): void;
}

/** One change of an atomic store write: a put, or a delete when `value` is absent. */
export interface StoreChange {
  readonly key: Uint8Array;
  readonly value?: Uint8Array;
}

/** Keys `gte <= key < lt` in byte order (or the reverse), `limit` at most. */
export interface StoreRange {
  readonly gte: Uint8Array;
  readonly lt: Uint8Array;
  readonly reverse?: boolean;
  readonly limit?: number;
}

/**
 * An ordered key-value store; keys compare as unsigned bytes.
 *
 * Errors: `STORE_CORRUPT` when a record's own hash does not match, `STORE_FAILED` on I/O, `CLOSED`
 * after `close`.
 */
export interface Store {
  /**
   * Applies all changes or none, and resolves only when they are on stable storage (survive a
   * power cut). Calls are applied in call order. After a rejected write the store refuses
   * further writes: the state on disk is unknown, so only a reopen may continue.
   */
  write(changes: readonly StoreChange[]): Promise<void>;
  /** The value under a key, or undefined. Sees every write that was acknowledged before the call. */
  get(key: Uint8Array): Promise<Uint8Array | undefined>;
  /** A consistent view of a range as of the call. */
  scan(range: StoreRange): AsyncIterable<readonly [key: Uint8Array, value: Uint8Array]>;
  /** Waits for writes under way, then releases the store. Idempotent. */
  close(): Promise<void>;
}

/** What keeps others from reading a connection. */
export interface ChannelSecurity {
  readonly protocol: "TLS 1.3" | "Noise";
  /** The first is hybrid: what is recorded today stays closed to a quantum computer. */
  readonly keyExchange: "X25519MLKEM768" | "X25519";
}

/** What is known of the other end of a channel once it has proven who it is. */
export interface Remote {
  /** The remote's device key, hex; authenticated by the transport. */
  readonly device: string;
  /** Address as the transport shows it, for logs. */
  readonly address: string;
  /** How the channel came to be. */
  readonly direction: "inbound" | "outbound";
  /** `hub` for a channel to or from a hub, else `agent`. */
  readonly role: "agent" | "hub";
  /** The other end is a leaf: a small device that speaks sync over a link of its own. */
  readonly leaf?: true;
  /** As negotiated; absent where the transport does not know. */
  readonly security?: ChannelSecurity;
}

/**
 * An authenticated, ordered, reliable message channel to one remote replica (a libp2p stream, a
 * WebSocket, or a pair in memory).
 */
export interface Channel {
  readonly remote: Remote;
  /**
   * Sends one message of `LIMITS.syncMessageBytes` at most. Resolves when the transport took it and
   * is ready for more, which is the sender's backpressure. Rejects with `CLOSED`.
   */
  send(message: Uint8Array): Promise<void>;
  /** Bytes accepted by `send` that are not yet on the wire. */
  readonly bufferedBytes: number;
  /** Incoming messages in order; ends when the channel closes. One consumer; reading slowly slows the sender. */
  receive(): AsyncIterable<Uint8Array>;
  /** Closes both directions. Idempotent; `reason` goes to the log of both ends where the transport can carry it. */
  close(reason?: string): Promise<void>;
}

/** Accepts and dials channels, and keeps the configured ones alive. */
export interface Transport {
  /** Starts listening and dialling. `onChannel` is called for each channel once authenticated. Throws `ADDRESS_UNAVAILABLE`. */
  start(onChannel: (channel: Channel) => void): Promise<void>;
  /** Addresses that others can dial, as text. */
  addresses(): readonly string[];
  /** Closes every channel and releases the ports. Idempotent. */
  stop(): Promise<void>;
}

/** Signs with one device key (Ed25519, RFC 8032). */
export interface DeviceSigner {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** A 64-byte signature over the exact bytes. */
  sign(message: Uint8Array): Uint8Array;
}

/** Verifies device signatures. */
export interface SignatureVerifier {
  /** False for anything but a valid signature by that key; never throws. */
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;
}

/** Which data key: one for each document and generation. */
export interface VaultScope {
  readonly doc: DocumentName;
  readonly gen: number;
}

/** Encrypts what is stored with a data key per document and generation. Synchronous: it is on the path of every write. */
export interface Vault {
  /** `sealed` bytes for a place in the store; the same place must be given to open it. */
  seal(scope: VaultScope, place: Uint8Array, plain: Uint8Array): Uint8Array;
  /** Throws `KEY_INVALID` when the data key is not here or destroyed, `STORE_CORRUPT` when the bytes are not what was sealed for this place. */
  open(scope: VaultScope, place: Uint8Array, sealed: Uint8Array): Uint8Array;
  /** Records of data keys made since the last call, to be written in the same atomic write as what they seal. */
  takeChanges(): readonly StoreChange[];
}
