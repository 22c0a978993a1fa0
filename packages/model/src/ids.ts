// SPDX-License-Identifier: Apache-2.0
/**
 * Identities. In memory every id is lower-case hex (a cheap, comparable map key); on the wire
 * and in the store it is the raw bytes. The brands keep one kind from passing as another.
 */
import { MeshError } from "./errors.ts";

/** SHA-256 of a space's signed genesis record: 32 bytes, 64 hex digits. */
export type SpaceId = string & { readonly __brand: "SpaceId" };
/** A device's Ed25519 public key, which names its replica and its fact slots: 32 bytes, 64 hex digits. */
export type DeviceKey = string & { readonly __brand: "DeviceKey" };
/** One process life of a replica, random at every start: 16 bytes, 32 hex digits. */
export type IncarnationId = string & { readonly __brand: "IncarnationId" };
/** SHA-256 of a batch's header bytes (the signature is not part of it): 32 bytes, 64 hex digits. */
export type HeaderHash = string & { readonly __brand: "HeaderHash" };
/** SHA-256 of a membership act's bytes (the signature is not part of it): 32 bytes, 64 hex digits. */
export type ActId = string & { readonly __brand: "ActId" };
/** A document's path inside its space, such as `line-2/press-7`. */
export type DocumentName = string & { readonly __brand: "DocumentName" };

const HEX_64 = /^[0-9a-f]{64}$/u;
const HEX_32 = /^[0-9a-f]{32}$/u;
const DOCUMENT_SEGMENT = /^[A-Za-z0-9][A-Za-z0-9._-]*$/u;
const MAX_DOCUMENT_NAME_LENGTH = 200;

function parseHex<Id extends string>(text: string, pattern: RegExp, kind: string): Id {
  if (!pattern.test(text)) {
    throw new MeshError(
      "INPUT_INVALID",
      `malformed ${kind}: ${JSON.stringify(text.slice(0, 80))}`,
      {
        field: kind,
      },
    );
  }
  return text as Id;
}

/** Parses untrusted text as a {@link SpaceId}. Throws `INPUT_INVALID`. */
export const parseSpaceId = (text: string): SpaceId => parseHex(text, HEX_64, "space id");
/** Parses untrusted text as a {@link DeviceKey}. Throws `INPUT_INVALID`. */
export const parseDeviceKey = (text: string): DeviceKey => parseHex(text, HEX_64, "device key");
/** Parses untrusted text as an {@link IncarnationId}. Throws `INPUT_INVALID`. */
export const parseIncarnationId = (text: string): IncarnationId =>
  parseHex(text, HEX_32, "incarnation id");
/** Parses untrusted text as a {@link HeaderHash}. Throws `INPUT_INVALID`. */
export const parseHeaderHash = (text: string): HeaderHash => parseHex(text, HEX_64, "header hash");
/** Parses untrusted text as an {@link ActId}. Throws `INPUT_INVALID`. */
export const parseActId = (text: string): ActId => parseHex(text, HEX_64, "act id");

/**
 * Parses untrusted text as a {@link DocumentName}: segments of `[A-Za-z0-9._-]` that start with a
 * letter or digit, joined by `/`, 200 characters at most. Throws `INPUT_INVALID`.
 */
export function parseDocumentName(text: string): DocumentName {
  const wellFormed =
    text.length <= MAX_DOCUMENT_NAME_LENGTH &&
    text.split("/").every((segment) => DOCUMENT_SEGMENT.test(segment));
  if (!wellFormed) {
    throw new MeshError(
      "INPUT_INVALID",
      `malformed document name: ${JSON.stringify(text.slice(0, 80))}; use segments of letters, digits, "." "_" "-" joined by "/", at most ${String(MAX_DOCUMENT_NAME_LENGTH)} characters`,
      { field: "doc" },
    );
  }
  return text as DocumentName;
}

const DIGITS: Uint8Array = Uint8Array.from("0123456789abcdef", (digit) => digit.charCodeAt(0));
/** So many bytes become text at once: an id, or a signature. */
const PIECE_BYTES = 64;

// In one go, since a text that is put together of many pieces keeps all of them.
function hexOf(piece: Uint8Array): string {
  const codes: number[] = [];
  for (const byte of piece) codes.push(DIGITS[byte >>> 4] ?? 0, DIGITS[byte & 15] ?? 0);
  return String.fromCharCode(...codes);
}

/** Bytes as lower-case hex. */
export function toHex(bytes: Uint8Array): string {
  if (bytes.length <= PIECE_BYTES) return hexOf(bytes);
  let text = "";
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    text += hexOf(bytes.subarray(at, at + PIECE_BYTES));
  }
  return text;
}

/** The value of each lower-case hex digit by its character code; 255 for everything else. */
const DIGIT_VALUES: Uint8Array = Uint8Array.from({ length: 128 }, (_, code) => {
  const value = "0123456789abcdef".indexOf(String.fromCharCode(code));
  return value < 0 ? 255 : value;
});

/** Bytes of lower-case hex. Throws `INPUT_INVALID` on anything else. */
export function fromHex(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length >>> 1);
  let bad = text.length & 1;
  for (let i = 0; i < bytes.length; i++) {
    const high = DIGIT_VALUES[text.charCodeAt(2 * i)] ?? 255;
    const low = DIGIT_VALUES[text.charCodeAt(2 * i + 1)] ?? 255;
    bad |= (high | low) & 0xf0;
    bytes[i] = (high << 4) | low;
  }
  if (bad !== 0) {
    throw new MeshError("INPUT_INVALID", `malformed hex of length ${String(text.length)}`);
  }
  return bytes;
}
