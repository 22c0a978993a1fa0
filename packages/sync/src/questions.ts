// SPDX-License-Identifier: Apache-2.0
/**
 * What a node is asked in an `ask`, and what it says in the `answer`. Each is one deterministic CBOR array, `LIMITS.askBytes` at most.
 *
 * ```
 * [0, since: uint]                                 frontier  your heads, as far as they are not those of your answer number `since`; 0: all
 * [0, since: uint, true]                           frontier  the same, of who decides (hub): nothing that another hub has acknowledged is missing
 * [1, doc: tstr, key: tstr]                        read      the answer to reading a key (hub)
 * [2, request(16), doc: tstr, expected(16) or null, fact: bstr, within: uint]
 *                                                  set       write this fact if the key's version is the expected one, within so many milliseconds (hub)
 * [3]                                              roster    who is a member, and from where on chains do not count
 *
 * [0, number: uint, [ [replica(32), inc(16), seq] ... ]]     heads: of all that the log of record had when it was asked for
 * [1, fact: tstr or null]                                    the fact as JSON, see `VisibleFact`
 * [2, hlc, inc(16), seq, version(16)]                        it was made, in this batch of the hub's
 * [3, code: tstr, message: tstr, remedy: tstr or null]       why not; codes are those of `MeshError`
 * [4, records(16), devices, limits]                          see `roster-answer.ts`
 * ```
 */
import { decodeCbor, encodeCbor } from "@ctxmesh/codec";
import type { CborValue } from "@ctxmesh/codec";
import {
  ERROR_CODES,
  LIMITS,
  MeshError,
  fromHex,
  isHlc,
  parseDocumentName,
  parseIncarnationId,
  toHex,
} from "@ctxmesh/model";
import type { DocumentName, Hlc, IncarnationId, MeshErrorCode, VisibleFact } from "@ctxmesh/model";
import { arrayOf, bytesOf, chainOf, refuse, seqItem, tupleOf, uintOf } from "./message-parts.ts";
import type { ChainSeq } from "./message-parts.ts";
import type { Roster } from "@ctxmesh/replica";
import { rosterItems, rosterOf } from "./roster-answer.ts";

/** A question. */
export type Question =
  | {
      readonly kind: "frontier";
      readonly since: number;
      /** Whether only who decides may answer. */
      readonly decides?: boolean;
    }
  | { readonly kind: "roster" }
  | { readonly kind: "read"; readonly doc: DocumentName; readonly key: string }
  | {
      readonly kind: "set";
      /** Hex. */
      readonly request: string;
      readonly doc: DocumentName;
      /** Hex. */
      readonly expected: string | null;
      /** See `encodeProposed` of `@ctxmesh/replica`. */
      readonly fact: Uint8Array;
      readonly withinMs: number;
    };

/** An answer. */
export type Answer =
  | { readonly kind: "frontier"; readonly number: number; readonly heads: readonly ChainSeq[] }
  | { readonly kind: "read"; readonly fact: VisibleFact | undefined }
  | {
      readonly kind: "set";
      readonly hlc: Hlc;
      readonly incarnation: IncarnationId;
      readonly seq: number;
      readonly version: string;
    }
  | ({ readonly kind: "roster" } & Roster)
  | { readonly kind: "refused"; readonly error: MeshError };

const ID_BYTES = 16;
/** A grant in a roster has 20 bytes and 4 items. */
const BYTES_PER_ITEM = 4;
const parse = (bytes: Uint8Array): readonly CborValue[] =>
  arrayOf(decodeCbor(bytes, LIMITS.askBytes, "question or answer", BYTES_PER_ITEM), 6);

const textOf = (value: CborValue | undefined): string =>
  typeof value === "string" ? value : refuse("has no text where one belongs");

function frontierOf(items: readonly CborValue[]): Question {
  const since = uintOf(items[1], 0);
  if (items.length === 2) return { kind: "frontier", since };
  const [, , decides] = tupleOf(items, 3);
  return decides === true
    ? { kind: "frontier", since, decides }
    : refuse("has no true where one belongs");
}

/** The bytes of a question. */
export function encodeQuestion(question: Question): Uint8Array {
  switch (question.kind) {
    case "frontier":
      return encodeCbor([0, question.since, ...(question.decides === true ? [true] : [])]);
    case "read":
      return encodeCbor([1, question.doc, question.key]);
    case "set": {
      const { request, doc, expected, fact, withinMs } = question;
      const version = expected === null ? null : fromHex(expected);
      return encodeCbor([2, fromHex(request), doc, version, fact, withinMs]);
    }
    case "roster":
      return encodeCbor([3]);
  }
}

/** Parses an untrusted question. Throws `PROTOCOL_VIOLATION`, `FORMAT_INVALID`, `INPUT_INVALID`, `LIMIT_EXCEEDED`. */
export function decodeQuestion(bytes: Uint8Array): Question {
  const items = parse(bytes);
  switch (uintOf(items[0], 0)) {
    case 0:
      return frontierOf(items);
    case 1: {
      const [, doc, key] = tupleOf(items, 3);
      return { kind: "read", doc: parseDocumentName(textOf(doc)), key: textOf(key) };
    }
    case 2: {
      const [, request, doc, expected, fact, withinMs] = tupleOf(items, 6);
      return {
        kind: "set",
        request: toHex(bytesOf(request, ID_BYTES)),
        doc: parseDocumentName(textOf(doc)),
        expected: expected === null ? null : toHex(bytesOf(expected, ID_BYTES)),
        fact: bytesOf(fact),
        withinMs: uintOf(withinMs, 1),
      };
    }
    case 3:
      tupleOf(items, 1);
      return { kind: "roster" };
    default:
      return refuse("has a question of an unknown kind");
  }
}

/** The bytes of an answer. */
export function encodeAnswer(answer: Answer): Uint8Array {
  switch (answer.kind) {
    case "frontier":
      return encodeCbor([0, answer.number, answer.heads.map(seqItem)]);
    case "read":
      return encodeCbor([1, answer.fact === undefined ? null : JSON.stringify(answer.fact)]);
    case "set": {
      const { hlc, incarnation, seq, version } = answer;
      return encodeCbor([2, hlc, fromHex(incarnation), seq, fromHex(version)]);
    }
    case "roster":
      return encodeCbor([4, ...rosterItems(answer)]);
    case "refused": {
      const { code, message, remedy = null } = answer.error;
      return encodeCbor([3, code, message, remedy]);
    }
  }
}

/** What an answer has of a fact has to be there; what else it says is the hub's word. */
function factOf(text: string): VisibleFact {
  let fact: unknown;
  try {
    fact = JSON.parse(text);
  } catch {
    return refuse("has a fact that is not JSON");
  }
  const { version, value, ageMs, contested } = (fact ?? {}) as Partial<VisibleFact>;
  const isFact =
    typeof version === "string" &&
    value !== undefined &&
    typeof ageMs === "number" &&
    typeof contested === "boolean";
  return isFact ? (fact as VisibleFact) : refuse("has no fact where one belongs");
}

const isCode = (code: string): code is MeshErrorCode => Object.hasOwn(ERROR_CODES, code);

function refusalOf(items: readonly CborValue[]): MeshError {
  const [, code, message, remedy] = tupleOf(items, 4);
  const name = textOf(code);
  const text = textOf(message);
  if (!isCode(name))
    return new MeshError("PROTOCOL_VIOLATION", `the hub answered ${name}: ${text}`);
  return new MeshError(name, text, remedy === null ? {} : { remedy: textOf(remedy) });
}

/** Parses an untrusted answer. Throws as {@link decodeQuestion}. */
export function decodeAnswer(bytes: Uint8Array): Answer {
  const items = parse(bytes);
  switch (uintOf(items[0], 0)) {
    case 0: {
      const [, number, heads] = tupleOf(items, 3);
      const all = arrayOf(heads, LIMITS.frontierHeads).map((item) => {
        const parts = tupleOf(item, 3);
        return { ...chainOf(parts), seq: uintOf(parts[2], 0) };
      });
      return { kind: "frontier", number: uintOf(number, 1), heads: all };
    }
    case 1: {
      const [, fact] = tupleOf(items, 2);
      return { kind: "read", fact: fact === null ? undefined : factOf(textOf(fact)) };
    }
    case 2: {
      const [, hlc, incarnation, seq, version] = tupleOf(items, 5);
      const clock = uintOf(hlc, 1);
      return {
        kind: "set",
        hlc: isHlc(clock) ? clock : refuse("has a clock too large"),
        incarnation: parseIncarnationId(toHex(bytesOf(incarnation, 16))),
        seq: uintOf(seq, 1),
        version: toHex(bytesOf(version, ID_BYTES)),
      };
    }
    case 3:
      return { kind: "refused", error: refusalOf(items) };
    case 4:
      return { kind: "roster", ...rosterOf(items) };
    default:
      return refuse("has an answer of an unknown kind");
  }
}
