// SPDX-License-Identifier: Apache-2.0

/** The page's style: system fonts, light and dark, nothing from elsewhere. */
export const STYLE: string = `
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #1c2127; --soft: #5a6572; --line: #d9dee4; --track: #eef1f4; --card: #f6f8fa;
  --down: #b3261e; --lack: #8a5a00; --bad: #b3261e; --event: #5b3fa0;
  --c0: #0b62b0; --c1: #b4501a; --c2: #00735a; --c3: #8a3f86; --c4: #6b6100; --c5: #b0304f; --c6: #2f6f8f; --c7: #444b54;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181d; --ink: #e7ebf0; --soft: #a3adb8; --line: #343c45; --track: #222930; --card: #1c2229;
    --down: #ff8a80; --lack: #f0b860; --bad: #ff8a80; --event: #bba6ff;
    --c0: #6db3f8; --c1: #f59b62; --c2: #4fd0ae; --c3: #d99ad6; --c4: #d6c84a; --c5: #ff8fa6; --c6: #86c5e0; --c7: #c3cad2;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 1.5rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .2rem; }
p { margin: .2rem 0 .7rem; max-width: 50rem; }
.about, .meta { color: var(--soft); }
.meta { font-size: .9rem; }
ul.tiles { list-style: none; margin: 1.2rem 0; padding: 0; display: grid; gap: .7rem;
  grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); }
ul.tiles li { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .7rem .9rem; }
ul.tiles .label { color: var(--soft); font-size: .85rem; }
ul.tiles .value { display: block; font-size: 1.45rem; font-weight: 600; line-height: 1.3; }
ul.tiles .detail { color: var(--soft); font-size: .85rem; }
ul.tiles li.bad { border-color: var(--bad); } ul.tiles li.bad .value { color: var(--bad); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; min-width: 24rem; }
caption { position: absolute; left: -9999px; }
th, td { padding: .28rem .8rem .28rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; font-weight: 400; }
thead th { color: var(--soft); font-size: .82rem; font-weight: 600; white-space: nowrap; vertical-align: bottom; }
th.n, td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; padding-left: .8rem; }
code { font: .88em ui-monospace, SFMono-Regular, Menlo, "Liberation Mono", monospace; overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--soft); padding: .3rem 0; }
summary:focus-visible { outline: 2px solid var(--c0); outline-offset: 2px; }
ol.events { padding-left: 1.4rem; margin: .5rem 0; font-size: .92rem; }
.violation { color: var(--bad); }
svg.timeline { width: 100%; height: auto; display: block; margin-top: .6rem; min-width: 44rem; }
svg text { font-size: 12px; fill: var(--ink); }
svg text.title { font-size: 13px; font-weight: 600; }
svg text.title, svg text.legend { paint-order: stroke; stroke: var(--paper); stroke-width: 5px; stroke-linejoin: round; }
svg text.name { text-anchor: end; } svg text.note, svg text.legend { fill: var(--soft); }
svg text.note { font-size: 11px; } svg text.time { text-anchor: middle; fill: var(--soft); }
svg text.number { text-anchor: middle; font-size: 11px; font-weight: 700; fill: var(--paper); }
svg .grid { stroke: var(--line); stroke-width: 1; } svg .axis { stroke: var(--soft); stroke-width: 1; }
svg rect { shape-rendering: crispEdges; }
svg .track { fill: var(--track); } svg .down { fill: var(--down); } svg .lack { fill: var(--lack); }
svg .off { fill: url(#hatch); } svg .hatch { fill: var(--soft); }
svg .event { stroke: var(--event); stroke-width: 1.5; stroke-dasharray: 4 3; } svg .mark { fill: var(--event); }
svg .curve { fill: none; stroke-width: 2; stroke-linejoin: round; }
${Array.from({ length: 8 }, (_, i) => `svg .c${String(i)} { stroke: var(--c${String(i)}); }`).join(" ")}
svg .c4, svg .c5, svg .c6, svg .c7 { stroke-dasharray: 6 3; }
@media print { body { max-width: none; } details { display: block; } }
`;
