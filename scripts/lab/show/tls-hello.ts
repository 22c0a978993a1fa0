// SPDX-License-Identifier: Apache-2.0
/** What the two ends of a recorded libp2p connection agreed on, read from its bytes alone. */

/** Named groups of TLS 1.3 that are told apart here (IANA, TLS Supported Groups). */
const GROUPS: Readonly<Record<number, string>> = {
  0x001d: "X25519",
  0x11ec: "X25519MLKEM768",
};

/** The hellos of a TLS 1.3 handshake, as far as they are about the key exchange. */
export interface Handshake {
  /** Named groups for which the client sent a key share, in its order. */
  readonly offered: readonly number[];
  /** The one that the server chose. */
  readonly group: number;
  /** Bytes of the server's key share: 1,120 for X25519MLKEM768 (a ciphertext of 1,088 and 32 of X25519). */
  readonly shareBytes: number;
}

/** Such as `X25519MLKEM768 (0x11ec)`. */
export const groupName = (group: number): string =>
  `${GROUPS[group] ?? "another group"} (0x${group.toString(16).padStart(4, "0")})`;

const HANDSHAKE_RECORD = 22;
const CLIENT_HELLO = 1;
const SERVER_HELLO = 2;
const KEY_SHARE = 51;
/** Legacy version and random. */
const HELLO_START = 34;

/** Reads big-endian numbers and counted fields; throws `RangeError` at the end of the bytes. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  number(size: 1 | 2 | 3): number {
    return this.take(size).readUIntBE(0, size);
  }

  take(size: number): Buffer {
    if (size > this.left) throw new RangeError("the recording ends inside a hello");
    this.#at += size;
    return this.#bytes.subarray(this.#at - size, this.#at);
  }

  /** A field behind its length. */
  field(lengthSize: 1 | 2 | 3): Buffer {
    return this.take(this.number(lengthSize));
  }
}

/** What stands before TLS: lines of multistream-select, each behind its length. */
function withoutMultistream(bytes: Buffer): Buffer {
  let at = 0;
  for (;;) {
    const length = bytes[at] ?? 0;
    const line = bytes.subarray(at + 1, at + 1 + length).toString("latin1");
    if (length >= 0x80 || !line.startsWith("/") || !line.endsWith("\n")) return bytes.subarray(at);
    at += 1 + length;
  }
}

/** The first handshake message of a stream of TLS records (RFC 8446, 4 and 5.1). */
function firstMessage(stream: Buffer, type: number): Reader {
  const records = new Reader(withoutMultistream(stream));
  let messages = Buffer.alloc(0);
  for (;;) {
    if (records.number(1) !== HANDSHAKE_RECORD) throw new RangeError("no TLS handshake");
    records.take(2);
    messages = Buffer.concat([messages, records.field(2)]);
    const whole = messages.length >= 4 && messages.length >= 4 + messages.readUIntBE(1, 3);
    if (!whole) continue;
    if (messages[0] !== type) throw new RangeError(`no handshake message of type ${String(type)}`);
    return new Reader(messages.subarray(4, 4 + messages.readUIntBE(1, 3)));
  }
}

/** The body of the extension `key_share` (RFC 8446, 4.2.8). */
function keyShare(extensions: Reader): Reader {
  while (extensions.left > 0) {
    const type = extensions.number(2);
    const body = extensions.field(2);
    if (type === KEY_SHARE) return new Reader(body);
  }
  throw new RangeError("a hello without key_share");
}

/** Reads both hellos. Throws `RangeError` where there is no TLS 1.3 handshake, or not all of it. */
export function readHandshake(fromClient: Buffer, fromServer: Buffer): Handshake {
  const client = firstMessage(fromClient, CLIENT_HELLO);
  client.take(HELLO_START);
  client.field(1);
  client.field(2);
  client.field(1);
  const shares = new Reader(keyShare(new Reader(client.field(2))).field(2));
  const offered: number[] = [];
  while (shares.left > 0) {
    offered.push(shares.number(2));
    shares.field(2);
  }
  const server = firstMessage(fromServer, SERVER_HELLO);
  server.take(HELLO_START);
  server.field(1);
  server.take(3);
  const share = keyShare(new Reader(server.field(2)));
  return { offered, group: share.number(2), shareBytes: share.field(2).length };
}
