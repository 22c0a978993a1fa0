// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { parseModule, rewriteModule } from "@ctxmesh/sandbox";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PROGRAM_EXPORTS, PROGRAM_MORE_PAGES, randomProgram } from "./programs.ts";
import { wat } from "./wat.ts";

/** The part of the platform's WebAssembly that is used. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
  readonly RuntimeError: new () => Error;
};

/** It calls all the others. */
const LAST = PROGRAM_EXPORTS.at(-1) ?? "";

interface Instance {
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
  readonly "+reset"?: () => void;
  readonly "+steps"?: { value: number };
  readonly "+large"?: { value: number };
  readonly "+grows"?: { readonly value: number };
}
type Functions = Readonly<Record<string, (...args: readonly number[]) => number>>;

const instantiate = (bytes: Uint8Array): Instance & Functions => {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes));
  return exports as Instance & Functions;
};

/** A rewritten module, with all its memory at once where it grows. */
function prepare(bytes: Uint8Array, morePages: number): Instance & Functions {
  const instance = instantiate(bytes);
  if (morePages > 0 && instance["+large"] !== undefined) {
    instance.memory.grow(morePages);
    instance["+large"].value = 1;
  }
  instance["+reset"]?.();
  return instance;
}

/** What a call gives, or that it traps, and what it leaves in memory up to the last byte that is not 0. */
function outcome(instance: Instance & Functions, name: string, argument: number): unknown {
  let result: unknown;
  try {
    result = instance[name]?.(argument);
  } catch (error) {
    result = error instanceof WebAssembly.RuntimeError ? "trap" : error;
  }
  const bytes = new Uint8Array(instance.memory.buffer);
  const end = bytes.findLastIndex((byte) => byte !== 0) + 1;
  return { result, left: Buffer.from(bytes.subarray(0, end)).toString("latin1") };
}

/** More steps, and nothing else. */
function refill({ "+steps": steps }: Instance): void {
  if (steps !== undefined) steps.value = 2 ** 31 - 1;
}

describe("a module that is rewritten", () => {
  test("gives what it gave, traps where it trapped, and leaves the same memory", () => {
    const counts = { compared: 0, grown: 0, trapped: 0 };
    fc.assert(
      fc.property(fc.nat(), fc.constantFrom(0, 1, -1, 77), (seed, argument) => {
        const bytes = wat(randomProgram(seed));
        const rewritten = rewriteModule(parseModule(bytes), PROGRAM_EXPORTS);
        let after = prepare(rewritten, 0);
        let there = outcome(after, LAST, argument);
        if (after["+grows"]?.value === 1) {
          counts.grown++;
          after = prepare(rewritten, PROGRAM_MORE_PAGES);
          there = outcome(after, LAST, argument);
        }
        // Long ones are cut off, which is another test's.
        if ((after["+steps"]?.value ?? 0) < 0) return;
        const here = outcome(instantiate(bytes), LAST, argument);
        expect(there).toEqual(here);
        counts.compared++;
        if ((here as { readonly result: unknown }).result === "trap") counts.trapped++;
      }),
      { numRuns: 100 },
    );
    expect(Math.min(counts.compared - 50, counts.grown, counts.trapped)).toBeGreaterThan(3);
  });

  test("is as good a core of facts as before", () => {
    const bytes = readFileSync(new URL("../../../wasm/facts.wasm", import.meta.url));
    const parsed = parseModule(bytes);
    const names = [...parsed.exports].flatMap(([name, { kind }]) => (kind === 0 ? [name] : []));
    const run = (instance: ReturnType<typeof instantiate>): readonly string[] => {
      const core = instance as unknown as Readonly<
        Record<string, (...args: readonly unknown[]) => number>
      >;
      const seen: string[] = [];
      const answer = (result: number | undefined): void => {
        const [at = 0, length = 0] = [core["out"]?.(), core["outLength"]?.()];
        seen.push(
          `${String(result)} ${Buffer.from(instance.memory.buffer, at, length).toString("hex")}`,
        );
      };
      const input = (...parts: readonly Uint8Array[]): void => {
        let at = core["alloc"]?.(parts.reduce((sum, { length }) => sum + length, 0)) ?? 0;
        for (const part of parts) {
          new Uint8Array(instance.memory.buffer).set(part, at);
          at += part.length;
        }
      };
      core["init"]?.(500_000, 1n, 2n);
      for (let i = 0; i < 40; i++) {
        const [key, value] = [
          Buffer.from(`key-${String(i % 7)}`),
          Buffer.from(JSON.stringify({ n: i })),
        ];
        // Each call has its steps; what is compared is the state that they build up.
        refill(instance);
        input(new Uint8Array(48).fill(i % 3), key, value);
        answer(core["set"]?.(key.length, value.length, i + 1, 1e6 + i));
      }
      refill(instance);
      answer(core["summary"]?.());
      refill(instance);
      answer(core["digest"]?.());
      return seen;
    };
    const rewritten = prepare(rewriteModule(parsed, names), 15);
    const [here, there] = [run(instantiate(bytes)), run(rewritten)];
    expect(there).toEqual(here);
    expect(here.at(-1)).toMatch(/^32 [\da-f]{64}$/u);
  });
});
