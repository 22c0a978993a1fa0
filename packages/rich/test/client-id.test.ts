// SPDX-License-Identifier: Apache-2.0
import { allocateClientId, clientIdFrom } from "@ctxmesh/rich";
import { createSeededRandom } from "@ctxmesh/testing";
import { expect, test } from "vitest";

test("a client id is the first 53 bits of its seed, low bytes first", () => {
  expect(clientIdFrom(Uint8Array.of(1, 2, 0, 0, 0, 0, 0, 99))).toBe(0x201);
  expect(clientIdFrom(Uint8Array.from({ length: 7 }, () => 255))).toBe(Number.MAX_SAFE_INTEGER);
});

test("a client id is never 0, which stands for none", () => {
  expect(clientIdFrom(new Uint8Array(7))).toBe(1);
});

test("a seed that is too short is refused", () => {
  expect(() => clientIdFrom(new Uint8Array(6))).toThrow(
    expect.objectContaining({ code: "INPUT_INVALID" }),
  );
});

test("allocated client ids use the given randomness, are safe integers, and use all 53 bits", () => {
  const [one, same] = [createSeededRandom(1), createSeededRandom(1)];
  let [ored, anded] = [0n, 2n ** 53n - 1n];
  const seen = new Set<number>();
  for (let i = 0; i < 1000; i++) {
    const id = allocateClientId(one);
    expect(id).toBe(allocateClientId(same));
    expect(Number.isSafeInteger(id) && id > 0).toBe(true);
    seen.add(id);
    ored |= BigInt(id);
    anded &= BigInt(id);
  }
  expect(seen.size).toBe(1000);
  expect([ored, anded]).toEqual([2n ** 53n - 1n, 0n]);
});
