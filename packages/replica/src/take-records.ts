// SPDX-License-Identifier: Apache-2.0
/** Taking records and headers of void batches into memory, and what of it the store has to have before it takes effect. */
import type { SignatureVerifier, StoreChange } from "@ctxmesh/model";
import type { Core } from "./core.ts";
import { encodeSignedHeader, isSigned } from "./evidence.ts";
import type { ParsedHeader } from "./evidence.ts";
import type { HoldBuffer } from "./hold.ts";
import { LIMITS } from "@ctxmesh/model";
import { voidHeaderChange } from "./layout.ts";
import type { Records, RecordsUpdate } from "./records.ts";
import type { RecordsTask } from "./tasks.ts";
import { isVoid } from "./void-headers.ts";

/** What taking them needs to know. */
export interface TakeContext {
  readonly core: Core;
  readonly hold: HoldBuffer;
  readonly verifier: SignatureVerifier;
  readonly nowMs: number;
}

/** What was taken. */
export interface Taken {
  readonly records: Records;
  /** For each task. */
  readonly results: readonly RecordsUpdate[];
  readonly headers: readonly ParsedHeader[];
  readonly changes: readonly StoreChange[];
}

/**
 * Takes well-signed headers of void batches that held ones wait for, or that other such headers name;
 * returns those.
 */
function takeHeaders(
  headers: readonly ParsedHeader[],
  records: Records,
  { core: { voidHeaders }, hold, verifier }: TakeContext,
): readonly ParsedHeader[] {
  return headers.filter((header) => {
    const wanted = hold.isMissing(header.hash) || voidHeaders.names(header.hash);
    const taken =
      wanted &&
      voidHeaders.size < LIMITS.voidHeaders &&
      voidHeaders.get(header.hash) === undefined &&
      header.header.space === records.space.id &&
      isVoid(records, header) &&
      isSigned(header, verifier);
    if (taken) voidHeaders.add(header);
    return taken;
  });
}

/** Takes what was handed in: headers into memory, records as a new set. Nothing of it has taken effect. */
export function takeAll(tasks: readonly RecordsTask[], context: TakeContext): Taken {
  let { records } = context.core;
  const results = tasks.map((task) => {
    const update = records.with(task, context.verifier, context.nowMs);
    ({ records } = update);
    return update;
  });
  const headers = tasks.flatMap((task) => takeHeaders(task.headers, records, context));
  const changes = [
    ...results.flatMap((result) => result.changes),
    ...headers.map((header) => voidHeaderChange(header.hash, encodeSignedHeader(header))),
  ];
  return { records, results, headers, changes };
}
