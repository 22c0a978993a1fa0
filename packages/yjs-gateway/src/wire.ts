// SPDX-License-Identifier: Apache-2.0
/**
 * The messages of y-protocols 1.0.7 (its PROTOCOL.md), as a WebSocket of y-websocket carries them, one in each frame. Numbers are varints, 7 bits a
 * byte from the lowest; `bytes` and `text` have their length, in bytes, in front:
 *
 * ```
 * 0 0 <state vector bytes>      sync step 1: what the sender has
 * 0 1 <update bytes>            sync step 2: what the other end lacks
 * 0 2 <update bytes>            an update
 * 1 <bytes: count, then for each: client, clock, state text>   awareness; a state is JSON
 * 2 0 <reason text>             permission denied; from the server alone
 * 3                             asks for the awareness of all
 * ```
 *
 * What comes from outside has to be exactly one message, each number in its shortest form.
 */
import { MeshError } from "@ctxmesh/model";

/** One message of a client. */
export type ClientMessage =
  | { readonly kind: "step1"; readonly stateVector: Uint8Array }
  /** An update, or sync step 2, which are alike. */
  | { readonly kind: "update"; readonly update: Uint8Array }
  | { readonly kind: "awareness"; readonly entries: readonly AwarenessEntry[] }
  | { readonly kind: "query" };

/** What one client is said to be doing. */
export interface AwarenessEntry {
  /** The client id of a Yjs document. */
  readonly client: number;
  /** Grows with each statement of that client. */
  readonly clock: number;
  /** JSON; `null` for one that has left. */
  readonly state: string;
}

const SYNC = 0;
const AWARENESS = 1;
const AUTH = 2;
const QUERY = 3;
const STEP_1 = 0;
const STEP_2 = 1;
const UPDATE = 2;
const DENIED = 0;

const malformed = (what: string): MeshError =>
  new MeshError("FORMAT_INVALID", `malformed message: ${what}`);

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** Reads what lib0 writes. Throws `FORMAT_INVALID` for what it would not have written so. */
class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** A number up to 2^53 - 1. */
  number(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.#bytes[this.#at];
      if (byte === undefined) throw malformed("it ends within a number");
      this.#at += 1;
      value += (byte & 0x7f) * scale;
      if (!Number.isSafeInteger(value)) throw malformed("a number is too large");
      if (byte < 0x80) {
        if (byte === 0 && scale > 1) throw malformed("a number is not in its shortest form");
        return value;
      }
    }
  }

  bytes(): Uint8Array {
    const length = this.number();
    const end = this.#at + length;
    if (end > this.#bytes.length) throw malformed("it ends too soon");
    const bytes = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return bytes;
  }

  text(): string {
    const bytes = this.bytes();
    try {
      return decoder.decode(bytes);
    } catch {
      throw malformed("a text is not UTF-8");
    }
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw malformed("there is more behind it");
  }
}

/** Parses one message. Throws `FORMAT_INVALID`. */
export function parseClientMessage(bytes: Uint8Array): ClientMessage {
  const reader = new Reader(bytes);
  const message = readMessage(reader);
  reader.end();
  return message;
}

function readMessage(reader: Reader): ClientMessage {
  const type = reader.number();
  switch (type) {
    case SYNC:
      return readSync(reader);
    case AWARENESS:
      return { kind: "awareness", entries: parseAwareness(reader.bytes()) };
    case QUERY:
      return { kind: "query" };
    default:
      throw malformed(`clients send no messages of type ${String(type)}`);
  }
}

function readSync(reader: Reader): ClientMessage {
  const step = reader.number();
  if (step > UPDATE) throw malformed(`sync has no step ${String(step)}`);
  const bytes = reader.bytes();
  return step === STEP_1
    ? { kind: "step1", stateVector: bytes }
    : { kind: "update", update: bytes };
}

/** Parses the inner part of an awareness message. Throws `FORMAT_INVALID`. */
function parseAwareness(bytes: Uint8Array): readonly AwarenessEntry[] {
  const reader = new Reader(bytes);
  const count = reader.number();
  // Each takes three bytes at least.
  if (count * 3 > bytes.length) throw malformed("it says of more clients than there is room for");
  const entries = Array.from({ length: count }, () => ({
    client: reader.number(),
    clock: reader.number(),
    state: reader.text(),
  }));
  reader.end();
  return entries;
}

function numberBytes(value: number): readonly number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return [...bytes, rest];
}

/** A message that ends in one piece of bytes. */
function withBytes(head: readonly number[], bytes: Uint8Array): Uint8Array {
  const start = [...head, ...numberBytes(bytes.length)];
  const message = new Uint8Array(start.length + bytes.length);
  message.set(start);
  message.set(bytes, start.length);
  return message;
}

/** Sync step 1: what we have. */
export const stepOne = (stateVector: Uint8Array): Uint8Array =>
  withBytes([SYNC, STEP_1], stateVector);

/** Sync step 2: what the other end lacked. */
export const stepTwo = (update: Uint8Array): Uint8Array => withBytes([SYNC, STEP_2], update);

/** An update. */
export const updateMessage = (update: Uint8Array): Uint8Array => withBytes([SYNC, UPDATE], update);

/** What clients are doing. */
export function awarenessMessage(entries: readonly AwarenessEntry[]): Uint8Array {
  const parts = entries.map(({ client, clock, state }) => {
    const text = encoder.encode(state);
    return withBytes([...numberBytes(client), ...numberBytes(clock)], text);
  });
  const count = numberBytes(entries.length);
  const length = parts.reduce((sum, part) => sum + part.length, count.length);
  const inner = new Uint8Array(length);
  inner.set(count);
  let at = count.length;
  for (const part of parts) {
    inner.set(part, at);
    at += part.length;
  }
  return withBytes([AWARENESS], inner);
}

/** Says nothing: providers reconnect where they hear nothing for half a minute. */
export const KEEP_ALIVE: Uint8Array = awarenessMessage([]);

/** Permission denied. */
export const deniedMessage = (reason: string): Uint8Array =>
  withBytes([AUTH, DENIED], encoder.encode(reason));
