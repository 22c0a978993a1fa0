// SPDX-License-Identifier: Apache-2.0
/**
 * The handshake by which both ends of a WebSocket prove their device key, without I/O.
 *
 * ```
 * hello = 0x01 || version 0x01 || space (32) || device (32) || nonce (32)          98 bytes
 * proof = 0x02 || Ed25519 signature (64, RFC 8032) over the statement              65 bytes
 * statement = "ctxmesh/ws-auth/v1\n" || role ("C" or "S", of the signer) || space
 *             || client device || server device || client nonce || server nonce   180 bytes
 *
 * client -> server  hello
 * server -> client  hello, proof      (nothing at all unless the client's hello names a member)
 * client -> server  proof
 * ```
 *
 * The role byte and both keys make a proof worthless in the other direction and towards anyone else;
 * the nonces make it worthless a second time. It authenticates the two ends at the start and nothing
 * after that: secrecy, integrity of the messages and safety from an active relay need `wss`.
 */
import type { DeviceSigner, RandomSource, SignatureVerifier, SpaceId } from "@ctxmesh/model";
import { fromHex, MeshError, toHex } from "@ctxmesh/model";

const HELLO_TYPE = 0x01;
const PROOF_TYPE = 0x02;
const VERSION = 0x01;
const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
const HELLO_BYTES = 2 + 3 * KEY_BYTES;
const PROOF_BYTES = 1 + SIGNATURE_BYTES;
const CONTEXT = new TextEncoder().encode("ctxmesh/ws-auth/v1\n");
const ROLE_BYTES = { client: 0x43, server: 0x53 } as const;

/** One end of a connection: the one that dialled, or the one that was dialled. */
export type Role = keyof typeof ROLE_BYTES;

/** What one end brings to a handshake. */
export interface HandshakeOptions {
  readonly role: Role;
  readonly device: DeviceSigner;
  readonly space: SpaceId;
  /** Whether the other end's device, hex, is one to talk to. */
  readonly accepts: (device: string) => boolean;
  readonly verifier: SignatureVerifier;
  readonly random: RandomSource;
}

/** What a received message led to. */
export interface HandshakeStep {
  readonly send: readonly Uint8Array[];
  /** The other end's device key, hex, once it is proven. */
  readonly device?: string;
}

interface Hello {
  readonly device: Uint8Array;
  readonly nonce: Uint8Array;
}

/** One end's side of one handshake. */
export class Handshake {
  readonly #options: HandshakeOptions;
  readonly #space: Uint8Array;
  readonly #own: Hello;
  #other: Hello | undefined;
  #done = false;

  constructor(options: HandshakeOptions) {
    this.#options = options;
    this.#space = fromHex(options.space);
    this.#own = { device: options.device.publicKey, nonce: options.random.bytes(KEY_BYTES) };
  }

  /** What to send before anything is received. */
  start(): readonly Uint8Array[] {
    return this.#options.role === "client" ? [this.#hello()] : [];
  }

  /** Takes the other end's next message. Throws `AUTH_FAILED`, after which the connection has to be closed. */
  receive(message: Uint8Array): HandshakeStep {
    if (this.#done) throw refusal("a message after the end of the handshake");
    return this.#other === undefined
      ? this.#receiveHello(message)
      : this.#receiveProof(message, this.#other);
  }

  #receiveHello(message: Uint8Array): HandshakeStep {
    if (message.length !== HELLO_BYTES || message[0] !== HELLO_TYPE)
      throw refusal("malformed hello");
    if (message[1] !== VERSION) throw refusal(`unknown version ${String(message[1])}`);
    const [space, device, nonce] = [0, 1, 2].map((i) =>
      message.slice(2 + i * KEY_BYTES, 2 + (i + 1) * KEY_BYTES),
    ) as [Uint8Array, Uint8Array, Uint8Array];
    if (toHex(space) !== this.#options.space) throw refusal("another space");
    this.#checkAccepted(device);
    this.#other = { device, nonce };
    if (this.#options.role === "client") return { send: [] };
    return { send: [this.#hello(), this.#proof(this.#other)] };
  }

  #receiveProof(message: Uint8Array, other: Hello): HandshakeStep {
    if (message.length !== PROOF_BYTES || message[0] !== PROOF_TYPE)
      throw refusal("malformed proof");
    const { role, verifier } = this.#options;
    const statement = this.#statement(role === "client" ? "server" : "client", other);
    if (!verifier.verify(other.device, statement, message.subarray(1))) {
      throw refusal("the signature does not verify");
    }
    // Membership may have ended since the hello.
    this.#checkAccepted(other.device);
    this.#done = true;
    const send = role === "client" ? [this.#proof(other)] : [];
    return { send, device: toHex(other.device) };
  }

  #checkAccepted(device: Uint8Array): void {
    const hex = toHex(device);
    if (hex === toHex(this.#own.device)) throw refusal("our own device key");
    if (this.#options.accepts(hex)) return;
    const what = this.#options.role === "client" ? "not a hub of this space" : "not a member";
    throw refusal(`${what}: ${hex}`);
  }

  #hello(): Uint8Array {
    const head = Uint8Array.of(HELLO_TYPE, VERSION);
    return concat([head, this.#space, this.#own.device, this.#own.nonce]);
  }

  #proof(other: Hello): Uint8Array {
    const signature = this.#options.device.sign(this.#statement(this.#options.role, other));
    return concat([Uint8Array.of(PROOF_TYPE), signature]);
  }

  #statement(signer: Role, other: Hello): Uint8Array {
    const [client, server] =
      this.#options.role === "client" ? [this.#own, other] : [other, this.#own];
    return concat([
      CONTEXT,
      Uint8Array.of(ROLE_BYTES[signer]),
      this.#space,
      client.device,
      server.device,
      client.nonce,
      server.nonce,
    ]);
  }
}

function refusal(reason: string): MeshError {
  return new MeshError("AUTH_FAILED", reason);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
