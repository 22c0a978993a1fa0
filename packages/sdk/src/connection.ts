// SPDX-License-Identifier: Apache-2.0
/** HTTP over the socket of a node: one keep-alive agent, JSON in and out, problem details as errors. */
import { Agent, request as httpRequest } from "node:http";
import type { IncomingMessage, RequestOptions } from "node:http";
import { ERROR_CODES, LIMITS, MeshError } from "@ctxmesh/model";
import type { MeshErrorCode } from "@ctxmesh/model";

/** How one request is made. */
export interface CallOptions {
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
  /** Without a byte from the node for this long, the call ends with `ABORTED`. */
  readonly timeoutMs: number;
}

/** A way to the node. */
export interface Connection {
  /** The whole response body. Throws the node's error, `UNREACHABLE` or `ABORTED`. */
  call(method: "GET" | "POST", path: string, options: CallOptions): Promise<Buffer>;
  /** The response as it comes, once its head says 200. Errors as for {@link call}. */
  open(method: "GET" | "POST", path: string, options: CallOptions): Promise<IncomingMessage>;
  /** Ends every connection. */
  close(): void;
}

/** Opens no connection yet; the first call does. */
export function createConnection(socketPath: string): Connection {
  const agent = new Agent({ keepAlive: true });
  const open: Connection["open"] = async (method, path, options) => {
    const response = await send(
      { agent, socketPath, method, path: target(path, options) },
      options,
      {
        mayRepeat: method === "GET",
        socketPath,
      },
    );
    if (response.statusCode === 200) return response;
    throw errorOf(response.statusCode ?? 0, await readBody(response));
  };
  return {
    open,
    async call(method, path, options) {
      const response = await open(method, path, options);
      try {
        return await readBody(response);
      } catch (error) {
        throw transportError(error, socketPath, options);
      }
    },
    close: () => agent.destroy(),
  };
}

function target(path: string, { query = {} }: CallOptions): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) params.set(name, String(value));
  }
  return params.size === 0 ? path : `${path}?${params.toString()}`;
}

async function send(
  to: RequestOptions,
  options: CallOptions,
  policy: { readonly mayRepeat: boolean; readonly socketPath: string },
): Promise<IncomingMessage> {
  const body = options.body === undefined ? undefined : JSON.stringify(options.body);
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const outgoing = httpRequest({
    ...to,
    timeout: options.timeoutMs,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    ...(body === undefined
      ? {}
      : {
          headers: {
            "content-type": "application/json",
            "content-length": Buffer.byteLength(body),
          },
        }),
  });
  outgoing.once("response", resolve);
  outgoing.on("error", reject);
  outgoing.once("timeout", () => outgoing.destroy(timedOut(options.timeoutMs)));
  outgoing.end(body);
  try {
    return await promise;
  } catch (error) {
    // The node closed an idle connection in the moment we took it: a fresh one tells the truth.
    if (policy.mayRepeat && outgoing.reusedSocket && systemCode(error) === "ECONNRESET") {
      return send(to, options, { ...policy, mayRepeat: false });
    }
    throw transportError(error, policy.socketPath, options);
  }
}

async function readBody(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > LIMITS.bundleBytes) {
      response.destroy();
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `the response is longer than ${String(LIMITS.bundleBytes)} bytes`,
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

const systemCode = (error: unknown): string | undefined =>
  error instanceof Error && "code" in error && typeof error.code === "string"
    ? error.code
    : undefined;

const timedOut = (timeoutMs: number): MeshError =>
  new MeshError("ABORTED", `the node did not answer for ${String(timeoutMs)} ms`, {
    remedy: "look at the daemon's log, or allow more time",
  });

/** The {@link MeshError} of a failure on the way to or from the node. */
export function transportError(
  error: unknown,
  socketPath: string,
  { signal }: Pick<CallOptions, "signal">,
): MeshError {
  if (error instanceof MeshError) return error;
  if (signal?.aborted === true) {
    return new MeshError("ABORTED", "the call was called off", { cause: error });
  }
  const code = systemCode(error) ?? String(error);
  const remedy =
    code === "EACCES"
      ? "the socket belongs to another user; run as the user that runs the daemon"
      : "is the daemon running? start it, or name the socket of one that is";
  return new MeshError("UNREACHABLE", `can't reach a node at ${socketPath}: ${code}`, {
    remedy,
    cause: error,
  });
}

const isCode = (code: unknown): code is MeshErrorCode =>
  typeof code === "string" && Object.hasOwn(ERROR_CODES, code);

/** The error of problem details, with the node's code. */
export function problemToError(problem: unknown): MeshError | undefined {
  if (typeof problem !== "object" || problem === null) return undefined;
  const { code, detail, field, remedy } = problem as Readonly<Record<string, unknown>>;
  if (!isCode(code) || typeof detail !== "string") return undefined;
  return new MeshError(code, detail, {
    ...(typeof field === "string" ? { field } : {}),
    ...(typeof remedy === "string" ? { remedy } : {}),
  });
}

function errorOf(status: number, body: Buffer): MeshError {
  let problem: unknown;
  try {
    problem = JSON.parse(body.toString("utf8"));
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
