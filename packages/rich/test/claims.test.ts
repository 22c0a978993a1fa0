// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what several gateways carry of one Yjs client, without knowing of each other, comes to the same in every order; honest clients lose nothing and
 * have nothing twice, and a client that says different things is found out everywhere.
 * Method: pages with one client id that hand their updates to gateways at random, each a document and its projection; then documents that get the
 * sections of all gateways in random orders, each gateway's own in order.
 */
import { ProjectedDoc, RichDocument, overlayClient } from "@ctxmesh/rich";
import type { RichInterval } from "@ctxmesh/rich";
import fc from "fast-check";
import { expect, test } from "vitest";
import * as Y from "yjs";

const ID = 4_000_000_007;
const NATIVE = 2 ** 50;
const OVERLAY = overlayClient(Date.UTC(2026, 0, 1), Uint8Array.of(1, 2));

interface Carried {
  readonly bytes: Uint8Array;
  readonly interval: RichInterval;
}

/** A node that carries what pages hand it. */
class Gateway {
  readonly rich = new RichDocument();
  readonly view = new ProjectedDoc(undefined, OVERLAY);
  readonly sent: Carried[] = [];
  /** Its own Yjs clients: of what it erases, and of what it writes. */
  readonly #ids: readonly [erasing: number, writing: number];

  constructor(n: number) {
    this.#ids = [NATIVE + 2 * n, NATIVE + 2 * n + 1];
  }

  #take({ bytes, ...interval }: Carried["interval"] & { readonly bytes: Uint8Array }): void {
    const { client, from, to, carried } = interval;
    this.view.takeRich({ bytes, client, from, to });
    const short = { client, from, to };
    this.sent.push({ bytes, interval: carried === true ? { ...short, carried } : short });
  }

  /** Whatever of a page is not here. */
  hear(page: Y.Doc): void {
    const plan = this.view.plan(Y.encodeStateAsUpdate(page, this.view.stateVector()));
    for (const update of this.rich.carry(this.#ids[0], plan)) {
      this.rich.apply(update);
      this.#take(update);
    }
    this.view.keepTraces(plan.traces);
  }

  /** An edit of the gateway's own, in the first nested list that is there. */
  editNested(text: string): void {
    const made = this.rich.change(this.#ids[1], (roots) => {
      const list = roots.list("steps");
      for (let i = 0; i < list.length; i++) {
        const entry = list.get(i);
        if (typeof entry === "object" && entry !== null && "insertNew" in entry) {
          (entry as typeof list).insert(0, [text]);
          return;
        }
      }
    });
    if (made === undefined) return;
    this.rich.apply(made);
    this.#take(made);
  }
}

/** What comes of sections in an order that numbers decide; `forked` once a client is found to have two histories. */
function merge(gateways: readonly Gateway[], pick: (sides: number) => number): unknown {
  const rich = new RichDocument();
  const rest = gateways.map(({ sent }) => [...sent]);
  for (let idle = 0; rest.some((of) => of.length > 0) && idle < 1_000; idle++) {
    const of = rest[pick(rest.length)];
    const next = of?.[0];
    if (of === undefined || next === undefined) continue;
    const verdict = rich.check(next.bytes, next.interval);
    if (verdict.kind === "forked") return "forked";
    if (verdict.kind === "missing") continue;
    of.shift();
    rich.stage(verdict.update);
    rich.apply(verdict.update);
  }
  if (rest.some((of) => of.length > 0)) return "stuck";
  // What is stored has to say the same.
  const content = rich.content();
  expect(RichDocument.fromState(rich.encodeState()).content()).toEqual(content);
  return content;
}

function editXml(root: Y.XmlFragment, pick: (sides: number) => number): void {
  const at = pick(root.length + 1);
  const node = at < root.length ? (root.get(at) as Y.XmlElement) : undefined;
  if (node === undefined) {
    const made = new Y.XmlElement(pick(2) === 0 ? "p" : "q");
    made.insert(0, [new Y.XmlText(String(pick(10)))]);
    root.insert(at, [made]);
  } else if (pick(3) === 0) root.delete(at, 1);
  else if (pick(2) === 0) node.setAttribute("a", String(pick(10)));
  else (node.get(0) as Y.XmlText).insert(0, "x", { strong: {} });
}

function randomEdit(page: Y.Doc, pick: (sides: number) => number): void {
  const text = page.getText("text:notes");
  const list = page.getArray<unknown>("list:steps");
  const at = pick(list.length + 1);
  switch (pick(10)) {
    case 8:
    case 9: {
      editXml(page.getXmlFragment("xml:page"), pick);
      break;
    }
    case 0:
    case 1:
    case 2: {
      text.insert(pick(text.length + 1), String.fromCharCode(97 + pick(26)).repeat(1 + pick(3)));
      break;
    }
    case 3: {
      const from = pick(text.length + 1);
      text.delete(from, Math.min(2, text.length - from));
      break;
    }
    case 4: {
      const nested = new Y.Array<unknown>();
      list.insert(at, [nested]);
      nested.insert(0, [pick(10), pick(10)]);
      break;
    }
    case 5: {
      if (list.length > 0) list.delete(pick(list.length), 1);
      break;
    }
    case 6: {
      const entry = at < list.length ? list.get(at) : undefined;
      if (entry instanceof Y.Array) entry.insert(0, [pick(10)]);
      else page.getMap("map:plan").set("k", pick(10));
      break;
    }
    default: {
      page.getMap("facts").set("temp", pick(10));
    }
  }
}

const steps = fc.array(fc.nat({ max: 2 ** 20 }), { minLength: 40, maxLength: 200 });
const pickerOf = (numbers: readonly number[]): ((sides: number) => number) => {
  let at = 0;
  return (sides) => ((numbers[at++ % numbers.length] ?? 0) + at) % sides;
};

function pageOf(): Y.Doc {
  const page = new Y.Doc();
  page.clientID = ID;
  return page;
}

test("an honest client comes to what its page has, whichever gateways carried how much of it", () => {
  fc.assert(
    fc.property(steps, fc.infiniteStream(fc.nat({ max: 2 ** 20 })), (numbers, order) => {
      const pick = pickerOf(numbers);
      const page = pageOf();
      const gateways = [new Gateway(0), new Gateway(1), new Gateway(2)];
      for (let i = 0; i < 25; i++) {
        const gateway = gateways[pick(3)];
        if (pick(3) > 0) randomEdit(page, pick);
        else if (pick(4) > 0) gateway?.hear(page);
        else gateway?.editNested("native");
      }
      gateways[0]?.hear(page);
      const any = (sides: number): number => (order.next().value as number) % sides;
      const content = merge(gateways, any);
      expect(content).not.toBe("forked");
      expect(content).not.toBe("stuck");
      for (let i = 0; i < 3; i++) expect(merge(gateways, any)).toEqual(content);
      const notes = page.getText("text:notes").toJSON();
      const [found] = (content as readonly { root: string; value: unknown }[]).flatMap((each) =>
        each.root === "notes" ? [each.value] : [],
      );
      expect(found ?? []).toEqual(notes === "" ? [] : [{ insert: notes }]);
    }),
    { numRuns: 300, endOnFailure: true },
  );
});

test("a client with two histories is found out in every order, or both come to the same", () => {
  let forks = 0;
  fc.assert(
    fc.property(steps, fc.infiniteStream(fc.nat({ max: 2 ** 20 })), (numbers, order) => {
      const pick = pickerOf(numbers);
      const gateways = [new Gateway(0), new Gateway(1)];
      const pages = [pageOf(), pageOf()];
      for (let i = 0; i < 12; i++) {
        const side = pick(2);
        const page = pages[side] as Y.Doc;
        randomEdit(page, pick);
        if (pick(2) === 0) gateways[side]?.hear(page);
      }
      for (const [i, page] of pages.entries()) gateways[i]?.hear(page);
      const any = (sides: number): number => (order.next().value as number) % sides;
      const content = merge(gateways, any);
      expect(content).not.toBe("stuck");
      if (content === "forked") forks++;
      for (let i = 0; i < 5; i++) expect(merge(gateways, any)).toEqual(content);
    }),
    { numRuns: 1_500, endOnFailure: true },
  );
  expect(forks).toBeGreaterThan(100);
});

test("a character that is cut in two is gone, in every order and whichever gateways carried it", () => {
  let cuts = 0;
  fc.assert(
    fc.property(steps, fc.infiniteStream(fc.nat({ max: 2 ** 20 })), (numbers, order) => {
      const pick = pickerOf(numbers);
      const page = pageOf();
      const text = page.getText("text:notes");
      const gateways = [new Gateway(0), new Gateway(1), new Gateway(2)];
      for (let i = 0; i < 15; i++) {
        const at = pick(text.length + 1);
        if (pick(3) > 0) text.insert(at, pick(2) === 0 ? "😀" : "a");
        else text.delete(at, Math.min(1, text.length - at));
        if (pick(2) === 0) gateways[pick(3)]?.hear(page);
      }
      gateways[0]?.hear(page);
      const any = (sides: number): number => (order.next().value as number) % sides;
      const content = JSON.stringify(merge(gateways, any));
      for (let i = 0; i < 4; i++) expect(JSON.stringify(merge(gateways, any))).toBe(content);
      expect(content).not.toContain("\ufffd");
      if (text.toJSON().includes("\ufffd")) cuts++;
      expect(gateways[0]?.view.holds(Y.encodeStateAsUpdate(page))).toBe(true);
    }),
    { numRuns: 300, endOnFailure: true },
  );
  expect(cuts).toBeGreaterThan(100);
});

test("what a page deletes of a device waits at a gateway that lacks it, also where the device's id could be an overlay's", () => {
  const device = 2 ** 52 + 5;
  const rich = new RichDocument();
  const made = rich.change(device, (roots) => roots.text("notes").insert(0, "from a device"));
  if (made === undefined) throw new Error("nothing was written");
  const [here, there] = [OVERLAY, OVERLAY + 1].map((id) => new ProjectedDoc(undefined, id)) as [
    ProjectedDoc,
    ProjectedDoc,
  ];
  here.takeRich(made);
  here.show([["temp", 20]]);
  const page = pageOf();
  Y.applyUpdate(page, here.diff());
  page.getText("text:notes").delete(0, 5);
  const diff = (): Uint8Array => Y.encodeStateAsUpdate(page, there.stateVector());
  expect(() => there.plan(diff())).toThrow(expect.objectContaining({ code: "WRITE_BEHIND" }));
  there.takeRich(made);
  expect(there.plan(diff()).erasures).toHaveLength(1);
});
