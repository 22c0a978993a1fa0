// SPDX-License-Identifier: Apache-2.0
/** An engine compared with the one in memory, over random histories of two hubs. */
import * as fc from "fast-check";
import { expect } from "vitest";
import { toMeshError } from "@ctxmesh/model";
import type { Engine, EngineEntry, Fence, SpaceId } from "@ctxmesh/model";
import { MemoryEngineData, createMemoryEngine } from "./memory-engine.ts";

const HOLDERS = ["hub-a", "hub-b"] as const;
/** Longer than any test: leases end by release alone, so that no clock decides. */
const TERM_MS = 600_000;
const MAX_COMMANDS = 50;
const ALL = { gte: new Uint8Array(0), lt: new Uint8Array(8).fill(255) };

/** One operation; `who` is the hub that asks. */
export type EngineCommand =
  | { readonly kind: "append"; readonly ids: readonly number[] }
  | {
      readonly kind: "append-unless";
      readonly ids: readonly number[];
      readonly after: number;
      readonly against: number;
    }
  | { readonly kind: "read"; readonly after: number; readonly limit: number }
  | { readonly kind: "find"; readonly ids: readonly number[] }
  | { readonly kind: "acquire"; readonly who: number }
  | { readonly kind: "release"; readonly who: number; readonly epochBack: number }
  | {
      readonly kind: "write";
      readonly who: number;
      readonly epochBack: number;
      readonly changes: readonly { readonly key: number; readonly value: number | undefined }[];
      readonly expect: readonly { readonly key: number; readonly value: number | undefined }[];
    }
  | { readonly kind: "get"; readonly key: number }
  | { readonly kind: "scan"; readonly reverse: boolean; readonly limit: number };

/** Runs of operations over few ids and keys, so that they meet. */
export function engineCommands(): fc.Arbitrary<EngineCommand[]> {
  const key = fc.nat({ max: 3 });
  const value = fc.option(fc.nat({ max: 2 }), { nil: undefined });
  const who = fc.nat({ max: HOLDERS.length - 1 });
  const epochBack = fc.nat({ max: 1 });
  const change = fc.record({ key, value });
  const command = fc.oneof<fc.Arbitrary<EngineCommand>[]>(
    fc.record({
      kind: fc.constant("append" as const),
      ids: fc.array(fc.nat({ max: 40 }), { maxLength: 5 }),
    }),
    fc.record({
      kind: fc.constant("append-unless" as const),
      ids: fc.array(fc.nat({ max: 40 }), { minLength: 1, maxLength: 3 }),
      after: fc.nat({ max: 45 }),
      against: fc.nat({ max: 40 }),
    }),
    fc.record({
      kind: fc.constant("read" as const),
      after: fc.nat({ max: 45 }),
      limit: fc.integer({ min: 1, max: 10 }),
    }),
    fc.record({
      kind: fc.constant("find" as const),
      ids: fc.array(fc.nat({ max: 40 }), { maxLength: 5 }),
    }),
    fc.record({ kind: fc.constant("acquire" as const), who }),
    fc.record({ kind: fc.constant("release" as const), who, epochBack }),
    fc.record({
      kind: fc.constant("write" as const),
      who,
      epochBack,
      changes: fc.array(change, { maxLength: 3 }),
      expect: fc.array(change, { maxLength: 1 }),
    }),
    fc.record({ kind: fc.constant("get" as const), key }),
    fc.record({
      kind: fc.constant("scan" as const),
      reverse: fc.boolean(),
      limit: fc.nat({ max: 5 }),
    }),
  );
  return fc.array(command, { maxLength: MAX_COMMANDS, size: "max" });
}

const entryOf = (number: number): EngineEntry => ({
  kind: (["batch", "act", "proof", "header"] as const)[number % 4] ?? "batch",
  id: new Uint8Array(32).fill(number),
  bytes: Uint8Array.of(number, number),
});
const keyOf = (number: number): Uint8Array => Uint8Array.of(60 * number, number);
const valueOf = (number: number | undefined): Uint8Array | undefined =>
  number === undefined ? undefined : new Uint8Array(number).fill(number);
const named = ({ key, value }: { readonly key: number; readonly value: number | undefined }) => {
  const bytes = valueOf(value);
  return { key: keyOf(key), ...(bytes === undefined ? {} : { value: bytes }) };
};

/** What one operation answers, in a form that compares. */
async function answer(
  engine: Engine,
  space: SpaceId,
  command: EngineCommand,
  epochs: ReadonlyMap<number, number>,
): Promise<unknown> {
  const fenceOf = (who: number, epochBack: number): Fence => ({
    holder: HOLDERS[who] ?? "",
    epoch: (epochs.get(who) ?? 1) - epochBack,
  });
  try {
    switch (command.kind) {
      case "append":
        return await engine.append(space, command.ids.map(entryOf));
      case "append-unless":
        return await engine.appendUnless(
          space,
          command.ids.map(entryOf),
          command.after,
          ({ id }) => id[0] === command.against,
        );
      case "read":
        return await engine.read(space, command.after, command.limit);
      case "find":
        return await engine.find(
          space,
          command.ids.map((id) => entryOf(id).id),
        );
      case "acquire":
        return (await engine.acquire(space, HOLDERS[command.who] ?? "", TERM_MS))?.epoch;
      case "release":
        await engine.release(space, fenceOf(command.who, command.epochBack));
        return undefined;
      case "write":
        await engine.write(space, fenceOf(command.who, command.epochBack), {
          changes: command.changes.map(named),
          expect: command.expect.map(({ key, value }) => ({
            key: keyOf(key),
            value: valueOf(value),
          })),
        });
        return "written";
      case "get":
        return await engine.get(space, keyOf(command.key));
      case "scan": {
        const found: unknown[] = [];
        const { reverse, limit } = command;
        for await (const pair of engine.scan(space, { ...ALL, reverse, limit })) found.push(pair);
        return found;
      }
    }
  } catch (error) {
    return toMeshError(error).code;
  }
}

/** Runs the commands on the engine and on the model, and compares each answer, and what is there in the end. */
export async function checkEnginesAgainstModel(
  engine: Engine,
  space: SpaceId,
  commands: readonly EngineCommand[],
): Promise<void> {
  const model = createMemoryEngine(new MemoryEngineData(), { now: () => Date.now() });
  const epochs = new Map<number, number>();
  const ends: EngineCommand[] = [
    { kind: "read", after: 0, limit: 100 },
    { kind: "scan", reverse: false, limit: 100 },
  ];
  for (const command of [...commands, ...ends]) {
    const expected = await answer(model, space, command, epochs);
    expect(await answer(engine, space, command, epochs)).toEqual(expected);
    if (command.kind === "acquire" && typeof expected === "number") {
      epochs.set(command.who, expected);
    }
  }
}
