// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a witness cosigns one history of a log, whatever it is sent and wherever it is stopped.
 * Method: the answers of C2SP tlog-witness one by one, random requests against a model, and a store that crashes around every write.
 */
import { utf8Encode } from "@ctxmesh/codec";
import { createSigner, generatePrivateKey, sha256 } from "@ctxmesh/crypto";
import {
  acceptCosignatures,
  createWitness,
  formatAddCheckpoint,
  parseAddCheckpoint,
  parseTreeSize,
  verifyCheckpoint,
} from "@ctxmesh/ledger";
import type { Witness, WitnessAnswer } from "@ctxmesh/ledger";
import { LIMITS, toHex } from "@ctxmesh/model";
import { createMemoryStore, createSeededRandom, createVirtualClock } from "@ctxmesh/testing";
import type { MemoryStore } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { signCheckpoint } from "../src/note.ts";
import { NOW, ORIGIN, codeOf, logSigners, random } from "./fixture.ts";
import {
  SECONDS,
  checkpointOf,
  cosigner,
  hashesOf,
  headOf,
  listening,
  log,
  requestOf,
  witnessOn,
} from "./witness-kit.ts";
import type { Heard } from "./witness-kit.ts";

const by = cosigner("w1.test");
const originHash = toHex(sha256(utf8Encode(ORIGIN)));
const begin = (): Witness => witnessOn(createMemoryStore(), by);
const ask = async (
  witness: Witness,
  oldSize: number,
  hashes: readonly Uint8Array[],
): Promise<WitnessAnswer> => witness.addCheckpoint(requestOf(oldSize, hashes));
const textOf = (changes: Partial<Parameters<typeof formatAddCheckpoint>[0]>): Uint8Array =>
  utf8Encode(
    formatAddCheckpoint({
      oldSize: 0,
      proof: [],
      checkpoint: checkpointOf(hashesOf(3)),
      ...changes,
    }),
  );

describe("a witness", () => {
  test("cosigns the first checkpoint, and each that goes on from the one before", async () => {
    const witness = begin();
    for (const [from, to] of [
      [0, 3],
      [3, 4],
      [4, 4],
      [4, 300],
    ] as const) {
      const answer = await ask(witness, from, hashesOf(to));
      expect([answer.status, answer.type]).toEqual([200, "text/plain"]);
      const lines = acceptCosignatures(checkpointOf(hashesOf(to)), answer.body, by.keys);
      expect(lines).toBe(answer.body);
      const kept = (await witness.checkpoint(originHash)) ?? "";
      const { head, cosignedBy } = verifyCheckpoint(kept, log, by.keys);
      expect([head, cosignedBy]).toEqual([headOf(hashesOf(to)), ["w1.test"]]);
    }
  });

  test("gives the same lines to whoever sends a tree again within a minute, and signs once", async () => {
    const clock = createVirtualClock(NOW);
    let signed = 0;
    const counted = by.signers.map((signer) => ({
      ...signer,
      sign: (message: Uint8Array) => {
        signed++;
        return signer.sign(message);
      },
    }));
    const witness = witnessOn(createMemoryStore(), by, { clock, signers: counted });
    const first = await ask(witness, 0, hashesOf(3));
    clock.advance(59_999);
    expect(await ask(witness, 3, hashesOf(3))).toEqual(first);
    expect(signed).toBe(by.signers.length);
    // Another tree of this size is none of it.
    expect((await ask(witness, 3, hashesOf(3, 1))).status).toBe(422);
    clock.advance(1);
    const later = await ask(witness, 3, hashesOf(3));
    const text = `${checkpointOf(hashesOf(3))}${later.body}`;
    expect(verifyCheckpoint(text, log, by.keys).cosignedMs).toEqual([NOW + 60_000]);
    // A larger tree is signed at once; the lines about the smaller one are used no more.
    const larger = await ask(witness, 3, hashesOf(4));
    expect(signed).toBe(3 * by.signers.length);
    expect(await ask(witness, 4, hashesOf(4))).toEqual(larger);
  });

  test("answers a wrong old size with the right one, 409", async () => {
    const witness = begin();
    const conflict = { status: 409, type: "text/x.tlog.size" };
    expect(await ask(witness, 2, hashesOf(3))).toEqual({ ...conflict, body: "0\n" });
    await ask(witness, 0, hashesOf(3));
    expect(await ask(witness, 0, hashesOf(5))).toEqual({ ...conflict, body: "3\n" });
    expect(await ask(witness, 2, hashesOf(2))).toEqual({ ...conflict, body: "3\n" });
    expect(parseTreeSize("3\n")).toBe(3);
  });

  test("refuses a second tree, 422, and says that the log forked", async () => {
    const heard: Heard[] = [];
    const witness = witnessOn(createMemoryStore(), by, { logger: listening(heard) });
    await ask(witness, 0, hashesOf(5));
    expect((await ask(witness, 5, hashesOf(5, 1, 4))).status).toBe(422);
    expect(heard.map(({ event }) => event)).toEqual(["witness.fork", "witness.refused"]);
    const { known, shown } = heard[0]?.fields ?? {};
    const heads = [known, shown].map((text) => verifyCheckpoint(String(text), log).head);
    expect(heads).toEqual([headOf(hashesOf(5)), headOf(hashesOf(5, 1, 4))]);
    expect((await ask(witness, 5, hashesOf(9, 1, 4))).status).toBe(422);
    expect((await ask(witness, 5, hashesOf(9))).status).toBe(200);
  });

  test("refuses a proof that does not fit, or where none belongs, 422", async () => {
    const witness = begin();
    const [hash] = hashesOf(1);
    const proof = [hash ?? new Uint8Array(32)];
    expect((await witness.addCheckpoint(textOf({ proof }))).status).toBe(422);
    await ask(witness, 0, hashesOf(3));
    const checkpoint = checkpointOf(hashesOf(7));
    for (const wrong of [[], proof, [...proof, ...proof]]) {
      const request = textOf({ oldSize: 3, proof: wrong, checkpoint });
      expect((await witness.addCheckpoint(request)).status).toBe(422);
    }
    const same = textOf({ oldSize: 3, proof });
    expect((await witness.addCheckpoint(same)).status).toBe(422);
  });

  test("takes an empty log for empty, and nothing else for it", async () => {
    const witness = begin();
    expect((await ask(witness, 0, [])).status).toBe(200);
    const head = { origin: ORIGIN, size: 0, root: new Uint8Array(32) };
    const checkpoint = signCheckpoint(head, logSigners, SECONDS);
    expect((await witness.addCheckpoint(textOf({ checkpoint }))).status).toBe(422);
    expect((await ask(witness, 0, hashesOf(2))).status).toBe(200);
  });

  test("refuses what the log's keys have not both signed, 403, and logs that it does not know, 404", async () => {
    const witness = begin();
    const foreign = {
      ed25519: createSigner(generatePrivateKey("Ed25519", random)),
      mldsa44: createSigner(generatePrivateKey("ML-DSA-44", random)),
    };
    const head = headOf(hashesOf(3));
    for (const changes of [foreign, { ed25519: foreign.ed25519 }, { mldsa44: foreign.mldsa44 }]) {
      const checkpoint = signCheckpoint(head, { ...logSigners, ...changes }, SECONDS);
      expect((await witness.addCheckpoint(textOf({ checkpoint }))).status).toBe(403);
    }
    const plain = checkpointOf(hashesOf(3));
    const [, , size = ""] = /^(.*)\n(3)\n/u.exec(plain) ?? [];
    const edited = plain.replace(`\n${size}\n`, "\n4\n");
    expect((await witness.addCheckpoint(textOf({ checkpoint: edited }))).status).toBe(403);
    const unknown = signCheckpoint({ ...head, origin: "other.test" }, logSigners, SECONDS);
    expect((await witness.addCheckpoint(textOf({ checkpoint: unknown }))).status).toBe(404);
    expect(await witness.checkpoint(originHash)).toBeUndefined();
    expect(await witness.checkpoint("00")).toBeUndefined();
  });

  test("refuses what is no request, 400", async () => {
    const witness = begin();
    const plain = checkpointOf(hashesOf(3));
    for (const body of [
      "",
      "old 0\n",
      `old 0\n${plain}`,
      `old 00\n\n${plain}`,
      `old -1\n\n${plain}`,
      `old 9007199254740993\n\n${plain}`,
      `Old 0\n\n${plain}`,
      `old 0\nAAAA\n\n${plain}`,
      `old 0\n\n\n${plain}`,
      `old 4\n\n${plain}`,
      `old 0\n${"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n".repeat(64)}\n${plain}`,
      `old 0\n\n${plain.slice(0, -1)}`,
      `old 0\n\n${"x".repeat(LIMITS.checkpointBytes)}`,
    ]) {
      const { status } = await witness.addCheckpoint(utf8Encode(body));
      expect([body.slice(0, 60), status]).toEqual([body.slice(0, 60), 400]);
    }
    expect((await witness.addCheckpoint(Uint8Array.of(0xff, 0xfe))).status).toBe(400);
  });

  test("has a queue that ends", async () => {
    const witness = begin();
    const answers = await Promise.all(
      Array.from({ length: LIMITS.witnessQueue + 3 }, async () => ask(witness, 0, hashesOf(3))),
    );
    const count = (status: number): number => answers.filter((a) => a.status === status).length;
    expect([count(200), count(409), count(503)]).toEqual([1, LIMITS.witnessQueue - 1, 3]);
  });

  test("keeps no lines of others", async () => {
    const witness = begin();
    const noise = `— other.test ${"AAAA".repeat(40)}\n`.repeat(30);
    const checkpoint = `${checkpointOf(hashesOf(3))}${noise}`;
    expect((await witness.addCheckpoint(textOf({ checkpoint }))).status).toBe(200);
    expect(await witness.checkpoint(originHash)).not.toContain("other.test");
  });

  test("needs a key, and logs with one key of each suite at most", () => {
    const options = {
      ...by,
      store: createMemoryStore(),
      prefix: utf8Encode("w"),
      logger: listening([]),
    };
    const clock = { now: () => NOW };
    const make = (changes: object) => (): unknown =>
      createWitness({ ...options, clock, logs: [], ...changes });
    const keys = [log.ed25519];
    expect(codeOf(make({ signers: [] }))).toBe("KEY_INVALID");
    expect(codeOf(make({ name: "a b" }))).toBe("INPUT_INVALID");
    expect(codeOf(make({ logs: [{ origin: ORIGIN, keys: [] }] }))).toBe("INPUT_INVALID");
    expect(codeOf(make({ logs: [{ origin: ORIGIN, keys: [...keys, ...keys] }] }))).toBe(
      "INPUT_INVALID",
    );
    expect(codeOf(make({ logs: [{ origin: ORIGIN, keys }] }))).toBe("no error");
  });
});

test("a request survives its text", () => {
  const proof = hashesOf(5);
  const request = { oldSize: 12, proof, checkpoint: checkpointOf(hashesOf(40)) };
  expect(parseAddCheckpoint(utf8Encode(formatAddCheckpoint(request)))).toEqual(request);
});

describe("whatever it is sent, and wherever it stops", () => {
  /** Everything that a witness ever signed, of any life. */
  interface Signed {
    readonly size: number;
    readonly branch: number;
  }
  const FORK = 4;
  /** Sizes from which on the branches differ. */
  const isConsistent = (a: Signed, b: Signed): boolean =>
    a.branch === b.branch || Math.min(a.size, b.size) <= FORK;

  async function live(store: MemoryStore, seed: number): Promise<Signed[]> {
    const pick = createSeededRandom(seed);
    const upTo = (n: number): number => (pick.bytes(1)[0] ?? 0) % n;
    const signed: Signed[] = [];
    let [current, known] = [store, 0];
    let witness = witnessOn(current, by);
    for (let step = 0; step < 40; step++) {
      const [size, branch] = [upTo(9), upTo(2)];
      const request = requestOf(upTo(3) === 0 ? upTo(9) : known, hashesOf(size, branch, FORK));
      const fault = upTo(6);
      if (fault === 1) current.failNextWrite("lost");
      if (fault === 2) current.failNextWrite("kept");
      const asked = witness.addCheckpoint(request).catch(() => undefined);
      if (fault === 3) current = current.crash(upTo(2));
      const answer = await asked;
      if (answer?.status === 200) signed.push({ size, branch });
      if (answer?.status === 409) known = parseTreeSize(answer.body);
      if (answer?.status === 200) known = size;
      if (answer === undefined || fault === 3) {
        if (fault !== 3) current = await current.reopen();
        witness = witnessOn(current, by);
      }
    }
    return signed;
  }

  test("all that a witness ever cosigned is one history, and never goes back", async () => {
    let cosigned = 0;
    await fc.assert(
      fc.asyncProperty(fc.nat(1_000_000), async (seed) => {
        const signed = await live(createMemoryStore(), seed);
        cosigned += signed.length;
        for (const [i, later] of signed.entries()) {
          for (const earlier of signed.slice(0, i)) {
            expect(earlier.size).toBeLessThanOrEqual(later.size);
            expect(isConsistent(earlier, later)).toBe(true);
          }
        }
      }),
      { numRuns: 25 },
    );
    expect(cosigned).toBeGreaterThan(25);
  });

  test("nobody gets a line about a tree that a crash could make the witness forget", async () => {
    const reached = Promise.withResolvers<void>();
    const beforeSync = async (): Promise<void> => {
      reached.resolve();
      return new Promise(() => undefined);
    };
    const store = createMemoryStore({ faults: { beforeSync } });
    const witness = witnessOn(store, by);
    let answered = false;
    const asked = ask(witness, 0, hashesOf(3)).then(
      () => (answered = true),
      () => undefined,
    );
    await reached.promise;
    expect(answered).toBe(false);
    store.crash();
    await Promise.race([asked, Promise.resolve()]);
    expect(answered).toBe(false);
  });

  test("a record that is not of the log is damage", async () => {
    const store = createMemoryStore();
    const witness = witnessOn(store, by);
    const key = Uint8Array.from([...utf8Encode("w/"), ...sha256(utf8Encode(ORIGIN))]);
    const other = signCheckpoint({ ...headOf(hashesOf(3)), origin: "other.test" }, logSigners, 1);
    for (const text of ["x", other]) {
      await store.write([{ key, value: utf8Encode(text) }]);
      await expect(ask(witness, 0, hashesOf(3))).rejects.toMatchObject({ code: "STORE_CORRUPT" });
    }
  });
});
