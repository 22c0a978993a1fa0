// SPDX-License-Identifier: Apache-2.0
/** Goal: with the batches enclosed a hub can neither invent nor alter what a replica said. */
import {
  canonicalJson,
  encodeBatch,
  encodeBody,
  encodeHeader,
  headerSigningInput,
} from "@ctxmesh/codec";
import { createDeviceSigner, generateSeed, sha256 } from "@ctxmesh/crypto";
import { encodeFrame } from "@ctxmesh/facts";
import { encodeBundle, factLeaf, verifyBundle } from "@ctxmesh/ledger";
import type { Verdict, VerifyOptions } from "@ctxmesh/ledger";
import {
  hlcFromMs,
  parseDeviceKey,
  parseHeaderHash,
  parseIncarnationId,
  toHex,
} from "@ctxmesh/model";
import type { DeviceSigner, HeaderHash, JsonValue } from "@ctxmesh/model";
import { describe, expect, test } from "vitest";
import { NOW, document, makeBundle, random, spaceId, trustRoot } from "./fixture.ts";

const root = trustRoot();
const incarnation = parseIncarnationId("01".repeat(16));

/** A chain of a device, with one fact in each batch, and the leaves of those facts. */
function chainOf(device: DeviceSigner, values: readonly JsonValue[]) {
  const replica = parseDeviceKey(toHex(device.publicKey));
  let prev: HeaderHash | null = null;
  const made = values.map((value, i) => {
    const [seq, hlc, key] = [i + 1, hlcFromMs(NOW + i), `sensor/${String(i)}`];
    const record = { key, seq, hlc, valueJson: canonicalJson(value), confidence: 0.5 };
    const body = encodeBody(encodeFrame({ from: i, to: seq, records: [record] }));
    const header = encodeHeader({
      space: spaceId,
      replica,
      incarnation,
      seq,
      prev,
      hlc,
      epoch: 0,
      deps: [],
      client: 0,
      sections: [
        {
          doc: document,
          gen: 0,
          kind: "facts",
          from: i,
          to: seq,
          bodyHash: sha256(body),
          bodyLen: body.length,
          keyId: null,
        },
      ],
    });
    prev = parseHeaderHash(toHex(sha256(header)));
    const signature = device.sign(headerSigningInput(header));
    const said = { writer: replica, incarnation, seq, hlc, deleted: false, value, confidence: 0.5 };
    return {
      head: { replica, incarnation, seq, hash: prev },
      signed: { header, signature },
      batch: encodeBatch({ headerBytes: header, signature, bodies: [body] }),
      leaf: factLeaf(document, key, said),
    };
  });
  const last = made.at(-1);
  if (last === undefined) throw new Error("a chain has a batch");
  return {
    replica,
    made,
    last,
    leaves: made.map(({ leaf }) => leaf),
    batches: made.map(({ batch }) => batch),
  };
}

const [one, two] = [1, 2].map(() => createDeviceSigner(generateSeed(random)));
if (one === undefined || two === undefined) throw new Error("two devices expected");
const first = chainOf(one, [20.5, { state: "on" }, "text"]);
const second = chainOf(two, [1, 2]);

async function verify(
  leaves: readonly string[],
  batches: readonly Uint8Array[],
  options: Partial<VerifyOptions> = {},
): Promise<Verdict> {
  const bundle = await makeBundle({ leaves, headers: [first.last, second.last] });
  return verifyBundle(encodeBundle({ ...bundle, batches }), root, { now: NOW, ...options });
}
const outcome = (verdict: Verdict): string =>
  `${String(verdict.exitCode)} ${verdict.failed?.step ?? "valid"}`;
const reason = async (verdict: Promise<Verdict>): Promise<string> =>
  (await verdict).failed?.message ?? "";
const leaves = [...first.leaves, ...second.leaves];
const batches = [...first.batches, ...second.batches];

describe("a bundle with its batches", () => {
  test("derives every fact again, and names the replica behind each", async () => {
    const verdict = await verify(leaves, batches, { fact: { key: "sensor/2" } });
    expect(outcome(verdict)).toBe("0 valid");
    const shares = [
      { replica: first.replica, batches: 3, facts: 3 },
      { replica: second.replica, batches: 2, facts: 2 },
    ];
    expect(verdict.provenance).toMatchObject({
      derived: 5,
      uncovered: 0,
      rich: 0,
      replicas: shares.toSorted((a, b) => (a.replica < b.replica ? -1 : 1)),
    });
    expect(verdict.facts).toMatchObject([
      { members: { value: "text", writer: first.replica }, batch: first.last.head.hash },
    ]);
  });

  test("is refused when the hub sealed another value, or a fact that nobody signed", async () => {
    const altered = leaves.map((leaf) => leaf.replace("20.5", "20.6"));
    expect(outcome(await verify(altered, batches))).toBe("1 batches");
    expect(await reason(verify(altered, batches))).toMatch(
      /is not what replica [0-9a-f]{64} signed/u,
    );
    const invented = factLeaf(document, "sensor/9", {
      writer: first.replica,
      incarnation,
      seq: 9,
      hlc: hlcFromMs(NOW + 9),
      deleted: false,
      value: 1,
    });
    expect(outcome(await verify([...leaves, invented], batches))).toBe("1 batches");
  });

  test("is refused with a batch of no sealed chain, of another's signature, twice, or with another body", async () => {
    const stranger = chainOf(createDeviceSigner(generateSeed(random)), [1]);
    expect(outcome(await verify(leaves, [...batches, ...stranger.batches]))).toBe("1 batches");
    expect(outcome(await verify(leaves, [...batches, ...first.batches.slice(0, 1)]))).toBe(
      "1 batches",
    );
    const [, , third] = first.made;
    if (third === undefined) throw new Error("three batches expected");
    const { header, signature } = third.signed;
    // As long as the one that was signed.
    const other = {
      key: "sensor/9",
      seq: 3,
      hlc: hlcFromMs(NOW + 2),
      valueJson: '"text"',
      confidence: 0.5,
    };
    const body = encodeBody(encodeFrame({ from: 2, to: 3, records: [other] }));
    const swapped = encodeBatch({ headerBytes: header, signature, bodies: [body] });
    const rest = [...first.batches.slice(0, 2), ...second.batches];
    expect(outcome(await verify(leaves, [...rest, swapped]))).toBe("1 batches");
    expect(await reason(verify(leaves, [...rest, swapped]))).toMatch(
      /is not the one that was signed/u,
    );
    const unsigned = encodeBatch({
      headerBytes: header,
      signature: second.last.signed.signature,
      bodies: [body],
    });
    expect(outcome(await verify(leaves, [...rest, unsigned]))).toBe("1 batches");
    expect(await reason(verify(leaves, [...rest, unsigned]))).toMatch(/is not signed by replica/u);
  });

  test("that has not all of them says so, and a policy may refuse it", async () => {
    const newest = [...first.batches.slice(1), ...second.batches];
    const verdict = await verify(leaves, newest);
    expect([outcome(verdict), verdict.provenance?.uncovered]).toEqual(["0 valid", 1]);
    const policy = { batches: true } as const;
    expect(outcome(await verify(leaves, newest, { policy }))).toBe("2 batches");
    expect(outcome(await verify(leaves, batches, { policy }))).toBe("0 valid");
  });

  test("without a batch in the middle has none behind it, either", async () => {
    expect(
      outcome(
        await verify(
          leaves,
          first.batches.filter((_, i) => i !== 1),
        ),
      ),
    ).toBe("1 batches");
  });
});
