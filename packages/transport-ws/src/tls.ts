// SPDX-License-Identifier: Apache-2.0
/** What is known of a TLS connection, and how a client makes one. */
import { X509Certificate, createPrivateKey } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { TLSSocket } from "node:tls";
import type { ConnectionOptions } from "node:tls";
import { MeshError, toHex } from "@ctxmesh/model";
import type { ChannelSecurity } from "@ctxmesh/model";

/** How a client protects connections to `wss:` URLs. Certificates are PEM. */
export interface HubTls {
  /** Who may vouch for hubs; those of the runtime by default. */
  readonly ca?: string;
  /** What to show to hubs that ask: see {@link deviceIdentity}. */
  readonly identity?: { readonly cert: string; readonly key: string };
  /** Whether a hub without the hybrid group is not connected to, nor one without TLS. */
  readonly requirePq?: boolean;
}

type Group = ChannelSecurity["keyExchange"];

const HYBRID_GROUP: Group = "X25519MLKEM768";
const CLASSICAL_GROUP: Group = "X25519";
/** Numbers of the groups (IANA, TLS Supported Groups). */
const GROUPS: ReadonlyMap<number, Group> = new Map([
  [0x11ec, HYBRID_GROUP],
  [0x001d, CLASSICAL_GROUP],
]);

/** Settings of a client's connection. */
export function connectionOptions({ ca, identity, requirePq = false }: HubTls): ConnectionOptions {
  return {
    ...(ca === undefined ? {} : { ca }),
    ...identity,
    minVersion: "TLSv1.3",
    ...(requirePq ? { ecdhCurve: HYBRID_GROUP } : {}),
  };
}

/** PKCS #8 of an Ed25519 seed (RFC 8410, 7) without the seed. */
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");

/** A certificate of a device with its key. Throws `KEY_INVALID` for one of another key. */
export function deviceIdentity(cert: string, seed: Uint8Array): { cert: string; key: string } {
  const der = Buffer.concat([PKCS8_PREFIX, seed]);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  let isOurs = false;
  try {
    isOurs = new X509Certificate(cert).checkPrivateKey(key);
  } catch (cause) {
    throw new MeshError("KEY_INVALID", "the client certificate can't be read", {
      field: "hubTls.cert",
      cause,
    });
  }
  if (isOurs) return { cert, key: key.export({ type: "pkcs8", format: "pem" }).toString() };
  throw new MeshError("KEY_INVALID", "the client certificate is not of this device's key", {
    field: "hubTls.cert",
    remedy: "have a certificate made for the public key of this device",
  });
}

/** The device key, hex, that a certificate's key is; undefined for a key of another kind. */
function deviceKeyOf(key: KeyObject): string | undefined {
  if (key.asymmetricKeyType !== "ed25519") return undefined;
  const { x = "" } = key.export({ format: "jwk" });
  return toHex(Buffer.from(x, "base64url"));
}

/** The certificate that a client has shown. */
export interface ShownCertificate {
  /** The device, hex, whose key it is of; undefined for a key that no device can have. */
  readonly device: string | undefined;
  /** Whether an authority that the server knows vouches for it. */
  readonly isAuthorized: boolean;
}

/** The certificate that the other end of a connection has shown; undefined without one. */
export function shownCertificate(socket: unknown): ShownCertificate | undefined {
  const certificate = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
  if (certificate === undefined) return undefined;
  const { authorized } = socket as TLSSocket;
  return { device: deviceKeyOf(certificate.publicKey), isAuthorized: authorized };
}

/** What protects a connection, as negotiated; undefined without TLS, or where that can't be told. */
export function securityOf(socket: unknown): ChannelSecurity | undefined {
  if (!(socket instanceof TLSSocket) || socket.getProtocol() !== "TLSv1.3") return undefined;
  const keyExchange = groupOf(socket);
  return keyExchange === undefined ? undefined : { protocol: "TLS 1.3", keyExchange };
}

function groupOf(socket: TLSSocket): Group | undefined {
  const info = socket.getEphemeralKeyInfo();
  // A server is told nothing by that; what it keeps of a session names the group, too.
  if (info === null || !("name" in info)) return groupOfSession(socket.getSession());
  return [HYBRID_GROUP, CLASSICAL_GROUP].find((group) => group === info.name);
}

const SEQUENCE = 0x30;
const INTEGER = 0x02;
/** `kex_group [19] EXPLICIT INTEGER` of OpenSSL's `SSL_SESSION` (its `ssl_asn1.c`, since 3.0). */
const KEX_GROUP = 0xb3;

/** The group in a session as OpenSSL encodes it, in DER; undefined where there is none that is known. */
export function groupOfSession(session: Uint8Array | undefined): Group | undefined {
  const fields = membersOf(session ?? new Uint8Array()).find(({ tag }) => tag === SEQUENCE);
  const field = membersOf(fields?.content ?? new Uint8Array()).find(({ tag }) => tag === KEX_GROUP);
  const [number] = membersOf(field?.content ?? new Uint8Array());
  if (number?.tag !== INTEGER) return undefined;
  return GROUPS.get(number.content.reduce((sum, byte) => sum * 256 + byte, 0));
}

interface Member {
  readonly tag: number;
  readonly content: Uint8Array;
}

/** The elements that DER consists of, up to where it is none. */
function membersOf(bytes: Uint8Array): readonly Member[] {
  const members: Member[] = [];
  for (let at = 0; at + 2 <= bytes.length;) {
    const [tag = 0, first = 0] = bytes.subarray(at);
    const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
    const start = at + 2 + lengthBytes;
    const length = bytes.subarray(at + 2, start).reduce((sum, byte) => sum * 256 + byte, 0);
    const end = start + (lengthBytes === 0 ? first : length);
    if (lengthBytes > 3 || end > bytes.length) break;
    members.push({ tag, content: bytes.subarray(start, end) });
    at = end;
  }
  return members;
}
