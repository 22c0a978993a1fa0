// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: no update reaches Yjs that an honest replica could not have made. Method: each known attack on
 * Yjs, and each broken rule, as crafted bytes against a small document.
 */
import { describe, expect, test } from "vitest";
import * as Y from "yjs";
import { HONEST, OTHER, REFUSED, honestDocument } from "./bad-updates.ts";
import { MISSING, TOO_MUCH } from "./far-updates.ts";
import { any, anyInt, between, edit, first, receive, str, update } from "./support.ts";

describe("an update is refused for good", () => {
  test.for(REFUSED)("when it has %s", ([, bytes, to, code, field]) => {
    const doc = honestDocument();
    const before = doc.encodeState();
    const from = field === "clock" && to === 1 ? 5 : 0;
    const judge = (): unknown => doc.check(bytes, { client: OTHER, from, to: from + to });
    expect(judge).toThrow(expect.objectContaining({ code, field }));
    expect(doc.encodeState()).toEqual(before);
  });

  test.for(TOO_MUCH)("when it has %s", ([, bytes, to, field]) => {
    const doc = honestDocument();
    const before = doc.encodeState();
    const judge = (): unknown => doc.check(bytes, { client: OTHER, from: 0, to });
    expect(judge).toThrow(expect.objectContaining({ code: "LIMIT_EXCEEDED", field }));
    expect(doc.encodeState()).toEqual(before);
  });

  test("when it puts at the end what has something to its right", () => {
    const doc = honestDocument();
    edit(doc, 300, (roots) => roots.text("notes").insert(2, "-"));
    const bytes = update(OTHER, 0, [between([300, 0], undefined, str("x"))]);
    expect(() => doc.check(bytes, { client: OTHER, from: 0, to: 1 })).toThrow(/not at the end/u);
  });

  test("when it takes the clocks of a client that wrote them already", () => {
    const doc = honestDocument();
    const again = update(HONEST, 0, [first("text:a", str("x"))]);
    expect(() => doc.check(again, { client: HONEST, from: 0, to: 1 })).toThrow(
      expect.objectContaining({ code: "FORMAT_INVALID", field: "clock" }),
    );
  });

  test("when it is a V2 update, whatever it declares", () => {
    const doc = honestDocument();
    const source = new Y.Doc();
    source.clientID = OTHER;
    source.getText("text:a").insert(0, "x");
    const bytes = Y.encodeStateAsUpdateV2(source);
    expect(() => doc.check(bytes, { client: OTHER, from: 0, to: 1 })).toThrow(
      expect.objectContaining({ code: "FORMAT_INVALID" }),
    );
  });

  test("when its client id can't be one", () => {
    const doc = honestDocument();
    for (const client of [0, -1, 1.5, 2 ** 53, Number.NaN]) {
      const bytes = update(1, 0, [first("text:a", str("x"))]);
      expect(() => doc.check(bytes, { client, from: 0, to: 1 })).toThrow(
        expect.objectContaining({ code: "FORMAT_INVALID", field: "client" }),
      );
    }
  });
});

describe("an update has to wait", () => {
  test.for(MISSING)("when it has %s", ([, bytes, to, client, clock]) => {
    const doc = honestDocument();
    const before = doc.encodeState();
    const verdict = doc.check(bytes, { client: OTHER, from: 0, to });
    expect(verdict).toEqual({ kind: "missing", client, clock });
    expect(doc.encodeState()).toEqual(before);
  });
});

/** Text between the second and the third character of what HONEST wrote. */
const inMiddle = (content: string): number[] => between([HONEST, 1], [HONEST, 2], str(content));

describe("an update passes", () => {
  test("when another client's insertion came between its neighbours since", () => {
    const doc = honestDocument();
    const late = update(OTHER, 0, [between([HONEST, 1], [HONEST, 2], str("x"))]);
    edit(doc, 300, (roots) => roots.text("notes").insert(2, "---"));
    receive(doc, { bytes: late, client: OTHER, from: 0, to: 1 });
    expect(doc.content()[2]?.value).toEqual([{ insert: "hex---llo" }]);
  });

  test("between insertions that two clients made at the same place at the same time", () => {
    const doc = honestDocument();
    receive(doc, { bytes: update(OTHER, 0, [inMiddle("22")]), client: OTHER, from: 0, to: 2 });
    receive(doc, { bytes: update(300, 0, [inMiddle("33")]), client: 300, from: 0, to: 2 });
    const middle = update(400, 0, [between([OTHER, 1], [300, 0], str("|"))]);
    receive(doc, { bytes: middle, client: 400, from: 0, to: 1 });
    expect(doc.content()[2]?.value).toEqual([{ insert: "he22|33llo" }]);
    const wrong = update(500, 0, [between([300, 1], [OTHER, 0], str("|"))]);
    expect(() => doc.check(wrong, { client: 500, from: 0, to: 1 })).toThrow(/never were/u);
  });

  test("between two characters that it brings itself", () => {
    const doc = honestDocument();
    const bytes = update(OTHER, 0, [
      first("text:a", str("ab")),
      between([OTHER, 0], [OTHER, 1], str("x")),
    ]);
    receive(doc, { bytes, client: OTHER, from: 0, to: 3 });
    expect(doc.content()[2]).toEqual({ root: "a", type: "text", value: [{ insert: "axb" }] });
  });

  test("and says whether it deletes or replaces what others wrote", () => {
    const doc = honestDocument();
    const judge = (bytes: Uint8Array, to: number): unknown => {
      const verdict = doc.check(bytes, { client: OTHER, from: 0, to });
      return verdict.kind === "ready" ? verdict.update.deletesOthers : undefined;
    };
    const own = first("text:a", str("x"));
    expect(judge(update(OTHER, 0, [own], [[OTHER, [[0, 1]]]]), 1)).toBe(false);
    expect(judge(update(OTHER, 0, [between([HONEST, 4], undefined, str("x"))]), 1)).toBe(false);
    expect(judge(update(OTHER, 0, [own], [[HONEST, [[0, 12]]]]), 1)).toBe(true);
    expect(
      judge(update(OTHER, 0, [between([HONEST, 8], undefined, any(anyInt(2)), true)]), 1),
    ).toBe(true);
  });
});
