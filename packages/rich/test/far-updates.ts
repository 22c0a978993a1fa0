// SPDX-License-Identifier: Apache-2.0
/** Updates that would cost too much, and updates that build on what is not there. */
import { LIMITS } from "@ctxmesh/model";
import { HONEST, OTHER } from "./bad-updates.ts";
import { any, anyInt, between, first, str, text, uint, update } from "./support.ts";

const nested = (depth: number): number[] => [
  ...Array.from({ length: depth }, () => [117, 1]).flat(),
  126,
];
const many = Array.from({ length: 10_001 }, (_, i) => i);
export const TOO_MUCH: readonly (readonly [name: string, Uint8Array, to: number, field: string])[] =
  [
    [
      "2^31 declared structs",
      Uint8Array.from([1, ...uint(2 ** 31), ...uint(OTHER), 0]),
      1,
      "structs",
    ],
    [
      "10,001 structs",
      update(
        OTHER,
        0,
        many.map((i) =>
          i === 0 ? first("text:a", str("x")) : between([OTHER, i - 1], undefined, str("x")),
        ),
      ),
      10_001,
      "structs",
    ],
    [
      "2^31 declared delete ranges",
      Uint8Array.from([0, 1, ...uint(HONEST), ...uint(2 ** 31)]),
      0,
      "delete ranges",
    ],
    [
      "1,001 delete ranges",
      update(OTHER, 0, [], [[HONEST, many.slice(0, 1001).map((i) => [2 * i, 1] as const)]]),
      0,
      "delete ranges",
    ],
    [
      "a deleted run of 2^52",
      update(OTHER, 0, [first("text:a", [1, ...uint(2 ** 52)])]),
      2 ** 52,
      "clocks",
    ],
    [
      "more bytes than a batch",
      update(OTHER, 0, [first("text:a", str("x".repeat(LIMITS.writeBytes)))]),
      LIMITS.writeBytes,
      "bytes",
    ],
    [
      "a value nested 10,000 deep",
      update(OTHER, 0, [first("list:a", any(nested(10_000)))]),
      1,
      "levels of nesting",
    ],
    [
      "an embed nested 10,000 deep",
      update(OTHER, 0, [
        first("text:a", [5, ...text(`{"a":${"[".repeat(10_000)}${"]".repeat(10_000)}}`)]),
      ]),
      1,
      "levels of nesting",
    ],
    [
      "shared types nested 100 deep",
      update(
        OTHER,
        0,
        many.slice(0, 100).map((i) => first(i === 0 ? "list:a" : [OTHER, i - 1], [7, 0])),
      ),
      100,
      "levels of nesting",
    ],
    [
      "a key of 513 characters",
      update(OTHER, 0, [first("map:a", any(anyInt(1)), "k".repeat(513))]),
      1,
      "characters in a key",
    ],
  ];

/** What builds on operations that are not here, and the one it needs. */
export const MISSING: readonly (readonly [
  name: string,
  Uint8Array,
  to: number,
  client: number,
  clock: number,
])[] = [
  [
    "an unknown left neighbour",
    update(OTHER, 0, [between([HONEST, 12], undefined, str("x"))]),
    1,
    HONEST,
    12,
  ],
  [
    "an unknown right neighbour",
    update(OTHER, 0, [between(undefined, [300, 0], str("x"))]),
    1,
    300,
    0,
  ],
  ["an unknown parent", update(OTHER, 0, [first([300, 7], any(anyInt(1)))]), 1, 300, 7],
  [
    "a neighbour of the far future",
    update(OTHER, 0, [between([HONEST, 2 ** 52], undefined, str("x"))]),
    1,
    HONEST,
    2 ** 52,
  ],
  [
    "deletion of everything of a client, known or not",
    update(OTHER, 0, [], [[HONEST, [[0, 2 ** 40]]]]),
    0,
    HONEST,
    2 ** 40 - 1,
  ],
  [
    "deletions for an unknown client",
    update(OTHER, 0, [], [[300, many.slice(0, 1000).map((i) => [2 * i, 1] as const)]]),
    0,
    300,
    0,
  ],
];
