// SPDX-License-Identifier: Apache-2.0
/** A verdict as one static page: no script, nothing loaded, light and dark. */
import type { Verdict, VerdictStep } from "@ctxmesh/ledger";
import { formatInstant } from "@ctxmesh/model";
import { describeDecision, describeFact, headline } from "./report.ts";
import { htmlText } from "./safe-text.ts";

const MAX_ROWS = 200;

const STYLE = `
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --page: #ffffff; --card: #f6f8fa;
  --line: #d1d9e0; --good: #1a7f37; --bad: #cf222e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --page: #0d1117; --card: #161b22;
  --line: #30363d; --good: #3fb950; --bad: #f85149; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.verdict { border: 1px solid var(--line); border-left: .5rem solid var(--mark); background: var(--card);
  border-radius: .4rem; padding: 1rem 1.25rem; }
.good { --mark: var(--good); } .bad { --mark: var(--bad); }
.verdict strong { color: var(--mark); }
p { margin: .25rem 0; } p, h1 { overflow-wrap: anywhere; } .soft { color: var(--soft); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; }
td.mark { color: var(--mark); font-weight: 700; white-space: nowrap; }
td.name, dt { font-family: ui-monospace, monospace; font-size: .875rem; white-space: nowrap; }
td, dd { overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; } td.name { white-space: normal; } }
`;

const row = ({ name, ok, detail }: VerdictStep): string =>
  `<tr class="${ok ? "good" : "bad"}"><td class="mark">${ok ? "ok" : "FAIL"}</td><td class="name">${htmlText(name)}</td><td>${htmlText(detail)}</td></tr>`;

const pairs = (entries: readonly (readonly [string, string])[]): string =>
  `<dl>${entries.map(([name, text]) => `<dt>${htmlText(name)}</dt><dd>${htmlText(text)}</dd>`).join("")}</dl>`;

const section = (title: string, content: string): string =>
  content === "" ? "" : `<h2>${htmlText(title)}</h2>\n${content}\n`;

function list(lines: readonly string[]): string {
  if (lines.length === 0) return "";
  const rows = lines.slice(0, MAX_ROWS).map((line) => `<tr><td>${htmlText(line)}</td></tr>`);
  const rest = lines.length - rows.length;
  if (rest > 0) rows.push(`<tr><td class="soft">and ${String(rest)} more</td></tr>`);
  return `<table>${rows.join("\n")}</table>`;
}

function sealed({ statement, logged }: Verdict): string {
  if (statement === undefined) return "";
  const { space, sequence, hub, root, leaves, frontier, previous, policyEpoch, sealedAt } =
    statement;
  return pairs([
    ["space", space],
    ["seal", `${String(sequence)}, after ${previous ?? "none"}`],
    ["hub", hub],
    ["sealed at", `${formatInstant(sealedAt)} by the hub's clock`],
    ...(logged === undefined
      ? []
      : [
          ["logged at", formatInstant(logged.loggedMs)] as const,
          [
            "log",
            `${logged.head.origin}, entry ${String(logged.index)} of ${String(logged.head.size)}`,
          ] as const,
          ["cosigned by", logged.cosignedBy.join(", ") || "nobody"] as const,
        ]),
    ["leaves", String(leaves)],
    ["snapshot root", root],
    ["chains", String(frontier.length)],
    ["policy epoch", String(policyEpoch)],
  ]);
}

/** A verdict as an HTML page. `file` and `root` are the names of what was verified, `now` the moment it was judged at (Unix milliseconds). */
export function renderHtml(
  verdict: Verdict,
  { file, root, now }: { readonly file: string; readonly root: string; readonly now: number },
): string {
  const { valid, exitCode, failed, steps, facts = [], decisions = [], provenance } = verdict;
  const word = valid ? "VALID" : "INVALID";
  const said = failed === undefined ? headline(verdict) : `${failed.step}: ${failed.message}`;
  const remedy = failed?.remedy === undefined ? "" : `<p>${htmlText(failed.remedy)}</p>`;
  const replicas = (provenance?.replicas ?? []).map(
    (share) =>
      `${share.replica}: ${String(share.facts)} facts, derived from ${String(share.batches)} signed batches`,
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${word}: ${htmlText(file)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>Verification of ${htmlText(file)}</h1>
<p class="soft">Against the trust root ${htmlText(root)}, judged as of ${formatInstant(now)}, offline.</p>
<div class="verdict ${valid ? "good" : "bad"}"><strong>${word}</strong> <span class="soft">(exit code ${String(exitCode)})</span>
<p>${htmlText(said)}</p>${remedy}</div>
${section("What was sealed", sealed(verdict))}${section("Facts", list(facts.map(describeFact)))}${section("Decisions", list(decisions.map(describeDecision)))}${section("Replicas", list(replicas))}
<h2>Steps</h2>
<p class="soft">Each was made in this order; the first that fails decides, and those after it are not made.</p>
<table><thead><tr><th></th><th>step</th><th>what was found</th></tr></thead><tbody>
${steps.map(row).join("\n")}
</tbody></table>
</main>
</body>
</html>
`;
}
