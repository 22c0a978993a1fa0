// SPDX-License-Identifier: Apache-2.0
/** How requests get to a node, whichever way that is: HTTP on a Unix socket, or `fetch` to a port. */
import { ERROR_CODES, MeshError } from "@ctxmesh/model";
import type { MeshErrorCode } from "@ctxmesh/model";

/** One request. */
export interface NodeRequest {
  readonly method: "GET" | "POST";
  /** With its query. */
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  /** JSON. */
  readonly body: string | undefined;
  readonly signal: AbortSignal | undefined;
  /** Without a byte from the node for this long, the call ends with `ABORTED`. */
  readonly timeoutMs: number;
}

/** The head of a response, and its body as it comes. Leaving the iteration in any way ends the response. */
export interface NodeResponse extends AsyncIterable<Uint8Array> {
  readonly status: number;
  /** A trailer, once the body has ended; undefined where trailers are not told, as by `fetch`. */
  trailer(name: string): string | undefined;
}

/** A way to a node. */
export interface Transport {
  /** What errors call the node by: a path, or a URL. */
  readonly place: string;
  /** Resolves with the head of the response. Rejects with `UNREACHABLE`, `ABORTED` or whatever came in between. */
  send(request: NodeRequest): Promise<NodeResponse>;
  /** Ends every connection. */
  close(): void;
}

/** The code that the system gave a failure, such as `ECONNREFUSED`; `fetch` has it in the cause. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if ("code" in error && typeof error.code === "string") return error.code;
  return systemCode(error.cause);
}

const SILENCE = "silence";

/** A call without an answer in time. */
export const timedOut = (timeoutMs: number): MeshError =>
  new MeshError("ABORTED", `the node did not answer for ${String(timeoutMs)} ms`, {
    remedy: "look at the daemon's log, or allow more time",
    cause: SILENCE,
  });

/** Whether an error is one of {@link timedOut}. */
export const isTimeOut = (error: unknown): boolean =>
  error instanceof MeshError && error.cause === SILENCE;

/** Whether an error says that the node itself can't be reached, or is about to stop. One of its answers that somebody else can't be reached has no cause. */
export const isAway = (error: unknown): boolean =>
  error instanceof MeshError &&
  (error.code === "CLOSED" || (error.code === "UNREACHABLE" && error.cause !== undefined));

/** The {@link MeshError} of a failure on the way to or from the node at a place. */
export function transportError(
  error: unknown,
  place: string,
  { signal }: { readonly signal?: AbortSignal | undefined },
): MeshError {
  if (error instanceof MeshError) return error;
  if (signal?.aborted === true) {
    return new MeshError("ABORTED", "the call was called off", { cause: error });
  }
  const code = systemCode(error) ?? String(error);
  const remedy =
    code === "EACCES"
      ? "the socket belongs to another user; run as the user that runs the daemon"
      : "is the daemon running? start it, or name the place of one that is";
  return new MeshError("UNREACHABLE", `can't reach a node at ${place}: ${code}`, {
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
