import { test } from "vitest";
import { ProjectionMesh } from "./projection-mesh.ts";
function rng(seed: number) {
  let a = seed;
  return (sides: number) => {
    a |= 0;
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % sides;
  };
}
async function runOne(seed: number, steps: number, log = false): Promise<string | undefined> {
  const pick = rng(seed);
  const mesh = await new ProjectionMesh().start();
  try {
    for (let i = 0; i < steps; i++) {
      if (log) console.log(i);
      await mesh.step(pick);
    }
    await mesh.settle();
  } catch (e) {
    return `threw ${String(e)} ${(e as Error).stack}`;
  }
  const [one, two] = mesh.nodes;
  const c = JSON.stringify(mesh.contentOf(one), sortKeys);
  const bad: string[] = [];
  if (JSON.stringify(mesh.contentOf(two), sortKeys) !== c)
    bad.push("nodes differ " + JSON.stringify(mesh.contentOf(two)));
  for (const b of mesh.browsers) {
    if (JSON.stringify(b.content(), sortKeys) !== c)
      bad.push(b.name + " differs " + JSON.stringify(b.content()));
    for (const e of b.errors)
      if (e.code !== "WRITE_BEHIND" && e.code !== "CLOSED") bad.push(b.name + ": " + e.code + e.message);
  }
  const text = mesh.browsers[0]!.text.toJSON();
  const expected = [...mesh.inserted].filter((t) => !mesh.deleted.has(t));
  if ([...text].toSorted().join() !== expected.toSorted().join())
    bad.push("tokens " + text + " vs " + expected.join(""));
  return bad.length ? bad.join("\n") + "\nexpected " + c : undefined;
}
const sortKeys = (_: string, v: unknown) =>
  v && typeof v === "object" && !Array.isArray(v)
    ? Object.fromEntries(Object.entries(v).toSorted(([a], [b]) => (a < b ? -1 : 1)))
    : v;
test("debug", async () => {
  const N = Number(process.env["RUNS"] ?? 300);
  let failures = 0;
  let best: [number, number, string] | undefined;
  for (let seed = 1; seed <= N; seed++) {
    const steps = 10 + (seed % 120);
    let r = await runOne(seed, steps);
    if (r === undefined) continue;
    failures++;
    let n = steps;
    for (let k = 1; k < steps && k < (best?.[1] ?? 1e9); k++) {
      const x = await runOne(seed, k);
      if (x !== undefined) {
        n = k;
        r = x;
        break;
      }
    }
    if (best === undefined || n < best[1]) best = [seed, n, r];
    if (failures > 8) break;
  }
  console.log("failures", failures, best?.[0], best?.[1], best?.[2]);
}, 600_000);
