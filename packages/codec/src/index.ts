// SPDX-License-Identifier: Apache-2.0
/** Canonical bytes: deterministic CBOR, canonical JSON, batches and bodies. */
export {
  decodeBatch,
  decodeHeader,
  encodeBatch,
  encodeHeader,
  headerSigningInput,
} from "./batch.ts";
export type { Batch, Header, Lane, Section } from "./batch.ts";
export { batchLane, batchPlace } from "./batch-place.ts";
export type { BatchPlace } from "./batch-place.ts";
export { decodeBody, encodeBody, unpackedBytes } from "./body.ts";
export { MapReader, decodeCbor, encodeCbor } from "./cbor.ts";
export type { CborValue } from "./cbor.ts";
export { isSurelyCanonical } from "./canonical-bytes.ts";
export { assertJsonValue, canonicalJson, parseCanonicalJson } from "./json.ts";
export { fromBase64, toBase64, utf8Decode, utf8Encode } from "./text.ts";
export {
  ROLES,
  actSigningInput,
  decodeAct,
  decodeGenesis,
  decodeSignedRecord,
  encodeAct,
  encodeGenesis,
  encodeSignedRecord,
  genesisSigningInput,
} from "./membership.ts";
export type {
  Act,
  ActBase,
  Genesis,
  GrantAct,
  InviteAct,
  PolicyAct,
  RevokeAct,
  RevokedHead,
  Role,
  SchemaAct,
  Service,
  SignedRecord,
} from "./membership.ts";
