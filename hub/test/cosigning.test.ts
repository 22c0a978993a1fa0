// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: whatever a witness answers, the hub seals, keeps valid lines alone, and says once what is wrong.
 * Method: a real log and witness behind a server that answers as it is told.
 */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createSigner, generatePrivateKey, toPublicKey } from "@ctxmesh/crypto";
import { createWitness, openLog, snapshotEntry, verifyCheckpoint } from "@ctxmesh/ledger";
import type { Log, Witness } from "@ctxmesh/ledger";
import { LIMITS } from "@ctxmesh/model";
import type { Logger } from "@ctxmesh/model";
import { systemClock, systemRandom } from "@ctxmesh/service";
import { createMemoryStore, waitFor } from "@ctxmesh/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Cosigning } from "../src/cosigning.ts";
import { sealKeys } from "./fixture.ts";

const key = generatePrivateKey("ML-DSA-44", systemRandom);
const name = "w1.test";
const keys = [{ name, key: toPublicKey(key) }];
const { origin, signers } = sealKeys.log;
const logKeys = { origin, ed25519: signers.ed25519.key, mldsa44: signers.mldsa44.key };

type Answer = (body: Buffer, response: ServerResponse) => Promise<void> | void;

let heard: { readonly event: string; readonly fields: unknown }[];
let log: Log;
let witness: Witness;
let url: string;
/** What the server does with the next requests. */
let answers: Answer;
let asked: number;
let cleanup: AsyncDisposableStack;

const hear = (event: string, fields?: unknown): void => void heard.push({ event, fields });
const logger: Logger = { debug: hear, info: hear, warn: hear, error: hear };
const eventsOf = (): string[] => heard.map(({ event }) => event);

/** As a real witness does. */
const honest: Answer = async (body, response) => {
  const answer = await witness.addCheckpoint(body);
  response.writeHead(answer.status, { "content-type": answer.type }).end(answer.body);
};
const fixed =
  (status: number, type: string, body: string): Answer =>
  (_body, response) => {
    response.writeHead(status, { "content-type": type }).end(body);
  };

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

beforeEach(async () => {
  cleanup = new AsyncDisposableStack();
  heard = [];
  asked = 0;
  answers = honest;
  const clock = systemClock;
  log = await openLog({
    store: createMemoryStore(),
    prefix: Uint8Array.of(1),
    clock,
    ...sealKeys.log,
  });
  witness = createWitness({
    name,
    signers: [createSigner(key)],
    logs: [{ origin, keys: [logKeys.ed25519, logKeys.mldsa44] }],
    store: createMemoryStore(),
    prefix: Uint8Array.of(1),
    clock,
    logger,
  });
  const server = createServer((request, response) => {
    asked++;
    void bodyOf(request).then(async (body) => answers(body, response));
  });
  cleanup.defer(async () => {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  });
  await new Promise<void>((done) => {
    server.listen(0, "127.0.0.1", done);
  });
  url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/w`;
});

afterEach(async () => cleanup.disposeAsync());

function cosigningWith(...urls: readonly string[]): Cosigning {
  const cosigning = new Cosigning({
    log,
    witnesses: urls.map((at) => ({ url: at, keys })),
    logger,
  });
  cleanup.defer(async () => cosigning.stop());
  return cosigning;
}
const append = async (count: number): Promise<void> => {
  for (let i = 0; i < count; i++) await log.append(snapshotEntry(Uint8Array.of(i)));
};
const cosignedSize = (): number => {
  if (log.cosigned === undefined) return 0;
  const { head, cosignedBy } = verifyCheckpoint(log.cosigned, logKeys, keys);
  return cosignedBy.length === 0 ? 0 : head.size;
};
const until = async (what: string, holds: () => boolean): Promise<void> =>
  waitFor(holds, { timeoutMs: 15_000, what });

test("a log is cosigned with two requests the first time, and one from then on", async () => {
  const cosigning = cosigningWith(url);
  await append(3);
  cosigning.poke();
  await cosigning.settled(10_000);
  expect([cosignedSize(), asked]).toEqual([3, 1]);
  await append(4);
  cosigning.poke();
  await cosigning.settled(10_000);
  expect([cosignedSize(), asked]).toEqual([7, 2]);
  // Another process life does not know what the witness has.
  const again = cosigningWith(url);
  await append(1);
  again.poke();
  await again.settled(10_000);
  expect([cosignedSize(), asked]).toEqual([8, 4]);
  again.poke();
  await again.settled(10_000);
  expect(asked).toBe(4);
});

test("a new checkpoint is not forgotten in whatever moment of a round it comes", async () => {
  for (let turns = 0; turns < 12; turns++) {
    let rounds = 0;
    const late = async (): Promise<void> => {
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      cosigning.poke();
    };
    const cosigning = new Cosigning({
      log: {
        get checkpoint() {
          rounds++;
          return log.checkpoint;
        },
        get cosigned() {
          return log.cosigned;
        },
        get size() {
          return log.size;
        },
        consistency: async (from, to) => log.consistency(from, to),
        keepCosignatures: async (checkpoint, lines) => {
          await log.keepCosignatures(checkpoint, lines);
          void late();
        },
      },
      witnesses: [{ url, keys }],
      logger,
    });
    await append(1);
    cosigning.poke();
    await until(`a second round, ${String(turns)} turns later`, () => rounds === 2);
    await cosigning.stop();
    expect(cosignedSize()).toBe(turns + 1);
  }
});

test("nobody is asked about an empty log, or without witnesses, or after the stop", async () => {
  cosigningWith(url).poke();
  await append(1);
  cosigningWith().poke();
  const stopped = cosigningWith(url);
  await stopped.stop();
  stopped.poke();
  await stopped.settled(10_000);
  expect([asked, cosignedSize()]).toEqual([0, 0]);
});

describe("a witness that does not cosign", () => {
  const foreign = "— other.test AAAAAAAAAAAAAAAAAAAAAAAAAAAA\n";
  const wrong = `— w1.test ${Buffer.alloc(2432, 7).toString("base64")}\n`;
  const size = "text/x.tlog.size";
  const cases: readonly [string, Answer, RegExp][] = [
    ["refuses", fixed(422, "text/plain", "no\nsecond line"), /^422 no$/u],
    ["has no line by its key", fixed(200, "text/plain", foreign), /without a line by its keys/u],
    ["has a wrong line", fixed(200, "text/plain", wrong), /without a line|does not verify/u],
    ["answers with no lines at all", fixed(200, "text/html", "<html>"), /note/u],
    [
      "answers without end",
      fixed(200, "text/plain", "x".repeat(LIMITS.checkpointBytes + 1)),
      /too long/u,
    ],
    ["is of other bytes", (_, r) => void r.writeHead(200).end(Buffer.of(0xff, 0xfe)), /./u],
    ["leads elsewhere", (_, r) => void r.writeHead(307, { location: "/x" }).end(), /redirect/u],
    ["hangs up", (_, r) => void r.destroy(), /./u],
    ["names a wrong size in the wrong way", fixed(409, "text/plain", "1\n"), /^409 1$/u],
    ["names no size", fixed(409, size, "-1\n"), /tree size/u],
    ["names another size each time", fixed(409, size, "1\n"), /another size each time/u],
    ["has cosigned more than there is", fixed(409, size, "9\n"), /store was set back/u],
  ];
  test.each(cases)(
    "%s: that is said once, and no line of it is kept",
    async (_name, lie, reason) => {
      answers = lie;
      await append(3);
      const cosigning = cosigningWith(url);
      cosigning.poke();
      await cosigning.settled(10_000);
      expect(cosignedSize()).toBe(0);
      cosigning.poke();
      await cosigning.settled(10_000);
      const said = heard.filter(({ event }) => event === "witness.missing");
      expect(said.length).toBe(1);
      expect(said[0]?.fields).toMatchObject({ message: expect.stringMatching(reason) as string });
      answers = honest;
      cosigning.poke();
      await cosigning.settled(10_000);
      expect(cosignedSize()).toBe(3);
      expect(eventsOf()).toContain("witness.cosigns");
    },
  );

  test("is asked again by itself", async () => {
    answers = fixed(503, "text/plain", "busy");
    await append(1);
    cosigningWith(url).poke();
    await until("the first refusal", () => eventsOf().includes("witness.missing"));
    answers = honest;
    await until("it to cosign", () => cosignedSize() === 1);
    expect(eventsOf()).toEqual(["witness.missing", "witness.cosigns"]);
  });

  test("holds up neither the others nor whoever waits", async () => {
    const other = createServer(() => undefined);
    await new Promise<void>((done) => {
      other.listen(0, "127.0.0.1", done);
    });
    const silent = `http://127.0.0.1:${String((other.address() as AddressInfo).port)}`;
    await append(1);
    const cosigning = cosigningWith(silent, url);
    cosigning.poke();
    await cosigning.settled(20);
    expect(log.size).toBe(1);
    await append(1);
    await cosigning.stop();
    other.closeAllConnections();
    await new Promise((done) => other.close(done));
    expect(log.size).toBe(2);
  });
});
