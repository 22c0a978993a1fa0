// SPDX-License-Identifier: Apache-2.0
/** Goal: each device's batches are wanted of one peer at most, of the one that brings them, and memory for it is bounded. */
import { LIMITS } from "@ctxmesh/model";
import {
  BROADCAST,
  RouteTable,
  decodeMessage,
  encodeMessage,
  passageOf,
  prefixOf,
} from "@ctxmesh/sync";
import type { Bringer, Passage } from "@ctxmesh/sync";
import fc from "fast-check";
import { describe, expect, test } from "vitest";

const device = (n: number): string => n.toString(16).padStart(16, "0").padEnd(64, "f");
const peer = (n: number): Bringer => ({ name: device(n), unasked: false });
const hub: Bringer = { name: device(99), unasked: true };

/** A table that has heard batches of one device. */
function heard(...from: readonly Bringer[]): RouteTable {
  const table = new RouteTable();
  for (const bringer of from) table.heard(device(7), bringer);
  return table;
}

/** What a peer is told about that device. */
function toldTo(table: RouteTable, n: number): "here" | "elsewhere" | "nothing" {
  const { here, elsewhere } = table.routesFor(device(n));
  const name = prefixOf(device(7));
  return here.has(name) ? "here" : elsewhere.has(name) ? "elsewhere" : "nothing";
}

describe("the way of a device's batches", () => {
  test("is the peer that was first to bring one, and all others are told that it is elsewhere", () => {
    const table = heard(peer(1));
    expect([1, 2, 7].map((n) => toldTo(table, n))).toEqual(["here", "elsewhere", "nothing"]);
  });

  test("is left for a peer that brings two in a row first, not for one that does so now and then", () => {
    expect(toldTo(heard(peer(1), peer(2), peer(1), peer(2), peer(3)), 1)).toBe("here");
    expect(toldTo(heard(peer(1), peer(2), peer(2)), 2)).toBe("here");
  });

  test("is left at once for who brings them unasked, and nobody is asked then", () => {
    for (const unasked of [hub, BROADCAST]) {
      const table = heard(peer(1), peer(1), unasked);
      expect([1, 2].map((n) => toldTo(table, n))).toEqual(["elsewhere", "elsewhere"]);
    }
  });

  test("ends with the peer", () => {
    const table = heard(peer(1), peer(2));
    table.lost(device(2));
    table.heard(device(7), peer(2));
    expect(toldTo(table, 1)).toBe("here");
    expect(table.takeChanged()).toBe(true);
    expect(table.takeChanged()).toBe(false);
    table.lost(device(1));
    expect(table.takeChanged()).toBe(true);
    expect([1, 2].map((n) => toldTo(table, n))).toEqual(["nothing", "nothing"]);
  });

  const bringers = fc.constantFrom(peer(1), peer(2), peer(3), hub, BROADCAST);
  const events = fc.array(
    fc.oneof(
      { weight: 9, arbitrary: fc.record({ writer: fc.nat(20), from: bringers }) },
      { weight: 1, arbitrary: fc.record({ lost: fc.constantFrom(1, 2, 3) }) },
    ),
    { maxLength: 60 },
  );

  test("property: of all peers one at most is asked, and only one that is there and has brought something", () => {
    fc.assert(
      fc.property(events, (all) => {
        const table = new RouteTable();
        const brought = new Set<string>();
        for (const event of all) {
          if ("lost" in event) {
            table.lost(device(event.lost));
            for (const key of brought)
              if (key.startsWith(`${String(event.lost)} `)) brought.delete(key);
            continue;
          }
          table.heard(device(100 + event.writer), event.from);
          brought.add(
            `${String(Number.parseInt(event.from.name.slice(0, 16), 16))} ${String(event.writer)}`,
          );
        }
        for (let writer = 0; writer <= 20; writer++) {
          const name = prefixOf(device(100 + writer));
          const asked = [1, 2, 3].filter((n) => table.routesFor(device(n)).here.has(name));
          expect(asked.length).toBeLessThanOrEqual(1);
          for (const n of asked) expect(brought).toContain(`${String(n)} ${String(writer)}`);
        }
      }),
    );
  });

  test("is forgotten of the device heard longest ago, past the limit", () => {
    const table = heard(peer(1));
    for (let n = 0; n < LIMITS.routedDevices; n++) table.heard(device(1_000 + n), peer(1));
    expect(table.size).toBe(LIMITS.routedDevices);
    expect(toldTo(table, 1)).toBe("nothing");
    const { here, elsewhere } = table.routesFor(device(2));
    expect([here.size, elsewhere.size]).toEqual([0, LIMITS.routedDevices]);
  });
});

describe("the passage to a peer", () => {
  const writer = device(7);
  const none = { here: new Set<string>(), elsewhere: new Set<string>() };
  const here = { ...none, here: new Set([prefixOf(writer)]) };
  const elsewhere = { ...none, elsewhere: new Set([prefixOf(writer)]) };
  const usual = { writer, local: false, covered: false, pushesAll: false, busy: false };
  const cases: readonly (readonly [string, Passage, ReturnType<typeof passageOf>])[] = [
    ["our own: pushed", { ...usual, local: true, routes: elsewhere }, "push"],
    ["a hub's: pushed", { ...usual, pushesAll: true, routes: elsewhere }, "push"],
    ["wanted here: pushed", { ...usual, routes: here }, "push"],
    ["wanted here, but the peer is busy: told", { ...usual, routes: here, busy: true }, "tell"],
    ["nothing said: told", { ...usual, routes: none }, "tell"],
    ["elsewhere: told late", { ...usual, routes: elsewhere }, "late"],
    [
      "our own, broadcast: told late",
      { ...usual, local: true, covered: true, routes: none },
      "late",
    ],
  ];
  test.each(cases)("%s", (_, passage, expected) => {
    expect(passageOf(passage)).toBe(expected);
  });
});

/** Names in order, one after another. */
const ascending = (from: number, count: number): number[] =>
  Array.from({ length: count }, (_, n) => [
    0,
    0,
    0,
    0,
    0,
    1,
    (from + n) >> 8,
    (from + n) & 255,
  ]).flat();

/** A byte string as CBOR. */
const list = (bytes: readonly number[]): number[] => [
  0x59,
  bytes.length >> 8,
  bytes.length & 255,
  ...bytes,
];

describe("a routes message", () => {
  const names = fc.uniqueArray(
    fc.integer({ min: 1, max: 2 ** 32 }).map((n) => prefixOf(device(n))),
    {
      maxLength: 40,
    },
  );

  test("property: reads as it was written, whatever the order", () => {
    fc.assert(
      fc.property(names, fc.nat(40), (all, cut) => {
        const [here, elsewhere] = [new Set(all.slice(0, cut)), new Set(all.slice(cut))];
        const message = { type: "routes", here, elsewhere } as const;
        expect(decodeMessage(encodeMessage(message))).toEqual(message);
      }),
    );
  });

  const one = [0x48, ...new Uint8Array(8).fill(1)];
  const two = [0x50, ...new Uint8Array(8).fill(1), ...new Uint8Array(8).fill(1)];
  const half = LIMITS.routedDevices / 2 + 1;
  test.each([
    ["one list", [0x82, 13, 0x40]],
    ["three lists", [0x84, 13, 0x40, 0x40, 0x40]],
    ["a list that is a number", [0x83, 13, 0x40, 1]],
    ["a name that is too short", [0x83, 13, 0x47, ...new Uint8Array(7).fill(1), 0x40]],
    ["a name twice", [0x83, 13, ...two, 0x40]],
    ["a name in both lists", [0x83, 13, ...one, ...one]],
    [
      "a list over the limit",
      [
        0x83,
        13,
        ...list([...ascending(0, LIMITS.routedDevices), ...new Uint8Array(8).fill(9)]),
        0x40,
      ],
    ],
    ["two lists over it", [0x83, 13, ...list(ascending(0, half)), ...list(ascending(half, half))]],
  ])("with %s is refused", (_, bytes) => {
    expect(() => decodeMessage(Uint8Array.from(bytes))).toThrow(/PROTOCOL_VIOLATION|sync message/u);
  });
});
