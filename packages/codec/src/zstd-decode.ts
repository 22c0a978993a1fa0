// SPDX-License-Identifier: Apache-2.0
/**
 * Decodes zstd frames (RFC 8878), the same at all nodes. The decoders of zstd itself are made for what its compressors make, and don't agree
 * about what is damaged: the fast one does not look whether Huffman streams are used up, and makes other bytes of them than the one for 32 bits;
 * versions look differently at the end of sequences, at the lengths of blocks and at offsets. What one node takes, another one would refuse, or
 * read differently, from the same signed bytes. This one takes what the RFC allows, and of that what our compressors make.
 */
import { LIMITS } from "@ctxmesh/model";
import {
  Bits,
  corrupt,
  fseTable,
  little,
  oneSymbol,
  readFseTable,
  readHuffman,
  readHuffmanTable,
} from "./zstd-entropy.ts";
import type { FseTable, HuffmanTable } from "./zstd-entropy.ts";
import { frameHead } from "./zstd-frame.ts";

/** The most that a block has, in bytes (RFC 8878, 3.1.1.2.4). */
const BLOCK_BYTES = 131_072;
const BLOCK_HEADER_BYTES = 3;
/** A frame has no more blocks than so many, and one for so much of its content: each may bring tables, which take their time. Compressors split off 8 KiB at least. */
const BLOCKS = 8;
const BYTES_PER_BLOCK = 1_024;
/** Types of blocks and, but for the last, of literals (RFC 8878, 3.1.1.2.2 and 3.1.1.3.1.1). */
const [RAW, RLE, COMPRESSED, TREELESS] = [0, 1, 2, 3] as const;
/** Bytes of the header of literals that are not compressed, and of those that are with the bits of both their sizes, by size format. */
const PLAIN_HEADER_BYTES = [1, 2, 1, 3] as const;
const PACKED_HEADER_BYTES = [3, 3, 4, 5] as const;
const PACKED_SIZE_BITS = [10, 10, 14, 18] as const;
const ONE_STREAM = 0;
const STREAMS = 4;
/** Literals in four streams are no fewer. */
const FOUR_STREAMS_LEAST = 6;
/** Of the lengths of the first three streams. */
const JUMP_BYTES = 6;
/** From so many bytes on a copy at once takes less time than one by one. */
const COPY_AT_ONCE = 24;
/** No offset that may be has more. */
const OFFSET_BITS = 24;

/** What a code of a sequence has: the lowest value of each code, and how many bits are added. */
interface Codes {
  readonly bases: Int32Array;
  readonly extra: Uint8Array;
  readonly mostLog: number;
  readonly standard: FseTable;
}

/** Each value begins where the one before it ends. */
function codes(
  first: number,
  extra: readonly number[],
  mostLog: number,
  standard: FseTable,
): Codes {
  let base = first;
  const bases = extra.map((bits) => {
    const value = base;
    base += 2 ** bits;
    return value;
  });
  return { bases: Int32Array.from(bases), extra: Uint8Array.from(extra), mostLog, standard };
}

const zeros = (count: number): number[] => Array.from({ length: count }, () => 0);

/** RFC 8878, 3.1.1.3.2.1.1 and 3.1.1.3.2.2. */
const LITERAL_LENGTHS = codes(
  0,
  [...zeros(16), 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
  9,
  fseTable(
    6,
    [
      4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1,
      1, -1, -1, -1, -1,
    ],
  ),
);
const MATCH_LENGTHS = codes(
  3,
  [...zeros(32), 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
  9,
  fseTable(
    6,
    [
      1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
      1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
    ],
  ),
);
/** An offset's code is how many bits are added to `2 ** code`. */
const OFFSETS = codes(
  1,
  Array.from({ length: 32 }, (_, code) => code),
  8,
  fseTable(
    5,
    [1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1],
  ),
);

/** What blocks of a frame hand on to the next one. */
interface FrameState {
  readonly out: Uint8Array;
  readonly dictionary: Uint8Array;
  /** Bytes of `out` that are made. */
  at: number;
  huffman: HuffmanTable | undefined;
  literalLengths: FseTable | undefined;
  offsets: FseTable | undefined;
  matchLengths: FseTable | undefined;
  readonly repeated: [number, number, number];
}

/**
 * The content of exactly one frame, with the dictionary that it was compressed with: raw content, which is not named. The frame is one segment and says how
 * long its content is, `LIMITS.bodyBytes` at most, and has no checksum: as compressors make it that get a payload at once. Throws for whatever else.
 */
export function decodeZstd(
  frame: Uint8Array,
  dictionary: Uint8Array = new Uint8Array(),
): Uint8Array {
  const { headerBytes, contentBytes } = frameHead(frame) ?? corrupt("not a frame of ours");
  if (contentBytes > LIMITS.bodyBytes) corrupt("too long a content");
  const state: FrameState = {
    out: new Uint8Array(contentBytes),
    dictionary,
    at: 0,
    huffman: undefined,
    literalLengths: undefined,
    offsets: undefined,
    matchLengths: undefined,
    repeated: [1, 4, 8],
  };
  let at = headerBytes;
  let left = BLOCKS + contentBytes / BYTES_PER_BLOCK;
  for (let isLast = false; !isLast;) {
    if (--left < 0) corrupt("too many blocks");
    const header = little(frame, at, BLOCK_HEADER_BYTES);
    isLast = (header & 1) !== 0;
    const [type, size] = [(header >>> 1) & 3, header >>> 3];
    at += BLOCK_HEADER_BYTES;
    const end = at + (type === RLE ? 1 : size);
    if (end > frame.length) corrupt("a block is cut short");
    readBlock(state, type, size, frame.subarray(at, end));
    at = end;
  }
  if (at !== frame.length || state.at !== contentBytes) corrupt("not the length that it says");
  return state.out;
}

function readBlock(state: FrameState, type: number, size: number, bytes: Uint8Array): void {
  const { out, at } = state;
  const room = Math.min(BLOCK_BYTES, out.length - at);
  if (size > room) corrupt("a block is too long");
  if (type === COMPRESSED) {
    const { literals, length } = readLiterals(state, bytes, room);
    // What has not been written is no part of it.
    readSequences(state, bytes.subarray(length), literals, at + room);
    return;
  }
  if (type === RAW) out.set(bytes, at);
  else if (type === RLE) out.fill(bytes[0] ?? 0, at, at + size);
  else corrupt("a block of no known type");
  state.at = at + size;
}

interface Literals {
  readonly literals: Uint8Array;
  /** Bytes of their section. */
  readonly length: number;
}

/** RFC 8878, 3.1.1.3.1. */
function readLiterals(state: FrameState, block: Uint8Array, room: number): Literals {
  const first = block[0] ?? 0;
  const [type, format] = [first & 3, (first >>> 2) & 3];
  if (type === COMPRESSED || type === TREELESS) return readPacked(state, block, room);
  const headerBytes = PLAIN_HEADER_BYTES[format] ?? 0;
  const count = little(block, 0, headerBytes) >>> (headerBytes === 1 ? 3 : 4);
  const length = headerBytes + (type === RLE ? 1 : count);
  if (count > room || length > block.length) corrupt("literals are cut short");
  const literals =
    type === RAW
      ? block.subarray(headerBytes, length)
      : new Uint8Array(count).fill(block[headerBytes] ?? 0);
  return { literals, length };
}

function readPacked(state: FrameState, block: Uint8Array, room: number): Literals {
  const first = block[0] ?? 0;
  const format = (first >>> 2) & 3;
  const [headerBytes, bits] = [PACKED_HEADER_BYTES[format] ?? 0, PACKED_SIZE_BITS[format] ?? 0];
  const sizes = Math.floor(little(block, 0, headerBytes) / 16);
  const [count, packed] = [sizes % 2 ** bits, Math.floor(sizes / 2 ** bits)];
  const length = headerBytes + packed;
  const least = format === ONE_STREAM ? 1 : FOUR_STREAMS_LEAST;
  if (count < least || count > room || length > block.length) corrupt("literals are cut short");
  let bytes = block.subarray(headerBytes, length);
  if ((first & 3) === COMPRESSED) {
    const read = readHuffmanTable(bytes);
    state.huffman = read.table;
    bytes = bytes.subarray(read.length);
  }
  const table = state.huffman ?? corrupt("no Huffman table to repeat");
  const literals = new Uint8Array(count);
  if (format === ONE_STREAM) readHuffman(bytes, table, literals);
  else readFour(bytes, table, literals);
  return { literals, length };
}

function readFour(bytes: Uint8Array, table: HuffmanTable, literals: Uint8Array): void {
  const each = Math.ceil(literals.length / STREAMS);
  let from = JUMP_BYTES;
  for (let i = 0; i < STREAMS; i++) {
    const to = i === STREAMS - 1 ? bytes.length : from + little(bytes, 2 * i, 2);
    if (to > bytes.length || i * each > literals.length) corrupt("streams are cut short");
    readHuffman(bytes.subarray(from, to), table, literals.subarray(i * each, (i + 1) * each));
    from = to;
  }
}

/** How many sequences there are, and where what follows begins (RFC 8878, 3.1.1.3.2.1). */
function sequenceCount(bytes: Uint8Array): readonly [count: number, at: number] {
  const first = bytes[0] ?? corrupt("a block without sequences");
  if (first < 128) return [first, 1];
  const second = bytes[1] ?? 0;
  if (first < 255) return [(first - 128) * 256 + second, 2];
  return [little(bytes, 1, 2) + 0x7f00, 3];
}

/** One of the three tables of a block (RFC 8878, 3.1.1.3.2.1). */
function readTable(
  mode: number,
  bytes: Uint8Array,
  { standard, mostLog, extra }: Codes,
  before: FseTable | undefined,
): { readonly table: FseTable; readonly length: number } {
  const most = extra.length - 1;
  if (mode === 0) return { table: standard, length: 0 };
  if (mode === 3) return { table: before ?? corrupt("no FSE table to repeat"), length: 0 };
  if (mode === 2) return readFseTable(bytes, mostLog, most);
  const symbol = bytes[0] ?? corrupt("a table is cut short");
  return symbol > most ? corrupt("no such code") : { table: oneSymbol(symbol), length: 1 };
}

/** Reads the sequences of a block and writes what they come to, up to `end` at most (RFC 8878, 3.1.1.3.2 and 3.1.1.4). */
function readSequences(
  state: FrameState,
  bytes: Uint8Array,
  literals: Uint8Array,
  end: number,
): void {
  let [count, at] = sequenceCount(bytes);
  let taken = 0;
  if (count > 0) {
    const modes = bytes[at] ?? corrupt("modes are cut short");
    if ((modes & 3) !== 0) corrupt("reserved bits are set");
    at += 1;
    const next = (shift: number, kind: Codes, before: FseTable | undefined): FseTable => {
      const { table, length } = readTable((modes >>> shift) & 3, bytes.subarray(at), kind, before);
      at += length;
      return table;
    };
    state.literalLengths = next(6, LITERAL_LENGTHS, state.literalLengths);
    state.offsets = next(4, OFFSETS, state.offsets);
    state.matchLengths = next(2, MATCH_LENGTHS, state.matchLengths);
    taken = runSequences(state, new Bits(bytes.subarray(at)), count, literals, end);
  } else if (at !== bytes.length || bytes[0] !== 0) corrupt("bytes follow no sequences");
  if (state.at + literals.length - taken > end) corrupt("a block is too long");
  state.out.set(literals.subarray(taken), state.at);
  state.at += literals.length - taken;
}

/** Returns how many literals were used. */
function runSequences(
  state: FrameState,
  bits: Bits,
  count: number,
  literals: Uint8Array,
  end: number,
): number {
  const { out, literalLengths, offsets, matchLengths } = state;
  if (literalLengths === undefined || offsets === undefined || matchLengths === undefined) {
    corrupt("no tables");
  }
  let ll = bits.take(literalLengths.log);
  let of = bits.take(offsets.log);
  let ml = bits.take(matchLengths.log);
  let taken = 0;
  let at = state.at;
  for (let i = 1; ; i++) {
    const l = literalLengths.cells[ll] ?? 0;
    const o = offsets.cells[of] ?? 0;
    const m = matchLengths.cells[ml] ?? 0;
    if ((o & 255) > OFFSET_BITS) corrupt("an offset is too large");
    const value = (1 << (o & 255)) + bits.take(o & 255);
    const match = lengthOf(MATCH_LENGTHS, m, bits);
    const plain = lengthOf(LITERAL_LENGTHS, l, bits);
    if (taken + plain > literals.length || at + plain + match > end || bits.left < 0) {
      corrupt("a sequence is too long");
    }
    for (const to = at + plain; at < to;) out[at++] = literals[taken++] ?? 0;
    at = copyMatch(state, at, offsetOf(state.repeated, value, plain), match);
    if (i === count) break;
    ll = (l >>> 16) + bits.take((l >>> 8) & 255);
    ml = (m >>> 16) + bits.take((m >>> 8) & 255);
    of = (o >>> 16) + bits.take((o >>> 8) & 255);
  }
  if (bits.left !== 0) corrupt("sequences are not used up");
  state.at = at;
  return taken;
}

const lengthOf = ({ bases, extra }: Codes, cell: number, bits: Bits): number =>
  (bases[cell & 255] ?? 0) + bits.take(extra[cell & 255] ?? 0);

/** The offset that a value stands for; the last three are remembered (RFC 8878, 3.1.1.5). */
function offsetOf(repeated: FrameState["repeated"], value: number, literals: number): number {
  const first = repeated[0];
  const index = value > 3 ? 3 : literals === 0 ? value : value - 1;
  if (index === 0) return first;
  const second = repeated[1];
  const offset =
    value > 3 ? value - 3 : index === 1 ? second : index === 2 ? repeated[2] : first - 1;
  if (index !== 1) repeated[2] = second;
  repeated[1] = first;
  repeated[0] = offset;
  return offset;
}

/** Copies what stands `offset` bytes before, in the dictionary when that is before the start; it may run into what it makes. Returns where it ends. */
function copyMatch(
  { out, dictionary }: FrameState,
  at: number,
  offset: number,
  length: number,
): number {
  if (offset <= 0 || offset > at + dictionary.length) corrupt("an offset is too large");
  const to = at + length;
  let from = at - offset;
  if (length >= COPY_AT_ONCE && from >= 0 && offset >= length) {
    out.copyWithin(at, from, from + length);
    return to;
  }
  let i = at;
  for (; from < 0 && i < to; i++, from++) out[i] = dictionary[dictionary.length + from] ?? 0;
  for (; i < to; i++, from++) out[i] = out[from] ?? 0;
  return to;
}
