// SPDX-License-Identifier: Apache-2.0
/**
 * TLS 1.3 between agents, as libp2p has it (`/tls/1.0.0`; libp2p/specs, tls/tls.md), with one key exchange: the hybrid
 * group X25519MLKEM768 (draft-ietf-tls-ecdhe-mlkem, code point 0x11EC). TLS with another group is not spoken here, so
 * that what a connection is called says what protects it: what is recorded today stays closed to a quantum computer.
 */
import { TLSSocket, connect, createSecureContext } from "node:tls";
import type { SecureContext } from "node:tls";
import { constants } from "node:crypto";
import { once } from "node:events";
import { MeshError, toMeshError } from "@ctxmesh/model";
import type {
  ConnectionEncrypter,
  MessageStream,
  PeerId,
  PrivateKey,
  SecureConnectionOptions,
  SecuredConnection,
  StreamMuxerFactory,
  Upgrader,
} from "@libp2p/interface";
import { UnexpectedPeerError } from "@libp2p/interface";
import { createCertificate, verifyCertificate } from "./certificate.ts";
import { HYBRID_GROUP, TLS_PROTOCOL } from "./security.ts";
import { RawDuplex, TlsStream } from "./tls-stream.ts";

/** The application protocol (ALPN) of a peer that does not name a muxer there. */
const NO_MUXER = "libp2p";

/** Makes the encrypter of a node; its certificate lasts as long as the node. Throws where there is no {@link HYBRID_GROUP}. */
export async function hybridTls(
  privateKey: PrivateKey,
): Promise<(components: { readonly upgrader: Upgrader }) => ConnectionEncrypter> {
  const secureContext = createSecureContext({
    ...(await createCertificate(privateKey)),
    minVersion: "TLSv1.3",
    maxVersion: "TLSv1.3",
    ecdhCurve: HYBRID_GROUP,
    // Sessions are never resumed: each handshake proves who the peer is.
    secureOptions: constants.SSL_OP_NO_TICKET,
  });
  // Made before the upgrader is, which is why that is asked for later.
  return (components) => new HybridTls(secureContext, () => components.upgrader.getStreamMuxers());
}

class HybridTls implements ConnectionEncrypter {
  readonly protocol = TLS_PROTOCOL;
  readonly #context: SecureContext;
  readonly #muxers: () => ReadonlyMap<string, StreamMuxerFactory>;

  constructor(context: SecureContext, muxers: () => ReadonlyMap<string, StreamMuxerFactory>) {
    this.#context = context;
    this.#muxers = muxers;
  }

  secureInbound(
    connection: MessageStream,
    options?: SecureConnectionOptions,
  ): Promise<SecuredConnection> {
    return this.#secure(connection, options, (duplex, ALPNProtocols) => {
      const authenticate = { requestCert: true, rejectUnauthorized: false };
      const secureContext = this.#context;
      return new TLSSocket(duplex, {
        ...authenticate,
        isServer: true,
        secureContext,
        ALPNProtocols,
      });
    });
  }

  secureOutbound(
    connection: MessageStream,
    options?: SecureConnectionOptions,
  ): Promise<SecuredConnection> {
    return this.#secure(connection, options, (socket, ALPNProtocols) =>
      // No authority vouches for a peer: its certificate is verified below, before anything is read or sent.
      connect({
        socket,
        rejectUnauthorized: false,
        secureContext: this.#context,
        ALPNProtocols,
      }),
    );
  }

  async #secure(
    connection: MessageStream,
    options: SecureConnectionOptions | undefined,
    open: (duplex: RawDuplex, protocols: string[]) => TLSSocket,
  ): Promise<SecuredConnection> {
    const early = options?.skipStreamMuxerNegotiation !== true;
    const muxers = early ? this.#muxers() : new Map<string, StreamMuxerFactory>();
    const socket = open(new RawDuplex(connection), [...muxers.keys(), NO_MUXER]);
    // Once the handshake is over, what fails closes the stream, which is how it is heard of.
    socket.on("error", () => undefined);
    try {
      await handshake(socket, options?.signal);
      const remotePeer = await identify(socket, options?.remotePeer);
      const { alpnProtocol } = socket;
      const streamMuxer = muxers.get(String(alpnProtocol));
      if (streamMuxer === undefined && alpnProtocol !== NO_MUXER) {
        throw new MeshError("PROTOCOL_VIOLATION", "no application protocol in common (ALPN)");
      }
      return {
        connection: new TlsStream(connection, socket),
        remotePeer,
        ...(streamMuxer === undefined ? {} : { streamMuxer }),
      };
    } catch (error) {
      socket.destroy();
      connection.abort(toMeshError(error));
      throw error;
    }
  }
}

/** Waits for the end of the handshake, whichever it is. */
async function handshake(socket: TLSSocket, signal?: AbortSignal): Promise<void> {
  const waiting = new AbortController();
  const given = signal === undefined ? waiting.signal : AbortSignal.any([signal, waiting.signal]);
  const closed = async (): Promise<never> => {
    await once(socket, "close", { signal: given });
    throw new MeshError("AUTH_FAILED", "the connection closed during the TLS handshake");
  };
  try {
    await Promise.race([once(socket, "secure", { signal: given }), closed()]);
  } finally {
    waiting.abort();
  }
}

/** Whom the handshake was with. */
async function identify(socket: TLSSocket, expected: PeerId | undefined): Promise<PeerId> {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) throw new MeshError("AUTH_FAILED", "the peer has no certificate");
  const remotePeer = await verifyCertificate(certificate.raw, Date.now());
  if (expected?.equals(remotePeer) === false) {
    throw new UnexpectedPeerError(
      `the address is of ${remotePeer.toString()}, not of ${expected.toString()}`,
    );
  }
  return remotePeer;
}
