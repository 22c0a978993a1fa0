// SPDX-License-Identifier: Apache-2.0
/** What is repeated and what is not, over a transport that answers as it is told. */
import { MeshError } from "@ctxmesh/model";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { createConnection } from "../src/connection.ts";
import { pauseMs } from "../src/retry.ts";
import { transportError } from "../src/transport.ts";
import type { NodeRequest, NodeResponse, Transport } from "../src/transport.ts";

const bytesOf = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

const response = (status: number, body: unknown): NodeResponse => ({
  status,
  trailer: () => undefined,
  async *[Symbol.asyncIterator]() {
    yield bytesOf(body);
  },
});

const failure = (code: string): MeshError =>
  transportError(Object.assign(new Error(code), { code }), "there", {});

/** Answers with what it is given, one after the other, the last one for ever. */
function scripted(...answers: readonly (NodeResponse | MeshError)[]): Transport & {
  readonly requests: NodeRequest[];
} {
  const requests: NodeRequest[] = [];
  return {
    place: "there",
    requests,
    send(request) {
      const answer = answers[Math.min(requests.length, answers.length - 1)];
      requests.push(request);
      return answer === undefined || answer instanceof MeshError
        ? Promise.reject(answer ?? failure("ECONNREFUSED"))
        : Promise.resolve(answer);
    },
    close: () => undefined,
  };
}

const OK = response(200, { here: 1 });
const STOPPING = response(503, { code: "CLOSED", detail: "the node is shutting down" });
const LIMITS = { timeoutMs: 1_000 };

test("a pause is any length up to a bound that doubles, and stops doubling", () => {
  fc.assert(
    fc.property(
      fc.nat({ max: 100 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (n, share) => {
        const bound = Math.min(2_000, 50 * 2 ** n);
        expect(pauseMs(n, () => share)).toBe(share * bound);
      },
    ),
  );
});

test("a read is made again while the node is away, or about to stop, so many times", async () => {
  for (const first of [failure("ECONNRESET"), failure("ENOENT"), STOPPING]) {
    const transport = scripted(first, OK);
    expect(await createConnection(transport, 1).call("GET", "/x", LIMITS)).toEqual(
      bytesOf({ here: 1 }),
    );
    expect(transport.requests).toHaveLength(2);
  }
  const gone = scripted(failure("ECONNRESET"));
  await expect(createConnection(gone, 2).call("GET", "/x", LIMITS)).rejects.toMatchObject({
    code: "UNREACHABLE",
  });
  expect(gone.requests).toHaveLength(3);
});

test("a write is made again only where it can't have been made, or has a name under which it is made once", async () => {
  const lost = scripted(failure("ECONNRESET"), OK);
  const body = { body: {}, ...LIMITS };
  await expect(createConnection(lost, 3).call("POST", "/x", body)).rejects.toMatchObject({
    code: "UNREACHABLE",
  });
  expect(lost.requests).toHaveLength(1);
  const refused = scripted(failure("ECONNREFUSED"), OK);
  await createConnection(refused, 3).call("POST", "/x", body);
  expect(refused.requests).toHaveLength(2);
  const named = scripted(failure("ECONNRESET"), OK);
  await createConnection(named, 3).call("POST", "/x", { ...body, idempotencyKey: "order-7" });
  expect(named.requests.map(({ headers }) => headers["idempotency-key"])).toEqual([
    "order-7",
    "order-7",
  ]);
});

test("what a living node refuses is not asked again, even that somebody else is out of reach", async () => {
  for (const code of ["UNREACHABLE", "ENGINE_UNAVAILABLE", "ABORTED", "INPUT_INVALID"]) {
    const transport = scripted(response(503, { code, detail: "no" }));
    const connection = createConnection(transport, 3);
    for (let i = 0; i < 10; i++) {
      await expect(connection.call("GET", "/x", LIMITS)).rejects.toMatchObject({ code });
    }
    expect(transport.requests, code).toHaveLength(10);
  }
});

test("a node that did not answer five times is left alone", async () => {
  const transport = scripted(failure("ECONNRESET"));
  const connection = createConnection(transport, 0);
  for (let i = 0; i < 20; i++) {
    await expect(connection.call("GET", "/x", LIMITS)).rejects.toMatchObject({
      code: "UNREACHABLE",
    });
  }
  expect(transport.requests).toHaveLength(5);
});

test("a signal ends a call, before it is made and between two attempts", async () => {
  const transport = scripted(failure("ECONNRESET"));
  const connection = createConnection(transport, 1_000);
  await expect(
    connection.call("GET", "/x", { ...LIMITS, signal: AbortSignal.abort() }),
  ).rejects.toMatchObject({ code: "ABORTED" });
  expect(transport.requests).toHaveLength(0);
  const controller = new AbortController();
  const call = connection.call("GET", "/x", { ...LIMITS, signal: controller.signal });
  const ended = expect(call).rejects.toMatchObject({ code: "ABORTED" });
  controller.abort();
  await ended;
});

test("what JSON can't hold is refused before it is sent, and not made something else", async () => {
  const transport = scripted(OK);
  const connection = createConnection(transport, 3);
  const itself: { self?: unknown } = {};
  itself.self = itself;
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, 1n, itself]) {
    const body = { facts: [{ key: "k", value }] };
    await expect(connection.call("POST", "/x", { body, ...LIMITS })).rejects.toMatchObject({
      name: "MeshError",
      code: "INPUT_INVALID",
    });
  }
  let deep: unknown = 1;
  for (let i = 0; i < 100_000; i++) deep = [deep];
  await expect(connection.call("POST", "/x", { body: { deep }, ...LIMITS })).rejects.toMatchObject({
    code: "LIMIT_EXCEEDED",
  });
  expect(transport.requests).toEqual([]);
  const body = { a: [-0, 1e300, null, "NaN"], b: undefined };
  await connection.call("POST", "/x", { body, ...LIMITS });
  expect(transport.requests[0]?.body).toBe('{"a":[0,1e+300,null,"NaN"]}');
});
