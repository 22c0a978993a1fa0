// SPDX-License-Identifier: Apache-2.0
/** What the compiler says of keys and values, by a type map as `ctxmesh schema types` writes it. */
import type { JsonValue, VisibleFact } from "@ctxmesh/model";
import { expectTypeOf, test } from "vitest";
import type { ContextClient, ValueOf } from "../src/index.ts";

interface Telemetry {
  readonly unit: "C" | "F";
  readonly value: number | null;
}
/** Three prefixes, of which one starts with another. */
interface Facts {
  readonly "telemetry/": Telemetry;
  readonly "telemetry/raw/": readonly number[];
  readonly "labels/": { readonly [member: string]: string };
}

test("the longest prefix that a key starts with says what its value is", () => {
  expectTypeOf<ValueOf<Facts, "telemetry/press-7">>().toEqualTypeOf<Telemetry>();
  expectTypeOf<ValueOf<Facts, "telemetry/raw/press-7">>().toEqualTypeOf<readonly number[]>();
  expectTypeOf<ValueOf<Facts, "other">>().toEqualTypeOf<JsonValue>();
  expectTypeOf<ValueOf<Facts, string>>().toEqualTypeOf<JsonValue>();
  expectTypeOf<ValueOf<Facts & { "": boolean }, "other">>().toEqualTypeOf<boolean>();
  expectTypeOf<ValueOf<unknown, "telemetry/x">>().toEqualTypeOf<JsonValue>();
});

test("reads and writes have the types of their keys", () => {
  type Client = ContextClient<Facts>;
  const read = (client: Client) => client.get("d", "telemetry/press-7");
  expectTypeOf<NonNullable<Awaited<ReturnType<typeof read>>>["value"]>().toEqualTypeOf<Telemetry>();
  const write = async (client: Client): Promise<void> => {
    await client.put("d", { key: "telemetry/a", value: { unit: "C", value: 1 }, confidence: 0.5 });
    await client.put("d", [
      { key: "telemetry/a", value: { unit: "F", value: null } },
      { key: "telemetry/raw/a", value: [1, 2] },
      { key: "else", value: "anything" },
    ]);
    // @ts-expect-error -- K is no unit
    await client.put("d", { key: "telemetry/a", value: { unit: "K", value: 1 } });
    // @ts-expect-error -- a list of numbers is no text
    await client.put("d", { key: "telemetry/raw/a", value: "1, 2" });
    const right = { key: "else", value: 1 } as const;
    // @ts-expect-error -- a label is a text
    await client.put("d", [right, { key: "labels/a", value: { a: 1 } }]);
  };
  expectTypeOf(write).returns.resolves.toBeVoid();
});

test("without a type map everything is as the node has it", () => {
  expectTypeOf<Awaited<ReturnType<ContextClient["get"]>>>().toExtend<VisibleFact | undefined>();
});
