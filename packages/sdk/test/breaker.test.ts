// SPDX-License-Identifier: Apache-2.0
import { MeshError } from "@ctxmesh/model";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { BREAKER_FAILURES, BREAKER_OPEN_MS, Breaker } from "../src/breaker.ts";

const away = new MeshError("UNREACHABLE", "away");
const isAway = (error: unknown): boolean => error === away;

const outcomes = fc.array(
  fc.record({
    waitMs: fc.integer({ min: 0, max: BREAKER_OPEN_MS }),
    outcome: fc.constantFrom("answer", "away", "refused", "called off"),
  }),
  { maxLength: 60 },
);
const ERRORS = {
  away,
  refused: new MeshError("INPUT_INVALID", "refused"),
  "called off": new MeshError("ABORTED", "called off"),
};

const REFUSAL: unknown = expect.objectContaining({
  code: "UNREACHABLE",
  message: expect.stringContaining("next try") as string,
});

test("calls go through until five in a row failed, then one a second until one is answered", async () => {
  await fc.assert(
    fc.asyncProperty(outcomes, async (steps) => {
      let now = 0;
      const breaker = new Breaker("there", () => now);
      let failures = 0;
      let lastMs = 0;
      for (const { waitMs, outcome } of steps) {
        now += waitMs;
        const isOpen = failures >= BREAKER_FAILURES && now < lastMs + BREAKER_OPEN_MS;
        let made = false;
        const call = breaker.run(() => {
          made = true;
          return outcome === "answer" ? Promise.resolve(1) : Promise.reject(ERRORS[outcome]);
        }, isAway);
        const error: unknown = await call.then(
          () => undefined,
          (reason: unknown) => reason,
        );
        expect(made).toBe(!isOpen);
        const expected = outcome === "answer" ? undefined : ERRORS[outcome];
        expect(error).toEqual(isOpen ? REFUSAL : expected);
        if (isOpen) continue;
        if (outcome === "answer" || outcome === "refused") failures = 0;
        if (outcome === "away") {
          failures++;
          lastMs = now;
        }
      }
    }),
  );
});

test("a call that was called off says nothing of the node, neither good nor bad", async () => {
  const breaker = new Breaker("there", () => 0);
  for (let i = 0; i < BREAKER_FAILURES; i++) {
    const off = ERRORS["called off"];
    await expect(breaker.run(() => Promise.reject(off), isAway)).rejects.toBe(off);
    await expect(breaker.run(() => Promise.reject(away), isAway)).rejects.toBe(away);
  }
  await expect(breaker.run(() => Promise.resolve(1), isAway)).rejects.toEqual(REFUSAL);
});

test("of many calls at once, one finds out whether the node answers again", async () => {
  let now = 0;
  const breaker = new Breaker("there", () => now);
  for (let i = 0; i < BREAKER_FAILURES; i++) {
    await expect(breaker.run(() => Promise.reject(away), isAway)).rejects.toBe(away);
  }
  now += BREAKER_OPEN_MS;
  const { promise, resolve } = Promise.withResolvers<number>();
  const probe = breaker.run(() => promise, isAway);
  const others = Array.from({ length: 10 }, () =>
    breaker.run(() => Promise.resolve(2), isAway).catch((error: unknown) => error),
  );
  for (const error of await Promise.all(others)) {
    expect(error).toMatchObject({ code: "UNREACHABLE" });
  }
  resolve(1);
  expect(await probe).toBe(1);
  expect(await breaker.run(() => Promise.resolve(3), isAway)).toBe(3);
});
