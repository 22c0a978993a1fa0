// SPDX-License-Identifier: Apache-2.0
/** As much of DER (ITU-T X.690) as an X.509 certificate takes: elements with tags of one byte and lengths of up to 65,535. */
import { MeshError } from "@ctxmesh/model";

/** Tags of ASN.1 types that certificates are made of. */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
  /** `[0]` and `[3]`, explicit: version and extensions. */
  version: 0xa0,
  extensions: 0xa3,
} as const;

/** One element. */
export interface DerElement {
  readonly tag: number;
  readonly content: Uint8Array;
  /** Tag, length and content. */
  readonly raw: Uint8Array;
}

const LONG_FORM = 0x80;
const MORE_TAG_BYTES = 0x1f;

/** Encodes one element from its content in parts. */
export function encodeElement(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  if (length < LONG_FORM) return Buffer.concat([Uint8Array.of(tag, length), content]);
  const bytes = length < 0x100 ? [length] : [length >> 8, length & 0xff];
  return Buffer.concat([Uint8Array.of(tag, LONG_FORM | bytes.length, ...bytes), content]);
}

/** Reads the elements that bytes consist of. Throws `FORMAT_INVALID` for anything but DER. */
export function readElements(bytes: Uint8Array): DerElement[] {
  const elements: DerElement[] = [];
  for (let at = 0; at < bytes.length;) {
    const element = readElement(bytes.subarray(at));
    elements.push(element);
    at += element.raw.length;
  }
  return elements;
}

/** Reads the one element that bytes consist of, which has this tag. Throws `FORMAT_INVALID`. */
export function readOnly(bytes: Uint8Array, tag: number): DerElement {
  const [element, ...rest] = readElements(bytes);
  if (element === undefined || rest.length > 0) throw malformed("one element");
  return expectTag(element, tag);
}

/** The element itself when it has this tag. Throws `FORMAT_INVALID`. */
export function expectTag(element: DerElement | undefined, tag: number): DerElement {
  if (element?.tag !== tag) throw malformed(`an element with the tag ${String(tag)}`);
  return element;
}

function readElement(bytes: Uint8Array): DerElement {
  const [tag = 0, first = 0] = bytes;
  if (bytes.length < 2 || (tag & MORE_TAG_BYTES) === MORE_TAG_BYTES) throw malformed("a short tag");
  const lengthBytes = first < LONG_FORM ? 0 : first - LONG_FORM;
  const start = 2 + lengthBytes;
  if (first === LONG_FORM || lengthBytes > 2 || bytes.length < start) throw malformed("a length");
  const length =
    lengthBytes === 0 ? first : bytes.subarray(2, start).reduce((sum, byte) => sum * 256 + byte, 0);
  const shortest = length < LONG_FORM ? 0 : length < 0x100 ? 1 : 2;
  if (lengthBytes !== shortest) throw malformed("the shortest form of a length");
  if (bytes.length < start + length) throw malformed(`${String(length)} bytes of content`);
  return {
    tag,
    content: bytes.subarray(start, start + length),
    raw: bytes.subarray(0, start + length),
  };
}

const malformed = (expected: string): MeshError =>
  new MeshError("FORMAT_INVALID", `a certificate is not DER: ${expected} was expected`);
