// SPDX-License-Identifier: Apache-2.0
/**
 * The batch: the only thing that crosses a trust boundary.
 *
 * ```
 * batch   = CBOR [ header: bstr, signature: bstr(64), [ body: bstr | null, ... ] ]     one per section; null: left out
 * header  = CBOR { v: 1, space: bstr(32), replica: bstr(32), inc: bstr(16), seq: uint (from 1),
 *                  prev: bstr(32) | null (null when seq = 1), hlc: uint, epoch: uint,
 *                  deps: [ bstr(32) ... ] (<= 32, sorted, unique), client: uint,
 *                  ? lane: 1 (high) | 2 (low),
 *                  sections: [ { doc: tstr, gen: uint, kind: "facts" | "rich", from: uint, to: uint,
 *                                bodyHash: bstr(32), bodyLen: uint, keyId: bstr(16) | null,
 *                                ? until: uint (facts only),
 *                                ? alias: uint, ? by: bstr(16) (both or none, rich only) } ... ] }
 * signed  = "ctxmesh/batch/v1\n" || header                                      Ed25519, key = replica
 * id      = SHA-256(header)
 * ```
 *
 * All CBOR is deterministic (see `cbor.ts`). The signature stands beside the header and covers only
 * the header, so a chain of headers verifies without its bodies, and no signature byte is ever part
 * of an id. `prev` is the id of the same incarnation's previous header; `deps` are the ids of other
 * chains' heads that the writer had applied and had not yet named. `client` is the Yjs client id of
 * the incarnation, 0 until it writes rich content. A section's facts have `from < seq <= to`; a rich
 * section's Yjs V1 update takes the client's clocks from `from` up to and without `to`. `keyId`
 * names the data key of an encrypted body; null means that it is not encrypted.
 *
 * A batch with a `lane` stands aside from the causal order, so that what is urgent need not wait for what is not: it holds
 * facts alone, which apply in any order, and names no `deps`. `until` says that nothing in a section is visible after that
 * time, Unix milliseconds: all its facts have a ttl, and what they replace ended no later. A body that is left out takes nothing from the
 * signature, which covers its hash.
 *
 * `alias` says that a gateway carries what somebody else's Yjs client made: the section's structs are that client's, which drew its
 * id itself, from 1 up to and without 2^32, and `from` and `to` are its clocks. `by` stands for the subject whose client it is, so that gateways let
 * nobody else write under that id; see {@link Section.by}.
 */
import {
  LIMITS,
  MeshError,
  isHlc,
  fromHex,
  parseDocumentName,
  parseDeviceKey,
  parseHeaderHash,
  parseIncarnationId,
  parseSpaceId,
  toHex,
} from "@ctxmesh/model";
import type {
  DeviceKey,
  DocumentName,
  HeaderHash,
  Hlc,
  IncarnationId,
  SpaceId,
} from "@ctxmesh/model";
import { MapReader, decodeCbor, encodeCbor } from "./cbor.ts";
import type { CborValue } from "./cbor.ts";
import { utf8Encode } from "./text.ts";

/** One document's part of a batch. */
export interface Section {
  readonly doc: DocumentName;
  /** Generation of the document; raised when it is re-founded to forget something. */
  readonly gen: number;
  readonly kind: "facts" | "rich";
  /** Facts: `from < seq <= to`. Rich: the client's clocks `from <= clock < to`, none when it only deletes. */
  readonly from: number;
  readonly to: number;
  /** SHA-256 of the body as carried. */
  readonly bodyHash: Uint8Array;
  readonly bodyLen: number;
  readonly keyId: Uint8Array | null;
  /** When the last of its facts expires, Unix milliseconds; absent when one does not, and for rich content. */
  readonly until?: number;
  /** The Yjs client that made the structs, where it is not the incarnation's own: 1 up to and without 2^32. */
  readonly alias?: number;
  /** With `alias`: 16 bytes that stand for whom the gateway knows the client by. They say who may go on with it, not who it is: gateways hash a name. */
  readonly by?: Uint8Array;
}

/** How urgent a batch is: what is in the high lane overtakes, what is in the low one waits; the usual ones are in neither. */
export type Lane = "high" | "low";

/** What a device signs. */
export interface Header {
  readonly space: SpaceId;
  readonly replica: DeviceKey;
  readonly incarnation: IncarnationId;
  /** Position in this incarnation's chain, from 1. */
  readonly seq: number;
  readonly prev: HeaderHash | null;
  /** At least the HLC of every fact in the batch, above every earlier header of the chain. */
  readonly hlc: Hlc;
  /** Policy epoch that the writer saw. */
  readonly epoch: number;
  readonly deps: readonly HeaderHash[];
  readonly client: number;
  readonly lane?: Lane;
  readonly sections: readonly Section[];
}

/** A batch in parts; `headerBytes` are the exact signed bytes. */
export interface Batch {
  readonly header: Header;
  readonly headerBytes: Uint8Array;
  readonly signature: Uint8Array;
  /** One per section; null where it is left out. */
  readonly bodies: readonly (Uint8Array | null)[];
}

const HEADER_NAMES = [
  "v",
  "space",
  "replica",
  "inc",
  "seq",
  "prev",
  "hlc",
  "epoch",
  "deps",
  "client",
  "sections",
] as const;
const SECTION_NAMES = ["doc", "gen", "kind", "from", "to", "bodyHash", "bodyLen", "keyId"] as const;
const LANES: readonly Lane[] = ["high", "low"];
/** Ids that Yjs draws by itself are below this. */
const ALIASES = 2 ** 32;
/** The shortest section has 92 bytes and 17 items. */
const HEADER_BYTES_PER_ITEM = 4;
const DOMAIN = utf8Encode("ctxmesh/batch/v1\n");

const invalid = (message: string, field: string): never => {
  throw new MeshError("FORMAT_INVALID", message, { field });
};

/** The deterministic bytes of a header. */
export function encodeHeader(header: Header): Uint8Array {
  return encodeCbor({
    v: 1,
    space: fromHex(header.space),
    replica: fromHex(header.replica),
    inc: fromHex(header.incarnation),
    seq: header.seq,
    prev: header.prev === null ? null : fromHex(header.prev),
    hlc: header.hlc,
    epoch: header.epoch,
    deps: header.deps.map((dep) => fromHex(dep)),
    client: header.client,
    ...(header.lane === undefined ? {} : { lane: LANES.indexOf(header.lane) + 1 }),
    sections: header.sections.map((section) => ({ ...section }) satisfies CborValue),
  });
}

function checkAlias({ kind, from, to, alias, by }: Section): void {
  if ((alias === undefined) !== (by === undefined)) {
    invalid("section.alias and section.by are there both, or neither", "section.by");
  }
  if (alias === undefined) return;
  if (kind !== "rich" || from >= to) {
    invalid("section.alias is for rich content with structs", "section.alias");
  }
  if (alias === 0 || alias >= ALIASES) invalid("section.alias is out of range", "section.alias");
}

function decodeSection(value: CborValue): Section {
  const read = new MapReader(value, SECTION_NAMES, "section", ["until", "alias", "by"]);
  const kind = read.text("kind");
  if (kind !== "facts" && kind !== "rich")
    return invalid(`section.kind "${kind.slice(0, 20)}" is not known`, "kind");
  const section: Section = {
    doc: parseDocumentName(read.text("doc")),
    gen: read.uint("gen"),
    kind,
    from: read.uint("from"),
    to: read.uint("to"),
    bodyHash: read.bytes("bodyHash", 32),
    bodyLen: read.uint("bodyLen"),
    keyId: read.bytesOrNull("keyId", 16),
    ...(read.has("until") ? { until: read.uint("until") } : {}),
    ...(read.has("alias") ? { alias: read.uint("alias") } : {}),
    ...(read.has("by") ? { by: read.bytes("by", 16) } : {}),
  };
  checkAlias(section);
  if (kind === "rich" && section.until !== undefined) {
    invalid("section.until is for facts", "section.until");
  }
  if (kind === "facts" ? section.from >= section.to : section.from > section.to) {
    invalid("section.from is not below section.to", "section.from");
  }
  return section;
}

function decodeDeps(read: MapReader): HeaderHash[] {
  const deps = read.array("deps", LIMITS.depsPerBatch).map((dep) => {
    if (!(dep instanceof Uint8Array)) return invalid("header.deps holds no bytes", "header.deps");
    return parseHeaderHash(toHex(dep));
  });
  const ascending = deps.every((dep, i) => i === 0 || (deps[i - 1] ?? "") < dep);
  if (!ascending) invalid("header.deps is not sorted and unique", "header.deps");
  return deps;
}

/** The lane of a header, whose content it binds: facts alone, nothing named, no Yjs client. */
function decodeLane(
  read: MapReader,
  deps: readonly HeaderHash[],
  client: number,
  sections: readonly Section[],
): Lane {
  const lane = LANES[read.uint("lane") - 1];
  if (lane === undefined) return invalid("header.lane is not known", "header.lane");
  if (deps.length > 0 || client !== 0 || sections.some(({ kind }) => kind !== "facts")) {
    return invalid("a header with a lane holds more than facts, or names others", "header.lane");
  }
  return lane;
}

/** Parses untrusted header bytes. Throws `FORMAT_INVALID`, `LIMIT_EXCEEDED` or `INPUT_INVALID`. */
export function decodeHeader(bytes: Uint8Array): Header {
  const read = new MapReader(
    decodeCbor(bytes, LIMITS.batchBytes, "header", HEADER_BYTES_PER_ITEM),
    HEADER_NAMES,
    "header",
    ["lane"],
  );
  if (read.uint("v") !== 1) invalid("header.v is not 1", "header.v");
  const seq = read.uint("seq");
  const prev = read.bytesOrNull("prev", 32);
  if (seq < 1 || (prev === null) !== (seq === 1)) {
    invalid("header.prev must be null exactly when header.seq is 1", "header.prev");
  }
  const hlc = read.uint("hlc");
  if (!isHlc(hlc)) return invalid("header.hlc is out of range", "header.hlc");
  const sections = read.array("sections", LIMITS.sectionsPerBatch).map(decodeSection);
  if (sections.length === 0) invalid("header.sections is empty", "header.sections");
  if (new Set(sections.map(({ doc, kind }) => `${kind} ${doc}`)).size !== sections.length) {
    invalid("header.sections names a document's part twice", "header.sections");
  }
  const deps = decodeDeps(read);
  const client = read.uint("client");
  const lane = read.has("lane") ? decodeLane(read, deps, client, sections) : undefined;
  return {
    space: parseSpaceId(toHex(read.bytes("space", 32))),
    replica: parseDeviceKey(toHex(read.bytes("replica", 32))),
    incarnation: parseIncarnationId(toHex(read.bytes("inc", 16))),
    seq,
    prev: prev === null ? null : parseHeaderHash(toHex(prev)),
    hlc,
    epoch: read.uint("epoch"),
    deps,
    client,
    ...(lane === undefined ? {} : { lane }),
    sections,
  };
}

/** The bytes that a device signs for a header: a domain tag, then the header. */
export function headerSigningInput(headerBytes: Uint8Array): Uint8Array {
  const input = new Uint8Array(DOMAIN.length + headerBytes.length);
  input.set(DOMAIN);
  input.set(headerBytes, DOMAIN.length);
  return input;
}

/** The bytes of a batch. */
export const encodeBatch = (batch: Omit<Batch, "header">): Uint8Array =>
  encodeCbor([batch.headerBytes, batch.signature, batch.bodies]);

/** The byte that CBOR writes for null. */
const CBOR_NULL = 0xf6;
/** The greatest length that is written with no, 1, 2 and 4 bytes of its own behind the initial byte. */
const SHORTEST = [23, 0xff, 0xffff, 0xffff_ffff] as const;

/**
 * Reads the CBOR around header, signature and bodies, item by item. A general decoder would first make an
 * object of each of a quarter of a million empty bodies.
 */
class EnvelopeReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** The argument of an item of this major type, in its shortest form. */
  #argument(major: number, field: string): number {
    const initial = this.#bytes[this.#at] ?? 0;
    const low = initial & 31;
    const form = low < 24 ? 0 : low - 23;
    if (this.atEnd || initial >>> 5 !== major || form > 3)
      return invalid(`batch: no ${field}`, field);
    const size = form === 0 ? 0 : 2 ** (form - 1);
    let argument = form === 0 ? low : 0;
    for (let i = 1; i <= size; i++) argument = argument * 256 + (this.#bytes[this.#at + i] ?? 0);
    if (form > 0 && argument <= (SHORTEST[form - 1] ?? 0)) {
      return invalid(`batch: the length of ${field} is longer than it need be`, field);
    }
    this.#at += 1 + size;
    return argument;
  }

  /** How many items an array has. */
  array(field: string): number {
    return this.#argument(4, field);
  }

  /** A copy of a byte string, or null. */
  bytesOrNull(field: string): Uint8Array | null {
    if (this.#bytes[this.#at] !== CBOR_NULL) return this.bytes(field);
    this.#at++;
    return null;
  }

  /** A copy of a byte string. */
  bytes(field: string): Uint8Array {
    const length = this.#argument(2, field);
    if (length > this.#bytes.length - this.#at) return invalid(`batch: ${field} ends early`, field);
    this.#at += length;
    // Not slice, which is a view if these are a Buffer's.
    return new Uint8Array(this.#bytes.subarray(this.#at - length, this.#at));
  }
}

/**
 * Parses untrusted batch bytes; nothing is verified yet. Throws `LIMIT_EXCEEDED` over `most`
 * (by default `LIMITS.batchBytes`), else `FORMAT_INVALID` or `INPUT_INVALID`.
 */
export function decodeBatch(bytes: Uint8Array, most: number = LIMITS.batchBytes): Batch {
  if (bytes.length > most) {
    throw new MeshError(
      "LIMIT_EXCEEDED",
      `batch has ${String(bytes.length)} bytes, the limit is ${String(most)}`,
      { field: "batch" },
    );
  }
  const read = new EnvelopeReader(bytes);
  if (read.array("batch") !== 3) return invalid("batch has not 3 parts", "batch");
  const headerBytes = read.bytes("header");
  const signature = read.bytes("signature");
  if (signature.length !== 64) return invalid("signature is not 64 bytes", "signature");
  const header = decodeHeader(headerBytes);
  if (read.array("bodies") !== header.sections.length) {
    return invalid("batch has not one body per section", "bodies");
  }
  const bodies = header.sections.map(() => read.bytesOrNull("body"));
  if (!read.atEnd) return invalid("bytes follow the batch", "batch");
  return { header, headerBytes, signature, bodies };
}
