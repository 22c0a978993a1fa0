// SPDX-License-Identifier: Apache-2.0
/** Attacks with rich updates: the ones known to work on Yjs, and each rule of its own. */
import { LIMITS } from "@ctxmesh/model";
import {
  any,
  anyInt,
  between,
  first,
  str,
  text,
  uint,
  update,
} from "../../../packages/rich/test/support.ts";
import type { Content } from "../../../packages/rich/test/support.ts";
import { by } from "../support/attack.ts";
import type { Attack, KnownAttack, Verdict } from "../support/attack.ts";
import { INCARNATION, OTHER_DOC, clientOf, hlcAt, richOf } from "../support/forge.ts";
import { HONEST_CLOCKS, TRANSCRIPT_LENGTH, appender, mallory } from "../support/ground.ts";
import { bombV2 } from "../support/v2.ts";

/** The attacker's own client id. */
const ME = clientOf(mallory.key, INCARNATION);

/** A rich attack; `make` is given the honest client. */
const rich = (
  name: string,
  make: (honest: number) => Uint8Array,
  {
    to = 1,
    from = 0,
    verdict = "refused rich",
    known,
  }: {
    readonly to?: number;
    readonly from?: number;
    readonly verdict?: Verdict;
    readonly known?: KnownAttack;
  } = {},
): Attack => ({
  name,
  verdict,
  build: (ground) => [
    by(ground, { sections: [richOf(make(ground.honestClient), to, from)] }).bytes,
  ],
  ...(known === undefined ? {} : { known }),
});

/** One struct of the attacker's that opens a root. */
const one = (root: string, content: Content, key?: string): Uint8Array =>
  update(ME, 0, [first(root, content, key)]);

const count = (length: number): number[] => Array.from({ length }, (_, i) => i);

const nested = (depth: number): number[] => [
  ...Array.from({ length: depth }, () => [117, 1]).flat(),
  126,
];

const bombs: readonly Attack[] = [
  rich("V2 bomb of 1,000,000 structs", () => bombV2(1_000_000), { known: "V2 run-length bomb" }),
  rich("V2 bomb of 20,000,000 structs", () => bombV2(20_000_000), { known: "V2 run-length bomb" }),
  rich(
    "2^31 declared structs of V1",
    () => Uint8Array.from([1, ...uint(2 ** 31), ...uint(ME), 0]),
    {
      known: "V1 count bomb 2^31",
    },
  ),
  rich("2^31 declared delete ranges", (him) =>
    Uint8Array.from([0, 1, ...uint(him), ...uint(2 ** 31)]),
  ),
  rich("2^31 declared values", () => one("list:a", [8, ...uint(2 ** 31)])),
  rich("2^31 declared members of a value", () => one("list:a", any([118, ...uint(2 ** 31)]))),
  rich("a garbage struct of 2^52", () => update(ME, 0, [[0, ...uint(2 ** 52)]]), {
    to: 2 ** 52,
    known: "GC struct of 2^52",
  }),
  rich("a gap of 2^52", () => update(ME, 0, [[10, ...uint(2 ** 52)]]), { to: 2 ** 52 }),
  rich("a deleted run of 2^52", () => one("text:a", [1, ...uint(2 ** 52)]), { to: 2 ** 52 }),
  rich(
    "a deleted run of a clock more than the limit",
    () => one("text:a", [1, ...uint(LIMITS.bodyBytes + 1)]),
    { to: LIMITS.bodyBytes + 1 },
  ),
  rich(
    "10,001 structs",
    () =>
      update(
        ME,
        0,
        count(10_001).map((i) =>
          i === 0 ? first("text:a", str("x")) : between([ME, i - 1], undefined, str("x")),
        ),
      ),
    { to: 10_001 },
  ),
  rich("700 KB of text, compressed", () => one("text:a", str("x".repeat(700_000))), {
    to: 700_000,
  }),
  rich(
    "structs of 100,000 clients, compressed",
    () =>
      Uint8Array.from([
        ...uint(100_000),
        ...count(100_000).flatMap((i) => [1, ...uint(i + 1), 0, 0, 1]),
      ]),
    { known: "100k clients" },
  ),
  rich(
    "structs of 20,000 clients",
    () =>
      Uint8Array.from([
        ...uint(20_000),
        ...count(20_000).flatMap((i) => [1, ...uint(i + 1), 0, 0, 1]),
      ]),
    { known: "100k clients" },
  ),
];

const deletes: readonly Attack[] = [
  ...(
    [
      [200_000, "refused frame-size"],
      [40_000, "refused rich"],
    ] as const
  ).map(([ranges, verdict]) =>
    rich(
      `${String(ranges)} delete ranges for an unknown client`,
      () => update(ME, 0, [], [[300, count(ranges).map((i) => [2 * i, 1] as const)]]),
      { to: 0, verdict, known: "200k delete ranges for an unknown client" },
    ),
  ),
  rich(
    "1,000 delete ranges for an unknown client",
    () => update(ME, 0, [], [[300, count(1000).map((i) => [2 * i, 1] as const)]]),
    { to: 0, verdict: "held missing", known: "200k delete ranges for an unknown client" },
  ),
  rich(
    "1,001 delete ranges",
    (him) => update(ME, 0, [], [[him, count(1001).map((i) => [2 * i, 1] as const)]]),
    { to: 0 },
  ),
  rich(
    "deletion of all that a client will ever write",
    (him) => update(ME, 0, [], [[him, [[0, 2 ** 40]]]]),
    { to: 0, verdict: "held missing", known: "delete-all by range" },
  ),
  {
    name: "deletion of everything of others with the role append",
    known: "delete-all by range",
    build: (ground) => {
      const all = update(ME, 0, [], [[ground.honestClient, [[0, TRANSCRIPT_LENGTH]]]]);
      const sections = [richOf(all, 0, 0, OTHER_DOC)];
      return [by(ground, { device: appender, sections }).bytes];
    },
    verdict: "refused grant",
  },
  {
    name: "another value for the key of others with the role append",
    build: (ground) => {
      const client = clientOf(appender.key, INCARNATION);
      const replace = between([ground.honestClient, 7], undefined, any(anyInt(1)), true);
      const sections = [richOf(update(client, 0, [replace]), 1)];
      return [by(ground, { device: appender, sections }).bytes];
    },
    verdict: "refused grant",
  },
  rich("deletion of what it has yet to write", () =>
    update(ME, 0, [first("text:a", str("x"))], [[ME, [[0, 2]]]]),
  ),
  rich(
    "delete ranges that overlap",
    (him) =>
      update(
        ME,
        0,
        [],
        [
          [
            him,
            [
              [0, 2],
              [1, 2],
            ],
          ],
        ],
      ),
    { to: 0 },
  ),
];

const owners: readonly Attack[] = [
  rich(
    "structs of the honest client, where its own come next",
    (him) => update(him, HONEST_CLOCKS, [between([him, 4], undefined, str("x"))]),
    { from: HONEST_CLOCKS, to: HONEST_CLOCKS + 1, known: "forged clientID, same clock" },
  ),
  rich(
    "900 clocks of the honest client taken beforehand",
    (him) => update(him, HONEST_CLOCKS, [between([him, 4], undefined, str("x".repeat(900)))]),
    { from: 0, to: 900, known: "clock pre-emption of a victim" },
  ),
  {
    name: "a header with the honest client's id",
    known: "forged clientID, same clock",
    build: (ground) => {
      const { honestClient: client } = ground;
      const from = HONEST_CLOCKS;
      const bytes = update(client, from, [between([client, 4], undefined, str("x"))]);
      return [by(ground, { client, sections: [richOf(bytes, from + 1, from)] }).bytes];
    },
    verdict: "refused rich",
  },
  {
    name: "a rich batch without a client id",
    build: (ground) => {
      const sections = [richOf(one("text:a", str("x")), 1)];
      return [by(ground, { client: 0, sections }).bytes];
    },
    verdict: "refused rich",
  },
  {
    name: "facts with the honest client's id in the header",
    build: (ground) => [by(ground, { client: ground.honestClient }).bytes],
    verdict: "refused rich",
  },
  rich("structs of two clients", (him) =>
    Uint8Array.from([2, 1, ...uint(ME), 0, ...first("text:a", str("x")), 1, ...uint(him), 0]),
  ),
  {
    name: "3,000 tiny updates of the far future",
    known: "far-future clocks, 3,000 tiny updates",
    build: (ground) =>
      count(3_000).map((i) => {
        const from = 2 ** 40 + 2 * i;
        const sections = [richOf(update(ME, from, [first("text:a", str("x"))]), from + 1, from)];
        return by(ground, { hlc: hlcAt(1 + i / 100), sections }).bytes;
      }),
    verdict: { "refused rich": 3_000 },
  },
  rich("clocks up to 2^53 - 1", () => update(ME, 2 ** 53 - 2, [first("text:a", str("x"))]), {
    from: 2 ** 53 - 2,
    to: 2 ** 53 - 1,
  }),
];

const PROTO: KnownAttack = "__proto__ key in map, value and root name";
const DEEP: KnownAttack = "nested value depth 10k";

const contents: readonly Attack[] = [
  rich("a map key __proto__", () => one("map:plan", any(anyInt(1)), "__proto__"), { known: PROTO }),
  rich("a root called __proto__", () => one("map:__proto__", any(anyInt(1)), "k"), {
    known: PROTO,
  }),
  rich("a root called __proto__ and nothing else", () => one("__proto__", str("x")), {
    known: PROTO,
  }),
  rich(
    "a value with __proto__",
    () => one("list:items", any([118, 1, ...text("__proto__"), 118, 1, ...text("isAdmin"), 120])),
    { known: PROTO },
  ),
  rich("an embed with constructor", () => one("text:a", [5, ...text('{"constructor":{}}')])),
  rich("a text attribute __proto__", () =>
    one("text:a", [6, ...text("__proto__"), ...text("true")]),
  ),
  rich("a value nested 10,000 deep", () => one("list:a", any(nested(10_000))), { known: DEEP }),
  rich(
    "an embed nested 10,000 deep",
    () => one("text:a", [5, ...text(`{"a":${"[".repeat(10_000)}${"]".repeat(10_000)}}`)]),
    { known: DEEP },
  ),
  rich(
    "shared types nested 100 deep",
    () =>
      update(
        ME,
        0,
        count(100).map((i) => first(i === 0 ? "list:a" : [ME, i - 1], [7, 0])),
      ),
    { to: 100 },
  ),
  rich("a key of 513 characters", () => one("map:a", any(anyInt(1)), "k".repeat(513))),
  rich("undefined in a value", () => one("list:a", any([127]))),
  rich("NaN in a value", () => one("list:a", any([124, 0x7f, 0xc0, 0, 0]))),
  rich("a subdocument", () => one("list:a", [9, ...text("guid"), 118, 0])),
  rich("an XML element", () => one("list:a", [7, 3, ...text("div")])),
  rich("binary content", () => one("list:a", [3, 1, 1])),
  rich("text that is not UTF-8", () => one("text:a", [4, 3, 0xed, 0xa0, 0x80])),
  rich("a root of no kind", () => one("notes", str("x"))),
  rich("text in a list", () => one("list:items", str("x"))),
];

const places: readonly Attack[] = [
  rich(
    "a neighbour of the far future",
    (him) => update(ME, 0, [between([him, 2 ** 52], undefined, str("x"))]),
    { verdict: "held missing" },
  ),
  rich("an unknown parent", () => update(ME, 0, [first([300, 7], any(anyInt(1)))]), {
    verdict: "held missing",
  }),
  rich("itself as its neighbour", () => update(ME, 0, [between([ME, 0], undefined, str("x"))])),
  rich("neighbours in two lists", (him) =>
    update(ME, 0, [between([him, 0], [him, 6], any(anyInt(1)))]),
  ),
  rich("neighbours the wrong way round", (him) =>
    update(ME, 0, [between([him, 3], [him, 1], str("x"))]),
  ),
  rich("neighbours with something between", (him) =>
    update(ME, 0, [between([him, 0], [him, 2], str("x"))]),
  ),
  rich("a parent that is text", (him) => update(ME, 0, [first([him, 1], str("x"))])),
  rich("a V1 update cut off", () => one("text:a", str("hello")).subarray(0, -3)),
  rich("bytes after a V1 update", () => Uint8Array.from([...one("text:a", str("x")), 0])),
  rich("a clock longer than it need be", () => Uint8Array.from([0x81, 0, 1, 100, 0])),
  rich("a V1 update that changes nothing", () => Uint8Array.of(0, 0), { to: 0 }),
  {
    name: "one good section and one bad",
    build: (ground) => {
      const good = richOf(one("text:a", str("x")), 1);
      const bad = richOf(one("notes", str("x")), 1, 0, OTHER_DOC);
      return [by(ground, { sections: [good, bad] }).bytes];
    },
    verdict: "refused rich",
  },
];

/** Attacks that end at a rich update, or wait for what it builds on. */
export const RICH: readonly Attack[] = [...bombs, ...deletes, ...owners, ...contents, ...places];
