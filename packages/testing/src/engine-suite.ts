// SPDX-License-Identifier: Apache-2.0
/** The acceptance suite of the `Engine` port. */
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { LIMITS } from "@ctxmesh/model";
import type { EngineEntry, Engine } from "@ctxmesh/model";
import { checkEnginesAgainstModel, engineCommands } from "./engine-model.ts";
import { leaseTests, sharedTests } from "./engine-suite-lease.ts";
import { appendTests, readTests } from "./engine-suite-log.ts";
import {
  KEY,
  TERM_MS,
  WAIT_MS,
  entries,
  freshSpace,
  idOf,
  lease,
  refusal,
} from "./engine-suite-tools.ts";
import type { Subject } from "./engine-suite-tools.ts";
import { waitFor } from "./wait.ts";

/** An engine under test, with a space of its own that nobody has used. */
export interface EngineUnderTest {
  readonly engine: Engine;
  /** Opens the same data once more: as another hub's, where several can be, else after closing the last one. */
  again(): Promise<Engine>;
  /** Closes all of them. */
  destroy(): Promise<void>;
}

const SLOW_MS = 60_000;

/**
 * Registers the acceptance tests of the `Engine` port with Vitest, under `name`. `open` is called before each test. Each test
 * works on a space of its own, so an engine may be shared by all of them. `runs`: random histories of 50 operations.
 */
export function runEngineTests(
  name: string,
  open: () => Promise<EngineUnderTest>,
  { runs }: { readonly runs: number },
): void {
  describe(`engine port: ${name}`, () => {
    let opened: EngineUnderTest;
    let subject: Subject;
    beforeEach(async () => {
      opened = await open();
      subject = { engine: opened.engine, space: freshSpace(), again: () => opened.again() };
    });
    afterEach(() => opened.destroy());
    const its = (): Subject => subject;

    describe("append", () => {
      appendTests(its);
    });
    describe("read", () => {
      readTests(its);
    });
    describe("lease", () => {
      leaseTests(its);
    });
    describe("shared map", () => {
      sharedTests(its);
    });
    describe("limits and ends", () => {
      endTests(its);
    });

    test("any history of two hubs gives what the model gives", { timeout: SLOW_MS }, async () => {
      const property = fc.asyncProperty(engineCommands(), async (commands) => {
        await checkEnginesAgainstModel(opened.engine, freshSpace(), commands);
      });
      await fc.assert(property, { numRuns: runs });
      expect.hasAssertions();
    });
  });
}

function endTests(its: () => Subject): void {
  test("more records than one call may have are refused, and none is written", async () => {
    const { engine, space } = its();
    const many = entries(1, LIMITS.engineEntries + 1);
    await expect(engine.append(space, many)).rejects.toThrow(refusal("LIMIT_EXCEEDED"));
    expect(await engine.head(space)).toBe(0);
  });

  test("more bytes than one call may have are refused, and none is written", async () => {
    const { engine, space } = its();
    const bytes = new Uint8Array(LIMITS.engineBytes + 1);
    const large: EngineEntry = { kind: "batch", id: idOf("large"), bytes };
    await expect(engine.append(space, [large])).rejects.toThrow(refusal("LIMIT_EXCEEDED"));
    expect(await engine.head(space)).toBe(0);
  });

  test("a change with too many bytes is refused", async () => {
    const { engine, space } = its();
    const fence = await lease(its());
    const value = new Uint8Array(LIMITS.engineBytes + 1);
    await expect(engine.write(space, fence, { changes: [{ key: KEY, value }] })).rejects.toThrow(
      refusal("LIMIT_EXCEEDED"),
    );
  });

  test("its clock goes on, and is about ours", async () => {
    const { engine } = its();
    const first = await engine.now();
    expect(Math.abs(first - Date.now())).toBeLessThan(60_000);
    await waitFor(async () => (await engine.now()) > first, { timeoutMs: WAIT_MS, what: "a tick" });
  });

  test("a closed engine says so", async () => {
    const { engine, space } = its();
    await engine.close();
    await engine.close();
    const closed = refusal("CLOSED");
    await expect(engine.append(space, entries(1, 1))).rejects.toThrow(closed);
    await expect(engine.read(space, 0, 1)).rejects.toThrow(closed);
    await expect(engine.head(space)).rejects.toThrow(closed);
    await expect(engine.acquire(space, "hub-1", TERM_MS)).rejects.toThrow(closed);
    await expect(engine.get(space, KEY)).rejects.toThrow(closed);
    await expect(engine.now()).rejects.toThrow(closed);
  });
}
