// SPDX-License-Identifier: Apache-2.0
/** What a subscription wants, and what a subscriber is sent. */
import {
  LIMITS,
  parseDocumentName,
  parseSubscription,
  parseSubscriptionRules,
  subscriptionRules,
} from "@ctxmesh/model";
import type { Subscription } from "@ctxmesh/model";
import { Wants, tailored } from "@ctxmesh/replica";
import { describe, expect, test } from "vitest";
import { START_MS, applied, forge, hlcAt, open, space, us, writer } from "./mesh.ts";
import { without } from "./partial-support.ts";

const [A, B] = [parseDocumentName("a/1"), parseDocumentName("b/1")];

describe("a subscription", () => {
  test("is the same in every notation", () => {
    const rules = ["age:7d", "key:temp/**", "doc:b/", "doc:a/", "model:m", "doc:a/"];
    const parsed = parseSubscriptionRules(rules);
    expect(parsed).toEqual({
      docs: ["a/", "b/"],
      keys: ["temp/**"],
      models: ["m"],
      maxAgeMs: 604_800_000,
    });
    expect(parseSubscription(parsed)).toEqual(parsed);
    expect(parseSubscriptionRules(subscriptionRules(parsed ?? {}))).toEqual(parsed);
    expect(parseSubscriptionRules([])).toBeUndefined();
  });

  test.each(["doc:", "doc:/a", "key:", "age:7", "age:0d", "size:3", "a/", "model:"])(
    "has no rule like %s",
    (rule) => {
      expect(() => parseSubscriptionRules([rule])).toThrow(/subscription/u);
    },
  );

  test.each<readonly [Subscription, string, object, boolean]>([
    [{ keys: ["t/*"] }, "t/a", {}, true],
    [{ keys: ["t/*"] }, "t/a/b", {}, false],
    [{ models: ["m"] }, "k", { source: { model: "m" } }, true],
    [{ models: ["m"] }, "k", { source: { model: "n" } }, false],
    // What has none may withdraw what has.
    [{ models: ["m"] }, "k", {}, true],
    [{ keys: ["k"], models: ["m"] }, "k", { source: { model: "n" } }, false],
    [{ keys: ["k"], models: ["m"] }, "j", { source: { model: "m" } }, false],
  ])("%j wants %s %j: %s", (subscription, key, more, wanted) => {
    const records = [{ key, seq: 1, hlc: hlcAt(1), ...more }];
    expect(new Wants(subscription).hasOne({ from: 0, to: 1, records })).toBe(wanted);
  });

  test("tells by the header what it can", () => {
    const section = forge({ docs: [A] }).header.sections[0] ?? { doc: A, kind: "facts" as const };
    const at = { hlc: hlcAt(0) };
    const of = (rules: Subscription, ageMs: number, slackMs = 0): string =>
      new Wants(rules).byHeader(at, section, START_MS + ageMs, slackMs);
    expect([of({ docs: ["a"] }, 0), of({ docs: ["b"] }, 0), of({ keys: ["*"] }, 0)]).toEqual([
      "yes",
      "no",
      "maybe",
    ]);
    const week = { maxAgeMs: 1_000 };
    expect([999, 1_000].map((age) => of(week, age))).toEqual(["yes", "no"]);
    expect([899, 900, 1_099, 1_100].map((age) => of(week, age, 100))).toEqual([
      "yes",
      "maybe",
      "maybe",
      "no",
    ]);
    const rich = { doc: A, kind: "rich" as const };
    expect(new Wants({ keys: ["k"] }).byHeader(at, rich, START_MS)).toBe("yes");
  });
});

describe("what is sent to a subscriber", () => {
  const subscriber = { wants: new Wants({ docs: ["a/"] }), device: us.key };

  test("is the batch without the bodies that it does not want; to anybody else it is whole or nothing", async () => {
    const replica = await open({ device: writer, space });
    const sent = applied(replica, "local");
    for (const doc of [A, B]) await replica.put(doc, [{ key: "k", value: 1 }]);
    const [inA = new Uint8Array(), inB = new Uint8Array()] = sent;
    expect(tailored(inA, subscriber, START_MS)).toBe(inA);
    expect(tailored(inB, subscriber, START_MS)).toEqual(without(inB));
    expect(tailored(without(inB), subscriber, START_MS)).toEqual(without(inB));
    expect(tailored(without(inA), subscriber, START_MS)).toBeUndefined();
    const everything = { wants: undefined, device: us.key };
    expect(tailored(inB, everything, START_MS)).toBe(inB);
    expect(tailored(without(inB), everything, START_MS)).toBeUndefined();
    const own = { ...subscriber, device: writer.key };
    expect(tailored(inB, own, START_MS)).toBe(inB);
  });

  test("may lack what has expired, and is charged for what had to be opened", () => {
    const until = START_MS + 10;
    const { bytes } = forge({ section: { until } });
    const everything = { wants: undefined, device: us.key };
    expect(tailored(without(bytes), everything, until)).toBeUndefined();
    expect(tailored(without(bytes), everything, until + 1)).toEqual(without(bytes));
    // What is here is not left out for that: the subscriber may not have come so far.
    expect(tailored(bytes, everything, until + 1)).toBe(bytes);
    const charged: unknown[] = [];
    const wants = new Wants({ keys: ["other"] });
    tailored(bytes, { wants, device: us.key }, START_MS, { charge: (cost) => charged.push(cost) });
    expect(charged).toMatchObject([{ items: 0 }, { bytes: 0, items: 1 }]);
  });
});

const docs = (count: number): Subscription => ({
  docs: Array.from({ length: count }, (_, n) => `d${String(n)}`),
});

test("a subscription's limits", () => {
  expect(parseSubscription(docs(LIMITS.subscriptionRules)).docs).toHaveLength(64);
  expect(() => parseSubscription(docs(LIMITS.subscriptionRules + 1))).toThrow(/64/u);
});
