// SPDX-License-Identifier: Apache-2.0
/**
 * What a seal states: an in-toto Statement v1 about one snapshot, as canonical JSON (RFC 8785).
 *
 * ```
 * {"_type":"https://in-toto.io/Statement/v1","predicateType":"https://ctxmesh.dev/snapshot/v1",
 *  "subject":[{"name":"ctxmesh://<space>@<sequence>","digest":{"sha256":"<hex of the snapshot root>"}}],
 *  "predicate":{"hub":hex32,"space":hex32,"sequence":uint from 1,"previous":hex32|null,"leaves":uint,
 *    "frontier":[{"replica":hex32,"incarnation":hex16,"seq":uint,"hash":hex32}...],
 *    "policyEpoch":uint,"asOf":hlc,"sealedAt":Unix ms,"formatVersion":1}}
 * ```
 *
 * `previous` is the SHA-256 of the space's previous envelope, null exactly when `sequence` is 1.
 * `frontier` is sorted by replica, then incarnation, each once. `leaves` is the size of the tree.
 */
import { canonicalJson, parseCanonicalJson, utf8Decode, utf8Encode } from "@ctxmesh/codec";
import {
  LIMITS,
  isHlc,
  parseDeviceKey,
  parseHeaderHash,
  parseIncarnationId,
  parseSpaceId,
} from "@ctxmesh/model";
import type { DeviceKey, HeaderHash, Hlc, IncarnationId, JsonValue, SpaceId } from "@ctxmesh/model";
import { malformed, readArray, readInteger, readMembers, readText } from "./read.ts";

/** DSSE payload type of an in-toto statement. */
export const STATEMENT_PAYLOAD_TYPE = "application/vnd.in-toto+json";

const STATEMENT_TYPE = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE = "https://ctxmesh.dev/snapshot/v1";
const FORMAT_VERSION = 1;
const HEX_64 = /^[0-9a-f]{64}$/u;

/** The newest header of one chain that a snapshot covers. */
export interface FrontierHead {
  readonly replica: DeviceKey;
  readonly incarnation: IncarnationId;
  readonly seq: number;
  readonly hash: HeaderHash;
}

/** The content of a seal. */
export interface SnapshotStatement {
  /** Root of the salted leaves, 64 hex digits. */
  readonly root: string;
  /** Number of leaves. */
  readonly leaves: number;
  /** Device key of the sealing hub. */
  readonly hub: DeviceKey;
  readonly space: SpaceId;
  /** Position among the seals of the space, from 1. */
  readonly sequence: number;
  /** SHA-256 of the previous envelope's bytes, 64 hex digits; null exactly for the first. */
  readonly previous: string | null;
  readonly frontier: readonly FrontierHead[];
  readonly policyEpoch: number;
  /** The HLC at which domination and expiry were judged. */
  readonly asOf: Hlc;
  /** Unix milliseconds by the hub's clock. */
  readonly sealedAt: number;
}

const byChain = (head: FrontierHead): string => head.replica + head.incarnation;

/** The frontier in the order in which it is signed. */
export const sortFrontier = (frontier: readonly FrontierHead[]): FrontierHead[] =>
  frontier.toSorted((a, b) => (byChain(a) < byChain(b) ? -1 : 1));

/** The payload bytes of a statement. The frontier is put in order. */
export function encodeStatement(statement: SnapshotStatement): Uint8Array {
  const { root, frontier, ...predicate } = statement;
  const value: JsonValue = {
    _type: STATEMENT_TYPE,
    predicateType: PREDICATE_TYPE,
    subject: [
      {
        name: `ctxmesh://${statement.space}@${String(statement.sequence)}`,
        digest: { sha256: root },
      },
    ],
    predicate: {
      ...predicate,
      frontier: sortFrontier(frontier).map(({ replica, incarnation, seq, hash }) => ({
        replica,
        incarnation,
        seq,
        hash,
      })),
      formatVersion: FORMAT_VERSION,
    },
  };
  return utf8Encode(canonicalJson(value));
}

const readHex = (value: JsonValue, what: string): string => {
  const text = readText(value, what);
  return HEX_64.test(text) ? text : malformed(`${what} is not 64 lower-case hex digits`);
};

function readFrontier(value: JsonValue): FrontierHead[] {
  const heads = readArray(value, LIMITS.frontierHeads, "predicate.frontier").map((item, i) => {
    const what = `predicate.frontier[${String(i)}]`;
    const head = readMembers(item, ["hash", "incarnation", "replica", "seq"], what);
    return {
      replica: parseDeviceKey(readText(head.replica, `${what}.replica`)),
      incarnation: parseIncarnationId(readText(head.incarnation, `${what}.incarnation`)),
      seq: readInteger(head.seq, 1, `${what}.seq`),
      hash: parseHeaderHash(readText(head.hash, `${what}.hash`)),
    };
  });
  const ascending = heads.every((head, i) => {
    const before = heads[i - 1];
    return before === undefined || byChain(before) < byChain(head);
  });
  return ascending ? heads : malformed("predicate.frontier is not sorted and unique");
}

/** Parses the payload bytes of a statement. Throws `FORMAT_INVALID`, `INPUT_INVALID` or `LIMIT_EXCEEDED`. */
export function parseStatement(payload: Uint8Array): SnapshotStatement {
  const value = parseCanonicalJson(utf8Decode(payload), "statement");
  const top = readMembers(value, ["_type", "predicate", "predicateType", "subject"], "statement");
  if (top["_type"] !== STATEMENT_TYPE) malformed(`statement._type is not ${STATEMENT_TYPE}`);
  if (top.predicateType !== PREDICATE_TYPE) {
    malformed(`statement.predicateType is not ${PREDICATE_TYPE}`);
  }
  const subjects = readArray(top.subject, 1, "statement.subject");
  const subject = readMembers(subjects[0], ["digest", "name"], "statement.subject[0]");
  const digest = readMembers(subject.digest, ["sha256"], "statement.subject[0].digest");
  const names = ["asOf", "formatVersion", "frontier", "hub", "leaves", "policyEpoch"] as const;
  const more = ["previous", "sealedAt", "sequence", "space"] as const;
  const predicate = readMembers(top.predicate, [...names, ...more], "predicate");
  if (predicate.formatVersion !== FORMAT_VERSION) malformed("predicate.formatVersion is not 1");
  const sequence = readInteger(predicate.sequence, 1, "predicate.sequence");
  if ((predicate.previous === null) !== (sequence === 1)) {
    malformed("predicate.previous must be null exactly when predicate.sequence is 1");
  }
  const space = parseSpaceId(readText(predicate.space, "predicate.space"));
  if (subject.name !== `ctxmesh://${space}@${String(sequence)}`) {
    malformed("statement.subject[0].name does not name the predicate's space and sequence");
  }
  const { asOf } = predicate;
  return {
    root: readHex(digest.sha256, "statement.subject[0].digest.sha256"),
    leaves: readInteger(predicate.leaves, 0, "predicate.leaves"),
    hub: parseDeviceKey(readText(predicate.hub, "predicate.hub")),
    space,
    sequence,
    previous: predicate.previous === null ? null : readHex(predicate.previous, "previous"),
    frontier: readFrontier(predicate.frontier),
    policyEpoch: readInteger(predicate.policyEpoch, 0, "predicate.policyEpoch"),
    asOf: isHlc(asOf) ? asOf : malformed("predicate.asOf is not an HLC"),
    sealedAt: readInteger(predicate.sealedAt, 0, "predicate.sealedAt"),
  };
}
