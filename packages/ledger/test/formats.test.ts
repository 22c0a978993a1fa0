// SPDX-License-Identifier: Apache-2.0
import { canonicalJson, utf8Decode, utf8Encode } from "@ctxmesh/codec";
import { createDeviceSigner, createSigner } from "@ctxmesh/crypto";
import { buildSnapshot, contentRoot, envelopeHash, sealSnapshot } from "@ctxmesh/ledger";
import { hlcFromMs, parseDeviceKey, toHex } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import { createSeededRandom } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseEnvelope, preAuthEncoding } from "../src/dsse.ts";
import { formatLogProof, parseLogProof } from "../src/proof.ts";
import { assertLeaf } from "../src/snapshot.ts";
import { encodeStatement, parseStatement } from "../src/statement.ts";
import {
  MALFORMED,
  NOW,
  codeOf,
  document,
  firstHeader,
  logKeys,
  random,
  snapshotKey,
  spaceId,
} from "./fixture.ts";
import { haveVectors, readVector, skipNote } from "./vectors.ts";

const device = createDeviceSigner(new Uint8Array(32).fill(4));
const writer = parseDeviceKey(toHex(device.publicKey));

test.skipIf(!haveVectors)(`the pre-authentication encoding is the one of DSSE${skipNote}`, () => {
  const vector = readVector<{ payloadType: string; body_utf8: string; pae_utf8: string }>(
    "dsse-protocol-example.json",
  );
  const encoded = preAuthEncoding(vector.payloadType, utf8Encode(vector.body_utf8));
  expect(utf8Decode(encoded)).toBe(vector.pae_utf8);
});

test("lengths in the pre-authentication encoding count bytes", () => {
  expect(utf8Decode(preAuthEncoding("é", utf8Encode("ü€")))).toBe("DSSEv1 2 é 5 ü€");
});

describe("leaves", () => {
  const good = {
    doc: document,
    key: "k",
    writer,
    incarnation: firstHeader(device).head.incarnation,
    seq: 3,
    hlc: hlcFromMs(NOW),
    value: { b: [1, "x"], a: null },
    source: { model: "m" },
  };

  test("a leaf is the canonical text of a candidate with its document and key", () => {
    const { value: _, ...rest } = good;
    for (const leaf of [good, { ...rest, deleted: true }]) {
      expect(
        codeOf(() => {
          assertLeaf(canonicalJson(leaf));
        }),
      ).toBe("no error");
    }
  });

  test("what is not a canonical fact candidate is refused", () => {
    const changed = (change: Record<string, JsonValue>): string =>
      canonicalJson({ ...good, ...change });
    const { hlc: _, ...timeless } = good;
    assertLeaf(changed({ value: 1 }));
    const bad = [
      "",
      "1",
      "[]",
      "{}",
      ` ${changed({})}`,
      changed({ doc: "../x" }),
      changed({ key: "" }),
      changed({ key: "k".repeat(513) }),
      changed({ writer: "abc" }),
      changed({ hlc: -1 }),
      canonicalJson(timeless),
    ];
    for (const leaf of bad) {
      const refusal = codeOf(() => {
        assertLeaf(leaf);
      });
      expect(refusal, leaf).toMatch(MALFORMED);
    }
  });
});

describe("snapshots", () => {
  const texts = fc.uniqueArray(fc.string(), { maxLength: 20 });

  test("order of the input does not matter, to the content root or to the order of the leaves", () => {
    fc.assert(
      fc.property(texts, (leaves) => {
        expect(toHex(contentRoot(leaves.toReversed()))).toBe(toHex(contentRoot(leaves)));
        const snapshot = buildSnapshot(leaves, random);
        expect(snapshot.leaves.map(({ leaf }) => leaf)).toEqual(leaves.toSorted());
      }),
    );
  });

  test("another leaf makes another content root", () => {
    fc.assert(
      fc.property(texts, fc.string(), (leaves, leaf) => {
        fc.pre(!leaves.includes(leaf));
        expect(toHex(contentRoot([...leaves, leaf]))).not.toBe(toHex(contentRoot(leaves)));
      }),
    );
  });

  test("salts are fresh, so equal content has different roots", () => {
    const [first, second] = [buildSnapshot(["a"], random), buildSnapshot(["a"], random)];
    expect(first.leaves[0]?.salt.length).toBe(16);
    expect(toHex(first.root)).not.toBe(toHex(second.root));
    const same = buildSnapshot(["a"], createSeededRandom(1));
    expect(toHex(buildSnapshot(["a"], createSeededRandom(1)).root)).toBe(toHex(same.root));
  });

  test("a repeated leaf is refused", () => {
    expect(() => buildSnapshot(["a", "a"], random)).toThrow(/twice/u);
    expect(() => contentRoot(["a", "b", "a"])).toThrow(/twice/u);
  });
});

describe("seals", () => {
  const { head } = firstHeader(device);
  const statement = {
    root: "ab".repeat(32),
    leaves: 3,
    hub: writer,
    space: spaceId,
    sequence: 2,
    previous: "cd".repeat(32),
    frontier: [head],
    policyEpoch: 1,
    asOf: hlcFromMs(NOW),
    sealedAt: NOW,
  };
  const { root: _, leaves: __, ...input } = statement;
  const snapshot = buildSnapshot(["a"], random);

  test("a statement is an in-toto Statement v1 in canonical JSON, and survives", () => {
    const payload = encodeStatement(statement);
    expect(parseStatement(payload)).toEqual(statement);
    expect(JSON.parse(utf8Decode(payload))).toMatchObject({
      _type: "https://in-toto.io/Statement/v1",
      predicateType: "https://ctxmesh.dev/snapshot/v1",
      subject: [{ name: `ctxmesh://${spaceId}@2`, digest: { sha256: "ab".repeat(32) } }],
    });
  });

  test("a statement that contradicts itself or the format is refused", () => {
    const text = utf8Decode(encodeStatement(statement));
    const refused = [
      "{}",
      `${text} `,
      text.replace("Statement/v1", "Statement/v2"),
      text.replace("snapshot/v1", "snapshot/v2"),
      text.replace("@2", "@3"),
      text.replace('"sequence":2', '"sequence":1'),
      text.replace(/"previous":"[0-9a-f]+"/u, '"previous":null'),
      text.replace('"formatVersion":1', '"formatVersion":2'),
      text.replace('"leaves":3', '"leaves":-3'),
      text.replace('"policyEpoch":1,', ""),
      text.replace('"policyEpoch":1', '"policyEpoch":1,"policyextra":1'),
      text.replace("ab".repeat(32), "AB".repeat(32)),
      text.replace(/("frontier":\[)(\{[^}]*\})/u, "$1$2,$2"),
      text.replace(/"asOf":[0-9]+/u, '"asOf":0.5'),
    ];
    for (const bad of refused) {
      expect(bad).not.toBe(text);
      expect(
        codeOf(() => parseStatement(utf8Encode(bad))),
        bad,
      ).toMatch(MALFORMED);
    }
  });

  test("the envelope has exactly one signature by the composite key", () => {
    const envelope = sealSnapshot({ ...input, signer: createSigner(snapshotKey), snapshot });
    const parsed = parseEnvelope(envelope);
    expect(parsed.keyid).toBe(snapshotKey.keyid);
    expect(parsed.signature.length).toBe(3373);
    expect(parseStatement(parsed.payload).root).toBe(toHex(snapshot.root));
    expect(envelopeHash(envelope)).toMatch(/^[0-9a-f]{64}$/u);
    const text = utf8Decode(envelope);
    const signature = /\{"keyid".*?\}/u.exec(text)?.[0] ?? "";
    for (const bad of [
      text.replace(signature, ""),
      text.replace(signature, `${signature},${signature}`),
      text.replace('"payloadType"', '"payloadtype"'),
      `${text}\n`,
    ]) {
      expect(codeOf(() => parseEnvelope(utf8Encode(bad)))).toMatch(MALFORMED);
    }
  });

  test("a key of another suite does not seal, and a statement no verifier takes is not signed", () => {
    const weak = createSigner(logKeys.ed25519);
    expect(() => sealSnapshot({ ...input, signer: weak, snapshot })).toThrow(/not Ed25519/u);
    const signer = createSigner(snapshotKey);
    expect(() => sealSnapshot({ ...input, signer, snapshot, previous: null })).toThrow(/previous/u);
    const frontier = [head, head];
    expect(() => sealSnapshot({ ...input, signer, snapshot, frontier })).toThrow(/sorted/u);
  });
});

describe("proof texts", () => {
  const proofs = fc.record({
    index: fc.maxSafeNat(),
    hashes: fc.array(fc.uint8Array({ minLength: 32, maxLength: 32 }), { maxLength: 53 }),
    checkpoint: fc.string(),
  });

  test("a proof survives its text, and its text is the only one", () => {
    fc.assert(
      fc.property(proofs, (proof) => {
        const text = formatLogProof(proof);
        const parsed = parseLogProof(text);
        expect(parsed).toEqual(proof);
        expect(formatLogProof(parsed)).toBe(text);
      }),
    );
  });

  test("other spellings are refused", () => {
    const hash = `${"A".repeat(43)}=`;
    const head = "c2sp.org/tlog-proof@v1\n";
    for (const bad of [
      "",
      "\n\n",
      `${head}index 0\n${hash}`,
      `c2sp.org/tlog-proof@v2\nindex 0\n\nx`,
      `${head}index 00\n\nx`,
      `${head}index -1\n\nx`,
      `${head}index 9007199254740993\n\nx`,
      `${head}extra AAAA\nindex 0\n\nx`,
      `${head}\nindex 0\n\nx`,
      `${head}index 0\n${hash.slice(0, -1)}\n\nx`,
      `${head}index 0\n${hash.replace("A=", "B=")}\n\nx`,
      `${head}index 0\n${`${hash}\n`.repeat(54)}\nx`,
    ]) {
      expect(
        codeOf(() => parseLogProof(bad)),
        bad,
      ).toMatch(MALFORMED);
    }
  });
});
