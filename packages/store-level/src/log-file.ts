// SPDX-License-Identifier: Apache-2.0
/**
 * LevelDB's log format (db/log_format.h), in which its `.log` and MANIFEST files are: blocks of
 * 32 KiB, in them records, or parts of records, of CRC (4 bytes), length (2), type (1) and payload.
 */
import { maskedCrc32c } from "./crc32c.ts";
import { uint32At } from "./level-bytes.ts";

const BLOCK_BYTES = 32_768;
const HEADER_BYTES = 7;
const FULL = 1;
const FIRST = 2;
const LAST = 4;

/**
 * The records of a file. What is wrong goes to `onDamage`, which may throw; otherwise reading goes
 * on with the next block, as LevelDB does. A last record that was not written to its end is left out
 * without a word, as a power cut leaves it.
 */
export function* readLog(
  bytes: Uint8Array,
  onDamage: (what: string) => void,
): Generator<Uint8Array, void, undefined> {
  let parts: Uint8Array[] = [];
  let at = 0;
  while (bytes.length - at >= HEADER_BYTES) {
    const blockEnd = at - (at % BLOCK_BYTES) + BLOCK_BYTES;
    if (blockEnd - at < HEADER_BYTES) {
      at = blockEnd;
      continue;
    }
    const end = at + HEADER_BYTES + (bytes[at + 4] ?? 0) + ((bytes[at + 5] ?? 0) << 8);
    if (end > bytes.length && bytes.length <= blockEnd) return;
    if (bytes.subarray(at).every((byte) => byte === 0)) return;
    if (end > blockEnd || maskedCrc32c(bytes, at + 6, end) !== uint32At(bytes, at)) {
      onDamage(`the record at ${String(at)} does not match its checksum`);
      parts = [];
      at = blockEnd;
      continue;
    }
    const type = bytes[at + 6] ?? 0;
    const begins = type === FULL || type === FIRST;
    if (begins !== (parts.length === 0)) {
      onDamage(`a record is incomplete before ${String(at)}`);
      parts = [];
    }
    if (begins || parts.length > 0) parts.push(bytes.subarray(at + HEADER_BYTES, end));
    at = end;
    if ((type === FULL || type === LAST) && parts.length > 0) {
      yield Buffer.concat(parts);
      parts = [];
    }
  }
}
