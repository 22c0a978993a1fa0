// SPDX-License-Identifier: Apache-2.0
/** Taking records and headers of void batches into memory, and what of it the store has to have before it takes effect. */
import type { Header } from "@ctxmesh/codec";
import type { SignatureVerifier, StoreChange } from "@ctxmesh/model";
import type { Core } from "./core.ts";
import { encodeProof, encodeSignedHeader, isSigned } from "./evidence.ts";
import type { ParsedHeader } from "./evidence.ts";
import type { HoldBuffer } from "./hold.ts";
import { chainKey, voidHeaderChange } from "./layout.ts";
import type { Records, RecordsUpdate } from "./records.ts";
import type { RecordsTask } from "./tasks.ts";
import { stateView } from "./state.ts";
import { factsOf, isVoid } from "./void-headers.ts";

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

const chainOf = ({ header: { replica, incarnation } }: ParsedHeader): string =>
  chainKey(replica, incarnation);

/**
 * Takes well-signed headers of void batches that held ones wait for, or that other such headers name; and, where it is not
 * known of one of these that it is void, of those from which on its chain may be. Returns what it took.
 */
function takeHeaders(
  headers: readonly ParsedHeader[],
  records: Records,
  { core: { voidHeaders, state }, hold, verifier }: TakeContext,
): readonly ParsedHeader[] {
  const view = stateView(records, voidHeaders, state);
  const isWanted = ({ hash }: ParsedHeader): boolean =>
    hold.isMissing(hash) || voidHeaders.names(hash);
  const isKnownVoid = (header: ParsedHeader): boolean => isVoid(records, view, factsOf(header));
  const unexplained = headers.filter((header) => isWanted(header) && !isKnownVoid(header));
  const chains = new Set(unexplained.map(chainOf));
  return headers.filter((header) => {
    const taken =
      (isWanted(header) || chains.has(chainOf(header))) &&
      voidHeaders.hasRoomFor(header) &&
      voidHeaders.get(header.hash) === undefined &&
      header.header.space === records.space.id &&
      isKnownVoid(header) &&
      isSigned(header, verifier);
    if (taken) voidHeaders.add(header);
    return taken;
  });
}

/**
 * The forks that void headers show: another one stands at their place. A batch counts there, or is void as well; either way
 * those who have the one and those who have the other would tell differently of what builds on it.
 */
export async function forksShownBy(
  headers: readonly ParsedHeader[],
  { records, log, voidHeaders }: Core,
): Promise<readonly (readonly [Header, Uint8Array])[]> {
  const forks: (readonly [Header, Uint8Array])[] = [];
  for (const parsed of headers) {
    const { header, hash } = parsed;
    const { replica, incarnation, seq } = header;
    if (seq > records.limitOf(replica, incarnation)) continue;
    const stored = await log.hashAt(replica, incarnation, seq);
    const other = stored ?? voidHeaders.at(header, seq);
    if (other === undefined || other === hash) continue;
    const there = (await log.header(other)) ?? (await voidHeaders.signed(other));
    if (there !== undefined) forks.push([header, encodeProof(there, parsed)]);
  }
  return forks;
}

/** Takes what was handed in: headers into memory, records as a new set. Nothing of it has taken effect. */
export function takeAll(tasks: readonly RecordsTask[], context: TakeContext): Taken {
  let { records } = context.core;
  const results = tasks.map((task) => {
    const update = records.with(task, context.verifier, context.nowMs);
    ({ records } = update);
    return update;
  });
  if (records !== context.core.records) context.core.voidHeaders.judgeAnew();
  const headers = tasks.flatMap((task) => takeHeaders(task.headers, records, context));
  const changes = [
    ...results.flatMap((result) => result.changes),
    ...headers.map((header) => voidHeaderChange(header.hash, encodeSignedHeader(header))),
  ];
  return { records, results, headers, changes };
}
