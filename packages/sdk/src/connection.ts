// SPDX-License-Identifier: Apache-2.0
/** Calls to a node: JSON in and out, problem details as errors, what is safe is repeated, and a node that is away is left alone for a while. */
import { LIMITS, MeshError } from "@ctxmesh/model";
import { Breaker } from "./breaker.ts";
import { mayRepeat, pause, pauseMs } from "./retry.ts";
import { isAway, isTimeOut, problemToError, transportError } from "./transport.ts";
import type { NodeResponse, Transport } from "./transport.ts";

export { problemToError, transportError } from "./transport.ts";

/** How one request is made. */
export interface CallOptions {
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** The name under which the node makes a write once: with it the write may be repeated. */
  readonly idempotencyKey?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Without a byte from the node for this long, the call ends with `ABORTED`. */
  readonly timeoutMs: number;
}

/** A way to the node. */
export interface Connection {
  /** What errors call the node by. */
  readonly place: string;
  /** The whole response body. Throws the node's error, `UNREACHABLE` or `ABORTED`. */
  call(method: "GET" | "POST", path: string, options: CallOptions): Promise<Uint8Array>;
  /** The response as it comes, once its head says 200. Errors as for {@link call}. */
  open(method: "GET" | "POST", path: string, options: CallOptions): Promise<NodeResponse>;
  /** Ends every connection. */
  close(): void;
}

/** A connection over a transport, which repeats what is safe so many times. */
export function createConnection(transport: Transport, retries: number): Connection {
  const { place } = transport;
  const breaker = new Breaker(place, () => performance.now());
  let closed = false;

  /** Makes a call as often as it may be made. For the breaker all of that is one call. */
  async function persist<Answer>(
    method: "GET" | "POST",
    { idempotencyKey, signal }: CallOptions,
    once: () => Promise<Answer>,
  ): Promise<Answer> {
    const isSafe = method === "GET" || idempotencyKey !== undefined;
    for (let n = 0; ; n++) {
      if (signal?.aborted === true) throw transportError(signal.reason, place, { signal });
      try {
        return await once();
      } catch (error) {
        if (closed || n >= retries || !mayRepeat(error, isSafe)) throw error;
      }
      await pause(pauseMs(n, Math.random), signal);
    }
  }

  const make = <Answer>(
    method: "GET" | "POST",
    options: CallOptions,
    once: () => Promise<Answer>,
  ): Promise<Answer> =>
    breaker.run(
      () => persist(method, options, once),
      (error) => !closed && (isAway(error) || isTimeOut(error)),
    );

  return {
    place,
    open: (method, path, options) =>
      make(method, options, () => openOnce(transport, method, path, options)),
    call: (method, path, options) =>
      make(method, options, async () =>
        readAll(await openOnce(transport, method, path, options), place, options),
      ),
    close() {
      closed = true;
      transport.close();
    },
  };
}

/** Makes one attempt. */
async function openOnce(
  transport: Transport,
  method: "GET" | "POST",
  path: string,
  options: CallOptions,
): Promise<NodeResponse> {
  const { signal, timeoutMs, idempotencyKey } = options;
  const response = await transport.send({
    method,
    target: targetOf(path, options),
    body: options.body === undefined ? undefined : textOf(options.body),
    headers: {
      ...(options.body === undefined ? {} : { "content-type": "application/json" }),
      ...(idempotencyKey === undefined ? {} : { "idempotency-key": idempotencyKey }),
    },
    signal,
    timeoutMs,
  });
  if (response.status === 200) return response;
  throw errorOf(response.status, await readAll(response, transport.place, options));
}

/** A body as JSON. Throws `INPUT_INVALID`, and `LIMIT_EXCEEDED`, for what JSON can't hold: `JSON.stringify` would make null of a number that is none. */
function textOf(body: unknown): string {
  try {
    return JSON.stringify(body, (name, value: unknown) => {
      if (typeof value !== "number" || Number.isFinite(value)) return value;
      throw new MeshError("INPUT_INVALID", `${name} is ${String(value)}, which JSON can't hold`, {
        field: name,
      });
    });
  } catch (error) {
    if (error instanceof MeshError) throw error;
    if (error instanceof RangeError) {
      const message = "what is sent is nested too deeply, or too long, to be JSON";
      throw new MeshError("LIMIT_EXCEEDED", message, { cause: error });
    }
    const [why] = String(error).split("\n", 1);
    throw new MeshError("INPUT_INVALID", `what is sent can't be JSON: ${why ?? ""}`, {
      cause: error,
    });
  }
}

function targetOf(path: string, { query = {} }: CallOptions): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) params.set(name, String(value));
  }
  return params.size === 0 ? path : `${path}?${params.toString()}`;
}

async function readAll(
  response: NodeResponse,
  place: string,
  options: CallOptions,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of response) {
      length += chunk.length;
      if (length > LIMITS.bundleBytes) {
        throw new MeshError(
          "LIMIT_EXCEEDED",
          `the response is longer than ${String(LIMITS.bundleBytes)} bytes`,
        );
      }
      chunks.push(chunk);
    }
  } catch (error) {
    throw transportError(error, place, options);
  }
  const [only] = chunks;
  if (only !== undefined && chunks.length === 1) return only;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

function errorOf(status: number, body: Uint8Array): MeshError {
  let problem: unknown;
  try {
    problem = JSON.parse(new TextDecoder().decode(body));
  } catch {
    problem = undefined;
  }
  const known = problemToError(problem);
  if (known !== undefined) return known;
  if (status === 503) return new MeshError("CLOSED", "the node is shutting down");
  return new MeshError("PROTOCOL_VIOLATION", `the node answered with status ${String(status)}`, {
    remedy: "is that the socket of a ctxmesh daemon of this version?",
  });
}
