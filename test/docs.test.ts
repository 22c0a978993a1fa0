// SPDX-License-Identifier: Apache-2.0
/** Goal: what the documents say of codes and files is so. */
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { ERROR_CODES, EXIT, HOLDS, REFUSALS } from "@ctxmesh/model";
import { describe, expect, test } from "vitest";

/** The rows of the first table under a heading, cells without backticks, head left out. */
function tableUnder(markdown: string, heading: string): string[][] {
  const section = markdown.split(/^## /mu).find((part) => part.startsWith(`${heading}\n`)) ?? "";
  const rows = section
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll("`", "")),
    );
  return rows.slice(2);
}

/** Targets of links and images, without fragments; code and links to other sites left out. */
function linksIn(markdown: string): string[] {
  const prose = markdown
    .replaceAll(/^(`{3,}|~{3,})[\s\S]*?^\1/gmu, "")
    .replaceAll(/`[^`\n]*`/gu, "");
  const inline = prose.matchAll(/\]\(\s*<?([^)>\s]+)>?[^)]*\)/gu);
  const named = prose.matchAll(/^ {0,3}\[[^\]]+\]:\s*<?([^>\s]+)/gmu);
  return [...inline, ...named]
    .map(([, target = ""]) => decodeURI(target.replace(/#.*/u, "")))
    .filter((target) => target !== "" && !/^[a-z][a-z+.-]*:/iu.test(target));
}

describe("docs/ERRORS.md", () => {
  const page = readFileSync("docs/ERRORS.md", "utf8");

  test("lists the exit codes", () => {
    const exits = tableUnder(page, "Exit codes").map(([exit]) => Number(exit));
    expect(exits).toEqual(Object.values(EXIT));
  });

  test("lists the error codes, in the order of the code, each with its exit code", () => {
    const listed = tableUnder(page, "Error codes").map(([code, exit]) => [code, Number(exit)]);
    expect(listed).toEqual(Object.entries(ERROR_CODES).map(([code, exit]) => [code, EXIT[exit]]));
  });

  test.for([
    ["Why a received batch was refused", REFUSALS],
    ["Why a received batch is held", HOLDS],
  ] as const)("%s: lists the reasons, in the order of the checks", ([heading, reasons]) => {
    expect(tableUnder(page, heading).map(([reason]) => reason)).toEqual(reasons);
  });

  test("has no empty cell", () => {
    const headings = [...page.matchAll(/^## (.+)$/gmu)].map(([, heading = ""]) => heading);
    expect(headings).toHaveLength(4);
    for (const row of headings.flatMap((heading) => tableUnder(page, heading))) {
      expect(
        row.every((cell) => cell.length > 0),
        row.join(" | "),
      ).toBe(true);
    }
  });
});

describe("links", () => {
  const pages = globSync(["*.md", "docs/**/*.md"]);

  test("are checked on more than one page", () => {
    expect(pages).toContain(join("docs", "ERRORS.md"));
    expect(pages).toContain("CONTRIBUTING.md");
  });

  test.for(pages)("%s points to files that are there", (page) => {
    const missing = linksIn(readFileSync(page, "utf8")).filter(
      (target) => !existsSync(target.startsWith("/") ? `.${target}` : join(dirname(page), target)),
    );
    expect(missing).toEqual([]);
  });

  test("are found in every form, and not in code", () => {
    const markdown = [
      "[a](a.md) ![b](../b.svg) [c](<c.md>) [d](d.md#part) [e](e%20f.md 'title')",
      "[x](https://x.example) [y](#here) [z](mailto:z@x.example) `[code](code.md)`",
      "```md\n[block](block.md)\n```",
      "[ref]: g.md",
    ].join("\n");
    expect(linksIn(markdown)).toEqual(["a.md", "../b.svg", "c.md", "d.md", "e f.md", "g.md"]);
  });
});
