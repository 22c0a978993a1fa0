// SPDX-License-Identifier: Apache-2.0

const isTail = (byte: number | undefined): boolean => byte !== undefined && (byte & 0xc0) === 0x80;

/** Bytes of the character that begins with three or four, at `at`; 0 where there is none (RFC 3629, section 4). */
function longCharacter(bytes: Uint8Array, at: number, lead: number): number {
  const second = bytes[at + 1] ?? 0;
  if (!isTail(second) || !isTail(bytes[at + 2])) return 0;
  if (lead < 0xf0) {
    // Neither a longer form of a shorter character, nor half a pair of UTF-16.
    const isWrong = (lead === 0xe0 && second < 0xa0) || (lead === 0xed && second > 0x9f);
    return isWrong ? 0 : 3;
  }
  if (!isTail(bytes[at + 3]) || lead > 0xf4) return 0;
  const isWrong = (lead === 0xf0 && second < 0x90) || (lead === 0xf4 && second > 0x8f);
  return isWrong ? 0 : 4;
}

/** Whether `bytes` from `from` to `to` are well-formed UTF-8 (RFC 3629): what a strict `TextDecoder` takes, without a text. */
export function isUtf8(bytes: Uint8Array, from: number, to: number): boolean {
  let at = from;
  while (at < to) {
    const lead = bytes[at] ?? 0;
    if (lead < 0x80) {
      at++;
      continue;
    }
    const length =
      lead < 0xc2
        ? 0
        : lead < 0xe0
          ? isTail(bytes[at + 1])
            ? 2
            : 0
          : longCharacter(bytes, at, lead);
    if (length === 0) return false;
    at += length;
  }
  // The last character must not reach beyond the text.
  return at === to;
}
