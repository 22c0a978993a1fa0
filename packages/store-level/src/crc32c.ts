// SPDX-License-Identifier: Apache-2.0
/**
 * CRC-32C (Castagnoli polynomial, RFC 3720 appendix B.4), eight bytes per step ("slicing by 8",
 * Kounavis and Berry 2005), and the mask that LevelDB puts over it in its files.
 */

const POLYNOMIAL = 0x82f63b78;
const MASK_DELTA = 0xa282ead8;
/** Eight tables of 256 words; table t advances a byte by t further zero bytes. */
const TABLES = makeTables();

function makeTables(): Int32Array {
  const tables = new Int32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let word = byte;
    for (let bit = 0; bit < 8; bit++) word = (word >>> 1) ^ (word & 1 ? POLYNOMIAL : 0);
    tables[byte] = word;
  }
  for (let i = 256; i < tables.length; i++) {
    const word = tables[i - 256] ?? 0;
    tables[i] = (word >>> 8) ^ (tables[word & 255] ?? 0);
  }
  return tables;
}

const table = (i: number): number => TABLES[i] as number;

/** The CRC-32C of `bytes[start, end)`, unsigned. */
export function crc32c(bytes: Uint8Array, start: number, end: number): number {
  const at = (i: number): number => bytes[i] as number;
  let crc = -1;
  let i = start;
  for (; i + 8 <= end; i += 8) {
    crc ^= at(i) | (at(i + 1) << 8) | (at(i + 2) << 16) | (at(i + 3) << 24);
    crc =
      table(1792 + (crc & 255)) ^
      table(1536 + ((crc >>> 8) & 255)) ^
      table(1280 + ((crc >>> 16) & 255)) ^
      table(1024 + (crc >>> 24)) ^
      table(768 + at(i + 4)) ^
      table(512 + at(i + 5)) ^
      table(256 + at(i + 6)) ^
      table(at(i + 7));
  }
  for (; i < end; i++) crc = (crc >>> 8) ^ table((crc ^ at(i)) & 255);
  return ~crc >>> 0;
}

/** The form in which LevelDB stores a CRC: rotated right by 15 bits, plus a constant (util/crc32c.h). */
export function maskedCrc32c(bytes: Uint8Array, start: number, end: number): number {
  const crc = crc32c(bytes, start, end);
  return (((crc >>> 15) | (crc << 17)) + MASK_DELTA) >>> 0;
}
