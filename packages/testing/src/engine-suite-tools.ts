// SPDX-License-Identifier: Apache-2.0
/** What the tests of the `Engine` port have in common. */
import { hash } from "node:crypto";
import { expect } from "vitest";
import { parseSpaceId } from "@ctxmesh/model";
import type { Engine, EngineEntry, EngineRecord, Fence, SpaceId } from "@ctxmesh/model";

/** How long a lease lasts that does not end during a test. */
export const TERM_MS = 20_000;
/** Bound of a wait. */
export const WAIT_MS = 10_000;
let spaces = 0;

/** A space that no test has used. */
export function freshSpace(): SpaceId {
  spaces++;
  return parseSpaceId(
    hash("sha256", `${String(spaces)} ${String(performance.now())} ${String(process.pid)}`),
  );
}

/** UTF-8. */
export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
/** An id by name. */
export const idOf = (text: string): Uint8Array => new Uint8Array(hash("sha256", text, "buffer"));
/** A record by name. */
export const entry = (text: string, kind: EngineEntry["kind"] = "batch"): EngineEntry => ({
  kind,
  id: idOf(text),
  bytes: bytesOf(text),
});
/** Records by number, both ends included. */
export const entries = (from: number, to: number): EngineEntry[] =>
  Array.from({ length: to - from + 1 }, (_, i) => entry(`entry ${String(from + i)}`));
/** Bytes of records as text. */
export const textsOf = (records: readonly EngineRecord[]): string[] =>
  records.map(({ bytes }) => new TextDecoder().decode(bytes));
/** Positions of records. */
export const positionsOf = (records: readonly EngineRecord[]): number[] =>
  records.map(({ position }) => position);
/** Whole numbers in a row. */
export const upTo = (count: number, from = 1): number[] =>
  Array.from({ length: count }, (_, i) => from + i);

/** An error with a code. */
export const refusal = (code: string): Error => expect.objectContaining({ code }) as Error;

/** Everything in a space's log. */
export async function all(engine: Engine, space: SpaceId): Promise<EngineRecord[]> {
  const found: EngineRecord[] = [];
  for (;;) {
    const page = await engine.read(space, found.at(-1)?.position ?? 0, 100);
    if (page.length === 0) return found;
    found.push(...page);
  }
}

/** What a test of the suite works on. */
export interface Subject {
  readonly engine: Engine;
  readonly space: SpaceId;
  again(): Promise<Engine>;
}

/** A lease that lasts for the test. */
export async function lease({ engine, space }: Subject, holder = "hub-1"): Promise<Fence> {
  const taken = await engine.acquire(space, holder, TERM_MS);
  if (taken === undefined) throw new Error("the lease is not to be had");
  return { holder, epoch: taken.epoch };
}

/** Keys as hex and values as text, in a range of the shared map. */
export async function pairs(
  engine: Engine,
  space: SpaceId,
  range: Parameters<Engine["scan"]>[1],
): Promise<(readonly [string, string])[]> {
  const found: (readonly [string, string])[] = [];
  for await (const [key, value] of engine.scan(space, range)) {
    found.push([Buffer.from(key).toString("hex"), new TextDecoder().decode(value)]);
  }
  return found;
}

/** A key of the shared map. */
export const KEY: Uint8Array = Uint8Array.of(1, 2, 3);
