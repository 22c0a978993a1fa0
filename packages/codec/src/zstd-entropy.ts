// SPDX-License-Identifier: Apache-2.0
/**
 * The codes of zstd: FSE tables, Huffman tables, and streams of bits that are read from their end (RFC 8878, 4.1 and 4.2). Whatever does not
 * come out to the bit throws.
 */

/** The longest FSE code of Huffman weights, and the longest Huffman code (RFC 8878, 4.2.1). */
const WEIGHTS_LOG = 6;
const HUFFMAN_BITS = 11;
const MOST_WEIGHTS = 255;
/** A weights' header from there on gives them four bits each (RFC 8878, 4.2.1.1). */
const DIRECT_FROM = 128;

/** Throws: the frame is no good. */
export function corrupt(what: string): never {
  throw new Error(`zstd: ${what}`);
}

/** An unsigned number of up to 5 bytes, the lowest first. */
export function little(bytes: Uint8Array, at: number, length: number): number {
  let value = 0;
  for (let i = length - 1; i >= 0; i--) value = value * 256 + (bytes[at + i] ?? 0);
  return value;
}

/** Bits of a stream that is read from its end, where a 1 stands above them. */
function bitsOf(stream: Uint8Array): number {
  const last = stream[stream.length - 1] ?? 0;
  if (last === 0) corrupt("a stream without its end");
  return 8 * stream.length - 1 - (Math.clz32(last) - 24);
}

/** A stream of bits that is read from its end. */
export class Bits {
  readonly stream: Uint8Array;
  /** How many are left; below 0 when more were asked for than there were, which are 0 then. */
  left: number;

  constructor(stream: Uint8Array) {
    this.stream = stream;
    this.left = bitsOf(stream);
  }

  /** The next bits, 24 at most, as a number. */
  take(count: number): number {
    const from = this.left - count;
    this.left = from;
    if (from < 0) return 0;
    const { stream } = this;
    const at = from >>> 3;
    let four = (stream[at] ?? 0) | ((stream[at + 1] ?? 0) << 8);
    four |= ((stream[at + 2] ?? 0) << 16) | ((stream[at + 3] ?? 0) << 24);
    return (four >>> (from & 7)) & ((1 << count) - 1);
  }
}

/** Cells of an FSE table by state, each `symbol | bits << 8 | base << 16`: the next state is the base and so many bits. */
export interface FseTable {
  readonly log: number;
  readonly cells: Int32Array;
}

/** The table whose only symbol is this, which takes no bits. */
export const oneSymbol = (symbol: number): FseTable => ({ log: 0, cells: Int32Array.of(symbol) });

/** The table of a distribution (RFC 8878, 4.1.1): by symbol, how many cells it has; -1 is a cell at the end. They come to `2 ** log`. */
export function fseTable(log: number, counts: readonly number[]): FseTable {
  const size = 1 << log;
  const cells = new Int32Array(size);
  let high = size - 1;
  for (let symbol = 0; symbol < counts.length; symbol++) {
    if (counts[symbol] === -1) cells[high--] = symbol;
  }
  const step = (size >>> 1) + (size >>> 3) + 3;
  let place = 0;
  for (let symbol = 0; symbol < counts.length; symbol++) {
    for (let left = counts[symbol] ?? 0; left > 0; left--) {
      cells[place] = symbol;
      do place = (place + step) & (size - 1);
      while (place > high);
    }
  }
  const next = Uint16Array.from(counts, Math.abs);
  for (let state = 0; state < size; state++) {
    const symbol = cells[state] ?? 0;
    const nth = next[symbol] ?? 1;
    next[symbol] = nth + 1;
    const bits = log - (31 - Math.clz32(nth));
    cells[state] = symbol | (bits << 8) | (((nth << bits) - size) << 16);
  }
  return { log, cells };
}

/** Reads the description of a table at the start of `bytes` (RFC 8878, 4.1.1), with its length in bytes. */
export function readFseTable(
  bytes: Uint8Array,
  mostLog: number,
  mostSymbol: number,
): { readonly table: FseTable; readonly length: number } {
  let at = 0;
  const take = (count: number): number => {
    const from = at >>> 3;
    const two = (bytes[from] ?? 0) | ((bytes[from + 1] ?? 0) << 8);
    const value = ((two | ((bytes[from + 2] ?? 0) << 16)) >>> (at & 7)) & ((1 << count) - 1);
    at += count;
    return value;
  };
  const log = 5 + take(4);
  if (log > mostLog) corrupt("an FSE table is too large");
  const counts: number[] = [];
  let rest = 1 << log;
  while (rest > 0 && counts.length <= mostSymbol) {
    // Values up to `rest + 1`: the lowest of them take a bit less.
    const bits = 32 - Math.clz32(rest + 1);
    const lower = take(bits - 1);
    const short = (1 << bits) - 2 - rest;
    const count = (lower < short || take(1) === 0 ? lower : lower + (1 << (bits - 1)) - short) - 1;
    counts.push(count);
    rest -= Math.abs(count);
    for (let more = count === 0 ? 3 : 0; more === 3;) {
      more = take(2);
      for (let i = 0; i < more; i++) counts.push(0);
      if (counts.length > mostSymbol + 1) corrupt("an FSE table has too many symbols");
    }
  }
  const length = (at + 7) >>> 3;
  if (rest !== 0 || counts.length > mostSymbol + 1 || length > bytes.length) {
    corrupt("not an FSE table");
  }
  return { table: fseTable(log, counts), length };
}

/** A Huffman table: by the next `most` bits `symbol << 4 | bits`. */
export interface HuffmanTable {
  readonly most: number;
  readonly cells: Uint16Array;
}

/** Reads the description of a table at the start of `bytes` (RFC 8878, 4.2.1), with its length in bytes. */
export function readHuffmanTable(bytes: Uint8Array): {
  readonly table: HuffmanTable;
  readonly length: number;
} {
  const first = bytes[0] ?? 0;
  const isDirect = first >= DIRECT_FROM;
  const length = 1 + (isDirect ? (first - DIRECT_FROM + 2) >>> 1 : first);
  if (length > bytes.length) corrupt("a Huffman table is cut short");
  const described = bytes.subarray(1, length);
  const weights = isDirect
    ? directWeights(described, first - DIRECT_FROM + 1)
    : packedWeights(described);
  return { table: huffmanTable(weights), length };
}

/** The table of weights, the last one of which is not said: codes of one length stand together, the longest first (RFC 8878, 4.2.1.3). */
function huffmanTable(said: readonly number[]): HuffmanTable {
  let total = 0;
  for (const weight of said) total += (1 << weight) >>> 1;
  const most = 32 - Math.clz32(total);
  const rest = (1 << most) - total;
  const last = 32 - Math.clz32(rest);
  if (total === 0 || most > HUFFMAN_BITS || rest !== 1 << (last - 1)) corrupt("no Huffman table");
  const weights = [...said, last];
  /** By weight, where its next code stands. */
  const places = new Uint16Array(HUFFMAN_BITS + 2);
  for (const weight of weights) {
    if (weight > 0) places[weight + 1] = (places[weight + 1] ?? 0) + (1 << (weight - 1));
  }
  const ones = places[2] ?? 0;
  if (ones < 2) corrupt("no Huffman table");
  for (let weight = 2; weight < places.length; weight++) {
    places[weight] = (places[weight] ?? 0) + (places[weight - 1] ?? 0);
  }
  const cells = new Uint16Array(1 << most);
  for (let symbol = 0; symbol < weights.length; symbol++) {
    const weight = weights[symbol] ?? 0;
    if (weight === 0) continue;
    const at = places[weight] ?? 0;
    places[weight] = at + (1 << (weight - 1));
    cells.fill((symbol << 4) | (most + 1 - weight), at, places[weight]);
  }
  return { most, cells };
}

/** Four bits each, the upper ones first (RFC 8878, 4.2.1.1). */
function directWeights(bytes: Uint8Array, count: number): readonly number[] {
  const weights = Array.from(
    { length: count },
    (_, i) => ((bytes[i >>> 1] ?? 0) >>> (i % 2 === 0 ? 4 : 0)) & 15,
  );
  if (weights.some((weight) => weight > HUFFMAN_BITS)) corrupt("a Huffman code is too long");
  return weights;
}

/** Those that two FSE states say in turn, until there are no bits for the next one (RFC 8878, 4.2.1.2). */
function packedWeights(bytes: Uint8Array): readonly number[] {
  const { table, length } = readFseTable(bytes, WEIGHTS_LOG, HUFFMAN_BITS);
  const bits = new Bits(bytes.subarray(length));
  const states: [number, number] = [bits.take(table.log), bits.take(table.log)];
  if (bits.left < 0) corrupt("Huffman weights are cut short");
  const weights: number[] = [];
  for (let turn: 0 | 1 = 0; weights.length < MOST_WEIGHTS; turn = turn === 0 ? 1 : 0) {
    const cell = table.cells[states[turn]] ?? 0;
    weights.push(cell & 255);
    states[turn] = (cell >>> 16) + bits.take((cell >>> 8) & 255);
    if (bits.left >= 0) continue;
    weights.push((table.cells[states[turn === 0 ? 1 : 0]] ?? 0) & 255);
    if (weights.length <= MOST_WEIGHTS) return weights;
  }
  return corrupt("too many Huffman weights");
}

/** Fills `out` with the symbols of a stream, which has to be used up by that (RFC 8878, 4.2.2). */
export function readHuffman(
  stream: Uint8Array,
  { most, cells }: HuffmanTable,
  out: Uint8Array,
): void {
  const mask = (1 << most) - 1;
  let left = bitsOf(stream);
  for (let i = 0; i < out.length && left >= 0; i++) {
    const from = left - most;
    const at = from >>> 3;
    const next =
      from < 0
        ? lowBits(stream) << -from
        : ((stream[at] ?? 0) | ((stream[at + 1] ?? 0) << 8) | ((stream[at + 2] ?? 0) << 16)) >>>
          (from & 7);
    const cell = cells[next & mask] ?? 0;
    out[i] = cell >>> 4;
    left -= cell & 15;
  }
  if (left !== 0) corrupt("a Huffman stream is not used up");
}

/** The first bits of a stream, below which are zeros for who looks further than it goes. */
const lowBits = (stream: Uint8Array): number => (stream[0] ?? 0) | ((stream[1] ?? 0) << 8);
