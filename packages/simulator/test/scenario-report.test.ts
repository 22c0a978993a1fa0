// SPDX-License-Identifier: Apache-2.0
/** Goal: a page and a text say what the report says, need nothing else, and nothing in a scenario can be more than text in them. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { renderReportHtml, renderReportText } from "../src/index.ts";
import type { ScenarioReport } from "../src/index.ts";
import { escapeText } from "../src/report/markup.ts";

const HALF = Array.from({ length: 240 }, (_, i) => (i < 120 ? 0 : 1));

/** A report by hand, with `text` wherever text of a scenario can be. */
const reportOf = (text: string): ScenarioReport => ({
  name: text,
  description: text,
  seed: 1,
  durationMs: 3_600_000,
  simulatedMs: 3_605_000,
  nodes: [{ name: text, place: text, service: "agent" }],
  writes: {
    facts: 12_345,
    unavailable: 2,
    refused: [{ what: text, count: 3 }],
    acknowledged: [
      { level: "local", count: 12_345, p50Ms: 0.4, p95Ms: 2, maxMs: 3, waiting: 0 },
      { level: "sealed", count: 0, waiting: 12_345 },
    ],
  },
  propagation: [
    { from: text, to: text, count: 7, p50Ms: 1, p95Ms: 61_000, maxMs: 90_000_000, missing: 4 },
  ],
  readers: [
    {
      name: text,
      node: text,
      looks: 9,
      unanswered: 1,
      count: 9,
      p50Ms: 0,
      p95Ms: 5,
      maxMs: 7_200_000,
      freshShare: 0.25,
      contestedShare: 0.9999,
    },
  ],
  contested: {
    facts: 20,
    atEnd: 2,
    most: { count: 5, node: text, atMs: 60_000 },
    shown: [
      {
        doc: text,
        key: text,
        resolver: text,
        value: text,
        candidates: [
          {
            node: text,
            value: { [text]: [text] },
            standing: "shown",
            ageMs: -5_000,
            confidence: 0.5,
            source: text,
          },
          { node: text, standing: "undominated", ageMs: 5_000 },
        ],
      },
    ],
    byRule: [{ prefix: text, resolver: text, facts: 20, contested: 2 }],
  },
  links: [
    {
      a: text,
      b: text,
      lines: 2,
      messages: 10,
      bytesToA: 1_500,
      bytesToB: 2_500_000,
      outages: 1,
      downShare: 0.5,
    },
  ],
  received: [{ what: text, count: 8 }],
  convergence: { quietMs: 1_000, tookMs: 2_500, equal: true, digest: "ab" },
  invariants: { checked: [text], violations: [{ name: text, atMs: 5, message: text }] },
  traceHash: "cd",
  timeline: {
    bucketMs: 15_000,
    links: [{ name: text, down: HALF }],
    readers: [{ name: text, ms: HALF.map((half) => half * 60_000) }],
    backlog: [{ name: text, facts: HALF.map((half) => (half === 0 ? null : 5)) }],
    contested: [{ name: text, facts: HALF }],
    events: [{ atMs: 60_000, text }],
  },
});

/** Elements, with the names of their attributes. */
const tagsOf = (html: string): readonly string[] =>
  (html.match(/<[^>]*>/gu) ?? []).map((tag) =>
    tag.replaceAll(/="[^"]*"/gu, "=").replaceAll(/\s+/gu, " "),
  );

describe("a page", () => {
  const page = renderReportHtml(reportOf("plain"));

  test("has the same elements whatever the scenario's texts are", () => {
    const nasty = fc.oneof(
      fc.string({ unit: "binary", maxLength: 40 }),
      fc.constantFrom(
        "<script>alert(1)</script>",
        `"><img src=x onerror=alert(1)>`,
        "'--></style><svg/onload=alert(1)>",
        "]]>&lt;b&gt;&#60;",
        "\u202egpj.exe",
      ),
    );
    const usual = tagsOf(page);
    fc.assert(
      fc.property(nasty, (text) => {
        // What has nothing in it leaves nothing out either.
        const html = renderReportHtml(reportOf(`x${text}`));
        expect(tagsOf(html)).toEqual(usual);
      }),
      { numRuns: 60 },
    );
  });

  test("names nothing that would have to be fetched, and forbids it", () => {
    expect(page).toContain("default-src &#39;none&#39;; style-src &#39;unsafe-inline&#39;");
    expect(page).not.toMatch(/<script|<link|<img|<iframe|@import|https?:/u);
    expect(page.match(/url\([^)]*\)/gu)).toEqual(["url(#hatch)"]);
  });

  test("has every id once, and a title and description for its picture", () => {
    const ids = [...page.matchAll(/ id="([^"]*)"/gu)].map(([, id]) => id ?? "");
    expect(new Set(ids).size).toBe(ids.length);
    const named = /aria-labelledby="([^"]*)"/u.exec(page)?.[1]?.split(" ") ?? [];
    expect(named).toHaveLength(2);
    for (const id of named) expect(ids).toContain(id);
  });

  test("has a table with what the timeline shows", () => {
    const rows = page
      .slice(page.indexOf("<details>"), page.indexOf("</details>"))
      .match(/<tr>.*<\/tr>/gu);
    expect(rows).toHaveLength(25);
    expect(rows?.[1]).toContain("from 0 ms");
    expect(rows?.[1]).toMatch(/>0 %<.*>0 ms<.*>-<.*>0</u);
    expect(rows?.[24]).toMatch(/>100 %<.*>1 min<.*>5<.*>1</u);
  });

  test("closes what it opens, in order", () => {
    const open: string[] = [];
    const wrong: string[] = [];
    for (const [, slash, name = "", rest = ""] of page.matchAll(/<(\/?)([a-z0-9]+)([^>]*)>/gu)) {
      if (slash === "/") wrong.push(...(open.pop() === name ? [] : [name]));
      else if (!rest.endsWith("/") && !["meta", "br"].includes(name)) open.push(name);
    }
    expect(wrong).toEqual([]);
    expect(open).toEqual([]);
  });

  test("shows figures in words: counts, times, shares, bytes", () => {
    for (const shown of [
      "12\u202f345",
      "1 min 1 s",
      "1 d 1 h",
      "&gt; 99.9 %",
      "2.5 MB",
      "5 s ahead",
      "(deleted)",
    ]) {
      expect(page).toContain(shown);
    }
  });
});

describe("a text", () => {
  test("has the figures in columns, and what is wrong in the style for it", () => {
    const text = renderReportText(reportOf("plain"), {
      heading: (words) => `# ${words}`,
      bad: (words) => `!${words}!`,
      plain: (words) => words,
    });
    const lines = text.split("\n");
    expect(lines[0]).toBe("# plain");
    expect(lines).toContain("  plain  plain      7  1 ms  1 min 1 s  1 d 1 h            4");
    expect(lines).toContain("  !violated! plain at 5 ms: plain");
    expect(lines.at(-1)).toBe("trace cd");
  });

  test("has all texts of the scenario made plain", () => {
    const text = renderReportText(reportOf("\u001b[2J"), {
      heading: (words) => words,
      bad: (words) => words,
      plain: (words) => words.replaceAll("\u001b", "ESC"),
    });
    expect(text).not.toContain("\u001b");
  });
});

test("escaped text has none of the characters that mean something in markup", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom("<", ">", "&", '"', "'", "a", ";") }), (text) => {
      expect(escapeText(text)).not.toMatch(/[<>"']|&(?!(?:amp|lt|gt|quot|#39);)/u);
    }),
  );
});
