// SPDX-License-Identifier: Apache-2.0
/** A store checked against the plainest model of one: a map, sorted when it is read. */
import * as fc from "fast-check";
import { expect } from "vitest";
import type { Store, StoreChange, StoreRange } from "@ctxmesh/model";

/** One step of a run. */
export type StoreCommand =
  | { readonly kind: "write"; readonly changes: readonly StoreChange[] }
  | { readonly kind: "get"; readonly key: Uint8Array }
  | { readonly kind: "scan"; readonly range: StoreRange }
  | { readonly kind: "reopen" };

const MAX_COMMANDS = 25;
const MAX_CHANGES = 8;
const MAX_VALUE_BYTES = 300;

const kind = <K extends StoreCommand["kind"]>(name: K): fc.Arbitrary<K> => fc.constant(name);

/** Runs of commands over few, close keys, so that they meet. */
export function storeCommands(): fc.Arbitrary<StoreCommand[]> {
  const byte = fc.constantFrom(0x01, 0x02, 0x7f, 0x80, 0xfe, 0xff);
  const rest = fc.array(fc.constantFrom(0x00, 0x01, 0x80, 0xff), { maxLength: 2 });
  const key = fc.tuple(byte, rest).map(([first, more]) => Uint8Array.of(first, ...more));
  const bound = fc.oneof(key, fc.constant(new Uint8Array(0)), fc.constant(Uint8Array.of(0)));
  const value = fc.uint8Array({ maxLength: MAX_VALUE_BYTES });
  const change = fc.oneof(
    { weight: 3, arbitrary: fc.record({ key, value }) },
    { weight: 1, arbitrary: fc.record({ key }) },
  );
  const range = fc.record(
    { gte: bound, lt: bound, reverse: fc.boolean(), limit: fc.nat({ max: 6 }) },
    { requiredKeys: ["gte", "lt"] },
  );
  return fc.array(
    fc.oneof<fc.MaybeWeightedArbitrary<StoreCommand>[]>(
      {
        weight: 5,
        arbitrary: fc.record({
          kind: kind("write"),
          changes: fc.array(change, { maxLength: MAX_CHANGES }),
        }),
      },
      { weight: 2, arbitrary: fc.record({ kind: kind("get"), key }) },
      { weight: 3, arbitrary: fc.record({ kind: kind("scan"), range }) },
      { weight: 1, arbitrary: fc.record({ kind: kind("reopen") }) },
    ),
    { maxLength: MAX_COMMANDS },
  );
}

/** Runs the commands on the store and on the model, and compares every answer and the final content. */
export async function checkAgainstModel(
  opened: { readonly store: Store; reopen(): Promise<Store> },
  commands: readonly StoreCommand[],
): Promise<void> {
  let { store } = opened;
  const model = new Map<string, Uint8Array>();
  for (const command of commands) {
    if (command.kind === "write") {
      await store.write(command.changes);
      for (const { key, value } of command.changes) {
        if (value === undefined) model.delete(hexOf(key));
        else model.set(hexOf(key), value);
      }
    } else if (command.kind === "get") {
      const got = await store.get(command.key);
      expect(got && hexOf(got)).toBe(hexOrUndefined(model.get(hexOf(command.key))));
    } else if (command.kind === "scan") {
      expect(await entriesOf(store, command.range)).toEqual(modelEntries(model, command.range));
    } else {
      store = await opened.reopen();
    }
  }
  const all = { gte: Uint8Array.of(1), lt: new Uint8Array(8).fill(0xff) };
  expect(await entriesOf(store, all)).toEqual(modelEntries(model, all));
}

const hexOf = (value: Uint8Array): string => Buffer.from(value).toString("hex");
const hexOrUndefined = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : hexOf(value);

/** Lower-case hex sorts as the bytes do. */
function modelEntries(model: ReadonlyMap<string, Uint8Array>, range: StoreRange): string[] {
  const inRange = [...model]
    .filter(([key]) => hexOf(range.gte) <= key && key < hexOf(range.lt))
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${hexOf(value)}`);
  return (range.reverse === true ? inRange.toReversed() : inRange).slice(0, range.limit);
}

async function entriesOf(store: Store, range: StoreRange): Promise<string[]> {
  const entries: string[] = [];
  for await (const [key, value] of store.scan(range)) entries.push(`${hexOf(key)}=${hexOf(value)}`);
  return entries;
}
