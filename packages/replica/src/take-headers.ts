// SPDX-License-Identifier: Apache-2.0
import { parseBatch, unpackedOf } from "./checks.ts";
import type { BatchSource } from "./checks.ts";
import type { Committer } from "./committer.ts";
import { decodeSignedHeader } from "./evidence.ts";
import type { ParsedHeader } from "./evidence.ts";

/** See `Replica.addHeaders`. */
export async function takeHeaders(
  items: readonly Uint8Array[],
  source: BatchSource | undefined,
  committer: Pick<Committer, "receive" | "take">,
): Promise<void> {
  const headers: ParsedHeader[] = [];
  for (const bytes of items) {
    try {
      headers.push(decodeSignedHeader(bytes));
    } catch {
      const batch = parseBatch(bytes, source);
      if ("kind" in batch) continue;
      source?.charge({ bytes: unpackedOf(batch), items: 0 });
      // What comes behind it in its chain can be judged only once this has been.
      await committer.receive(batch, true);
    }
  }
  if (headers.length > 0) await committer.take({ acts: [], proofs: [] }, headers);
}
