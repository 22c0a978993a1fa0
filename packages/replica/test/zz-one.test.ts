import { test } from "vitest";
import * as Y from "yjs";
import { ProjectionMesh } from "./projection-mesh.ts";
import { Browser } from "./browser.ts";
function rng(seed: number) { let a = seed; return (sides: number) => { a |= 0; a = a + 0x6D2B79F5 | 0; let t = Math.imul(a ^ a >>> 15, 1 | a); t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t; return ((t ^ t >>> 14) >>> 0) % sides; }; }
const dump = (bytes: Uint8Array) => { const { structs, ds } = Y.decodeUpdate(bytes); return structs.filter((s: any) => s.id.client < 2**52 || true).map((s: any) => `${s.id.client}:${s.id.clock}+${s.length} ${s.constructor.name} o=${s.origin?.client}:${s.origin?.clock} r=${s.rightOrigin?.client}:${s.rightOrigin?.clock} p=${JSON.stringify(s.parent)} k=${s.parentSub} ${s.content?.constructor.name} ${JSON.stringify(s.content?.str ?? s.content?.arr ?? s.content?.key)}`).join("\n") + "\nDS " + JSON.stringify([...ds.clients]); };
test("one", async () => {
  const pick = rng(Number(process.env["SEED"]));
  const mesh = await new ProjectionMesh().start();
  const W = Browser.prototype as any; const send = W.send;
  const orig = mesh.nodes[0];
  for (const n of mesh.nodes) { const carry = (n.replica as any).constructor.prototype; if (!carry.__p) { carry.__p = true; const c = carry.carry; carry.carry = async function (doc: any, content: any) { try { return await c.call(this, doc, content); } catch (e) { console.log(String(e)); for (const s of content.sections) console.log("SECTION\n" + dump(s.bytes)); console.log("STATE\n" + dump(this.richState(doc))); process.exit(); } }; } }
  for (let i = 0; i < Number(process.env["STEPS"]); i++) { await mesh.step(pick);  }
  await mesh.settle();
});
