// SPDX-License-Identifier: Apache-2.0
/**
 * The handshake of the link between a leaf, which is the client, and an agent, without I/O. All integers are big-endian.
 *
 * ```
 * client -> server  0x01 || version 0x01 || space (32) || device (32) || eC (32)      98 bytes
 * server -> client  0x02 || device (32) || eS (32) || box (server proof)             145 bytes
 * client -> server  0x03 || box (client proof)                                        81 bytes
 *
 * eC, eS   ephemeral X25519 keys (RFC 7748)
 * h     =  SHA-256("ctxmesh/leaf/v1\n" || space || client device || server device || eC || eS)
 * dh    =  X25519 of both; all zero is refused
 * prk   =  HMAC-SHA256(key = psk (32), dh || h)
 * key L =  HMAC-SHA256(key = prk, L)         for L in "server proof", "client proof", "server data", "client data"
 * proof =  Ed25519 signature (64, RFC 8032) of the sender's device over "ctxmesh/leaf-auth/v1\n" || "C" or "S", the sender || h
 * box   =  ChaCha20-Poly1305 (RFC 8439) of the proof with its key, a nonce of 12 zero bytes, and h as what is known besides
 * psk   =  HMAC-SHA256(key = the server's secret (32), "ctxmesh/leaf-psk/v1\n" || client device (32))
 * ```
 *
 * The server answers nothing to who is no member, and neither end says why it gives up. The psk keeps out whoever was
 * not given one, and closes what is recorded today to who can break X25519 one day; the ephemeral keys close it to who
 * steals the psk later. `packages/transport-tcp/test/vectors.json` has every value of two handshakes.
 */
import type { DeviceSigner, RandomSource, SignatureVerifier, SpaceId } from "@ctxmesh/model";
import { fromHex, MeshError, toHex } from "@ctxmesh/model";
import type { AgreementKey } from "./primitives.ts";
import { agreementKey, hmac, KEY_BYTES, NONCE_BYTES, open, seal, sha256 } from "./primitives.ts";
import { TAG_BYTES } from "./primitives.ts";

const VERSION = 0x01;
const TYPES = { hello: 0x01, answer: 0x02, proof: 0x03 } as const;
const BOX_BYTES = 64 + TAG_BYTES;
const HELLO_BYTES = 2 + 3 * KEY_BYTES;
const ANSWER_BYTES = 1 + 2 * KEY_BYTES + BOX_BYTES;
const PROOF_BYTES = 1 + BOX_BYTES;
const ZERO_NONCE = new Uint8Array(NONCE_BYTES);

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const TRANSCRIPT = utf8("ctxmesh/leaf/v1\n");
const AUTHENTICATION = utf8("ctxmesh/leaf-auth/v1\n");
const PRE_SHARED = utf8("ctxmesh/leaf-psk/v1\n");

/** One end of a link: the leaf, which dials, or the agent. */
export type Role = "client" | "server";

const ROLE_BYTES: Readonly<Record<Role, Uint8Array>> = { client: utf8("C"), server: utf8("S") };

/** The key that a leaf and its parent share: of the parent's secret (32 bytes) and the leaf's device key (32 bytes). */
export const leafPsk = (secret: Uint8Array, device: Uint8Array): Uint8Array =>
  hmac(secret, PRE_SHARED, device);

/** What one end brings to a handshake. */
export interface HandshakeOptions {
  readonly role: Role;
  readonly device: DeviceSigner;
  readonly space: SpaceId;
  /** The key of 32 bytes that is shared with a device. */
  readonly psk: (device: Uint8Array) => Uint8Array;
  /** Whether the other end's device, hex, is one to talk to. */
  readonly accepts: (device: string) => boolean;
  readonly verifier: SignatureVerifier;
  readonly random: RandomSource;
}

/** What both ends know once each has proven who it is. */
export interface LinkSession {
  /** The other end's device key, hex. */
  readonly device: string;
  /** The key of what this end sends. */
  readonly sendKey: Uint8Array;
  /** The key of what it receives. */
  readonly receiveKey: Uint8Array;
}

/** What a received message led to. */
export interface HandshakeStep {
  /** To be sent; may be empty. */
  readonly send: Uint8Array;
  /** At the end of the handshake. */
  readonly session?: LinkSession;
}

interface Keys {
  readonly h: Uint8Array;
  readonly proof: Readonly<Record<Role, Uint8Array>>;
  readonly data: Readonly<Record<Role, Uint8Array>>;
}

interface Other {
  readonly device: Uint8Array;
  readonly keys: Keys;
}

/** One end's side of one handshake. */
export class Handshake {
  readonly #options: HandshakeOptions;
  readonly #space: Uint8Array;
  readonly #ephemeral: AgreementKey;
  #other: Other | undefined;
  #done = false;

  constructor(options: HandshakeOptions) {
    this.#options = options;
    this.#space = fromHex(options.space);
    this.#ephemeral = agreementKey(options.random.bytes(KEY_BYTES));
  }

  /** What to send before anything is received. */
  start(): Uint8Array {
    if (this.#options.role === "server") return new Uint8Array();
    const { publicKey } = this.#options.device;
    const head = Uint8Array.of(TYPES.hello, VERSION);
    return Buffer.concat([head, this.#space, publicKey, this.#ephemeral.publicKey]);
  }

  /** Bytes of the message that {@link receive} wants next. */
  get wants(): number {
    if (this.#options.role === "client") return ANSWER_BYTES;
    return this.#other === undefined ? HELLO_BYTES : PROOF_BYTES;
  }

  /** Takes the other end's next message. Throws `AUTH_FAILED`, after which the connection has to be closed without a word. */
  receive(message: Uint8Array): HandshakeStep {
    if (this.#done || message.length !== this.wants) throw refusal("a message of the wrong length");
    if (this.#options.role === "client") return this.#receiveAnswer(message);
    if (this.#other === undefined) return this.#receiveHello(message);
    return this.#finish(this.#other, message, TYPES.proof);
  }

  #receiveHello(message: Uint8Array): HandshakeStep {
    if (message[0] !== TYPES.hello) throw refusal("malformed hello");
    if (message[1] !== VERSION) throw refusal(`unknown version ${String(message[1])}`);
    const [space, device, ephemeral] = keysIn(message.subarray(2));
    if (toHex(space) !== this.#options.space) throw refusal("another space");
    this.#other = this.#meet(device, ephemeral);
    const head = [Uint8Array.of(TYPES.answer), this.#options.device.publicKey];
    const proof = this.#proof(this.#other.keys);
    return { send: Buffer.concat([...head, this.#ephemeral.publicKey, proof]) };
  }

  #receiveAnswer(message: Uint8Array): HandshakeStep {
    const [device, ephemeral] = keysIn(message.subarray(1));
    const other = this.#meet(device, ephemeral);
    const { session } = this.#finish(other, message, TYPES.answer) as Required<HandshakeStep>;
    const proof = this.#proof(other.keys);
    return { send: Buffer.concat([Uint8Array.of(TYPES.proof), proof]), session };
  }

  /** Checks the proof at the end of a message, with which the other end is known. */
  #finish({ device, keys }: Other, message: Uint8Array, type: number): HandshakeStep {
    if (message[0] !== type) throw refusal("malformed proof");
    const { role, verifier } = this.#options;
    const theirs = role === "client" ? "server" : "client";
    const context = { key: keys.proof[theirs], nonce: ZERO_NONCE, aad: keys.h };
    const signature = open(context, message.subarray(-BOX_BYTES));
    if (signature === undefined) throw refusal("the proof was made with another key: see the psk");
    if (!verifier.verify(device, statement(theirs, keys.h), signature)) {
      throw refusal("the signature does not verify");
    }
    // Membership may have ended since the hello.
    this.#checkAccepted(device);
    this.#done = true;
    const session = {
      device: toHex(device),
      sendKey: keys.data[role],
      receiveKey: keys.data[theirs],
    };
    return { send: new Uint8Array(), session };
  }

  /** What both ends come to, by the other one's keys. */
  #meet(device: Uint8Array, ephemeral: Uint8Array): Other {
    this.#checkAccepted(device);
    const dh = this.#ephemeral.agree(ephemeral);
    if (dh === undefined) throw refusal("an ephemeral key of small order");
    const own = { device: this.#options.device.publicKey, ephemeral: this.#ephemeral.publicKey };
    const other = { device, ephemeral };
    const [client, server] = this.#options.role === "client" ? [own, other] : [other, own];
    const devices = [client.device, server.device];
    const h = sha256(TRANSCRIPT, this.#space, ...devices, client.ephemeral, server.ephemeral);
    const prk = hmac(this.#options.psk(device), dh, h);
    const key = (label: string): Uint8Array => hmac(prk, utf8(label));
    const proof = { server: key("server proof"), client: key("client proof") };
    return {
      device,
      keys: { h, proof, data: { server: key("server data"), client: key("client data") } },
    };
  }

  #proof({ h, proof }: Keys): Uint8Array {
    const { role, device } = this.#options;
    return seal({ key: proof[role], nonce: ZERO_NONCE, aad: h }, device.sign(statement(role, h)));
  }

  #checkAccepted(device: Uint8Array): void {
    const hex = toHex(device);
    if (hex === toHex(this.#options.device.publicKey)) throw refusal("our own device key");
    if (this.#options.accepts(hex)) return;
    const what = this.#options.role === "client" ? "not the expected device" : "not a member";
    throw refusal(`${what}: ${hex}`);
  }
}

const statement = (signer: Role, h: Uint8Array): Uint8Array =>
  Buffer.concat([AUTHENTICATION, ROLE_BYTES[signer], h]);

/** The first three strings of 32 bytes. */
function keysIn(bytes: Uint8Array): readonly [Uint8Array, Uint8Array, Uint8Array] {
  const at = (index: number): Uint8Array =>
    new Uint8Array(bytes.subarray(index * KEY_BYTES, (index + 1) * KEY_BYTES));
  return [at(0), at(1), at(2)];
}

const refusal = (reason: string): MeshError => new MeshError("AUTH_FAILED", reason);
