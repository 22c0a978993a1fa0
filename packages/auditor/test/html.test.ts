// SPDX-License-Identifier: Apache-2.0
/** Goal: the report says what the verdict says, and nothing in a file gets out of its place in the page. */
import { renderHtml } from "@ctxmesh/auditor";
import type { Verdict } from "@ctxmesh/ledger";
import { expect, test } from "vitest";

const names = { file: "b.json", root: "root.json", now: Date.UTC(2026, 0, 31) };
const failed: Verdict = {
  valid: false,
  exitCode: 2,
  steps: [
    { name: "bundle", ok: true, detail: "9 bytes" },
    { name: "key", ok: false, detail: "no such key" },
  ],
  failed: { step: "key", code: "POLICY_REFUSED", message: "no such key", remedy: "pin another" },
};

test("a refusal has its step, its reason, its exit code and what to do", () => {
  const html = renderHtml(failed, names);
  expect(html).toContain("<title>INVALID: b.json</title>");
  expect(html).toContain("(exit code 2)");
  expect(html).toContain("<p>key: no such key</p><p>pin another</p>");
  expect(html).toMatch(/class="bad"><td class="mark">FAIL<\/td><td class="name">key<\/td>/u);
  expect(html).toContain("judged as of 2026-01-31T00:00:00.000Z");
  expect(html).not.toContain("What was sealed");
});

test("text of a hostile file stays text, wherever it comes from", () => {
  const hostile = `<script>alert(1)</script>"'&\u202e\u0000`;
  const facts = [{ members: { doc: hostile, key: hostile, value: hostile, writer: hostile } }];
  const verdict: Verdict = {
    valid: true,
    exitCode: 0,
    kind: "fact",
    steps: [{ name: hostile, ok: true, detail: hostile }],
    facts,
  };
  const html = renderHtml(verdict, { ...names, file: hostile, root: hostile });
  const remark: Verdict = {
    ...failed,
    failed: { step: hostile, code: "INTERNAL", message: hostile, remedy: hostile },
  };
  for (const page of [html, renderHtml(remark, names)]) {
    for (const part of ["<script", "\u202e", "\u0000"]) expect(page).not.toContain(part);
    expect(page).toContain("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;\\u202e\\u0000");
  }
});
